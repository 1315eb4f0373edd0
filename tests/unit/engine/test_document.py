"""Documents are read strictly, one way only, and every refusal points at its place."""

from typing import Any

import pytest

from engine.document import document_of, parse_document
from engine.errors import MissionInvalidError
from engine.mission import MissionLimits

LIMITS = MissionLimits()


def read(text: str | bytes, **limits: int) -> Any:
    """Return the value of a document."""
    data = text.encode() if isinstance(text, str) else text
    return parse_document(data, MissionLimits(**limits)).value


def refused(text: str | bytes, **limits: int) -> list[tuple[str, int | None, int | None]]:
    """Return code, line and column of each violation of a document."""
    with pytest.raises(MissionInvalidError) as caught:
        read(text, **limits)
    return [(v.code, v.line, v.column) for v in caught.value.violations]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("010", 10),
        ("0o10", 8),
        ("0xfF", 255),
        ("+7", 7),
        ("-0", 0),
        ("9223372036854775807", (1 << 63) - 1),
        ("-9223372036854775808", -(1 << 63)),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.e3", 1000.0),
        (".", "."),
        ("--", "--"),
        ("1e", "1e"),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("True", True),
        ("tRue", "tRue"),
        ("", None),
        ("'1'", "1"),
        ('"null"', "null"),
        ('"\\u263a\\0"', "☺\0"),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    """YAML 1.2 core schema: no Norway, no sexagesimal, no octal by a leading zero, no dates; quotes make a string."""
    result = read(f"a: {text}\n")["a"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1e999", "9" * 5000, "-1e400"])
@pytest.mark.parametrize("shape", ["a: {}\n", '{{"a":{}}}'])
def test_numbers_that_readers_differ_in_are_refused(number: str, shape: str) -> None:
    """Beyond 64 bits, or infinite as a double: refused in both formats, at the number."""
    column = 4 if shape.startswith("a") else 6
    assert refused(shape.format(number)) == [("document.number", 1, column)]


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "0x8000000000000000", "0xfffffffffffffffffff"])
def test_yaml_numbers_that_json_has_not_are_refused(number: str) -> None:
    """Infinities, NaN and wide hexadecimal have no JSON value."""
    assert refused(f"a:\n  - {number}\n") == [("document.number", 2, 5)]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_constants_that_are_no_json_are_refused(number: str) -> None:
    """What Python's reader would take is refused here."""
    assert refused(f'{{"a":\n [1, {number}]}}') == [("document.number", 2, 6)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: &x 1\nb: *x\n", [("document.alias", 1, 4), ("document.alias", 2, 4)]),
        ("&x a: 1\n", [("document.alias", 1, 1)]),
        ("a: &x [1]\n", [("document.alias", 1, 4)]),
        ("a: !!str 1\n", [("document.tag", 1, 4)]),
        ("a: ! x\n", [("document.tag", 1, 4)]),
        ("!m {a: 1}\n", [("document.tag", 1, 1)]),
        ("a: !!python/object/apply:os.system [id]\n", [("document.tag", 1, 4)]),
        ("<<: {a: 1}\nb: 2\n", [("document.merge_key", 1, 1)]),
        ("a: 1\nb: 2\na: 3\n", [("document.duplicate_key", 3, 1)]),
        ("a: {x: 1, 'x': 2}\n", [("document.duplicate_key", 1, 11)]),
        ("1: a\n", [("document.key", 1, 1)]),
        ("true: a\n", [("document.key", 1, 1)]),
        ("~: a\n", [("document.key", 1, 1)]),
        ("? [a]\n: b\n", [("document.key", 1, 3)]),
        ("a: 1\n---\nb: 2\n", [("document.multiple", 2, 1)]),
        ("a: 1\n...\nb: 2\n", [("document.multiple", 2, 1)]),
        ("%YAML 1.1\n---\na: 1\n", [("document.directive", 1, 1)]),
        ("# c\n\n%TAG ! x\n---\na: 1\n", [("document.directive", 3, 1)]),
        ("a: 1 # note\u2028b: 2\n", [("document.line_break", 1, 12)]),
        ("a: 1 # note\u0085b: 2\n", [("document.line_break", 1, 12)]),
        ("a: 1 # note\rb: 2\n", [("document.line_break", 1, 12)]),
        ("é: 1\nb: [\n", [("document.syntax", 3, 1)]),
        ("é: 1\nb: é\x01\n", [("document.syntax", 2, 5)]),
        ("a: b\n\tc: d\n", [("document.syntax", 2, 1)]),
        ('a: "\\ud800"\n', [("document.syntax", 1, 7)]),
        ("", [("document.empty", 1, 1)]),
        ("# nothing\n", [("document.empty", 2, 1)]),
    ],
)
def test_what_expands_hides_or_differs_in_yaml_is_refused(
    text: str, found: list[tuple[str, int | None, int | None]]
) -> None:
    """Anchors, aliases, tags, merge keys, duplicates, directives, documents, hidden line breaks: each at its place."""
    assert refused(text) == found


@pytest.mark.parametrize("text", ["a: 1\n", "---\na: 1\n", "a: 1\n...\n", "a: 1\n...\n# end\n\n", "\n# x\na: 1 # y"])
def test_one_document_may_have_markers_and_comments(text: str) -> None:
    """Document markers and comments around the one document are fine."""
    assert read(text) == {"a": 1}


def test_quoted_keys_are_strings_whatever_they_say() -> None:
    """Quotes settle what a key is."""
    assert read("\"1\": a\n'<<': b\n'true': c\n") == {"1": "a", "<<": "b", "true": "c"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1,\n "b": {"c": 1, "c": 2}}', [("document.duplicate_key", 2, 16)]),
        ('{"a": 1, "\\u0061": 2}', [("document.duplicate_key", 1, 10)]),
        ('{"a": "\\ud800"}', [("document.encoding", 1, 7)]),
        ('{"\\udc00": 1}', [("document.encoding", 1, 2)]),
        ('{"a": 1', [("document.syntax", 1, 8)]),
        ('{"a": 1}}', [("document.syntax", 1, 9)]),
        ('{"a": 1,}', [("document.syntax", 1, 9)]),
        ('{"a": [1,]}', [("document.syntax", 1, 10)]),
        ('{"a": [1 2]}', [("document.syntax", 1, 10)]),
        ('{"a" 1}', [("document.syntax", 1, 6)]),
        ("{a: 1}", [("document.syntax", 1, 2)]),
        ('{"a": 01}', [("document.syntax", 1, 8)]),
        ('{"a": +1}', [("document.syntax", 1, 7)]),
        ('{"a": "x\ny"}', [("document.syntax", 1, 7)]),
        ('{"a": "é\\x"}', [("document.syntax", 1, 7)]),
        ('{"a":\n  nul}', [("document.syntax", 2, 3)]),
        ('{"a": -abc}', [("document.syntax", 1, 7)]),
        ('{"a": 1, "a": NaN, "b": [99999999999999999999], "c": tru}', [
            ("document.duplicate_key", 1, 10),
            ("document.number", 1, 15),
            ("document.number", 1, 26),
            ("document.syntax", 1, 54),
        ]),
    ],
)  # fmt: skip
def test_what_two_json_readers_differ_in_is_refused(text: str, found: list[tuple[str, int | None, int | None]]) -> None:
    """Duplicates, lone surrogates and everything outside the grammar are refused, all of them, each at its place."""
    assert refused(text) == found


def test_a_pair_of_surrogate_escapes_is_one_character() -> None:
    """JSON writes characters beyond the basic plane as two escapes."""
    assert read('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"a: 1\nb: \xff\n", 2, 4), ("{'é': '".encode() + b"\xed\xa0\x80'}", 1, 8), ("\ufeffa: 1\n".encode(), 1, 1)],
)
def test_only_utf8_without_a_mark_is_text(data: bytes, line: int, column: int) -> None:
    """Bytes that are no UTF-8 are refused where they begin, and so is a byte order mark."""
    assert refused(data) == [("document.encoding", line, column)]


@pytest.mark.parametrize("shape", ["{}", '{{"a":{}}}'])
def test_nesting_is_bounded_exactly(shape: str) -> None:
    """`nesting_max` levels pass, one more is a refusal that is marked as a limit."""
    wrapped = 1 if shape.startswith("{{") else 0
    deep = "[" * (8 - wrapped) + "]" * (8 - wrapped)
    assert read(shape.format(deep), nesting_max=8)
    column = 9 if not wrapped else 6 + 7
    assert refused(shape.format(f"[{deep}]"), nesting_max=8) == [("document.too_deep", 1, column)]
    with pytest.raises(MissionInvalidError) as caught:
        read(shape.format(f"[{deep}]"), nesting_max=8)
    assert not caught.value.malformed


def test_brackets_in_strings_do_not_nest() -> None:
    """Depth is that of the structure, not of the text."""
    assert read('{"a\\"[": "' + "[{" * 500 + '"}', nesting_max=1) == {'a"[': "[{" * 500}


@pytest.mark.parametrize("text", ["a: [1, 2, 3]\n", '{"a": [1, 2, 3]}'])
def test_the_number_of_values_is_bounded_alike(text: str) -> None:
    """Both formats count five values here: the object, the list and three numbers."""
    assert read(text, values_max=5) == {"a": [1, 2, 3]}
    assert refused(text, values_max=4)[0][0] == "document.too_many_values"


def test_a_large_document_is_refused_before_it_is_read() -> None:
    """Size comes first: five megabytes of garbage are only too large."""
    assert refused(b"\xff" * (5 << 20)) == [("document.too_large", 1, 1)]


def test_at_most_sixty_four_violations_are_collected() -> None:
    """A document that is wrong everywhere ends reading early."""
    assert len(refused("".join(f"k{i}: !x {i}\n" for i in range(1000)))) == 64


YAML = """\
# a mission
name: é
steps:
  - id: a
    text: |
      lines
  - {id: b, "list": [1, [2, 33]]}
none:
"""
JSON = """\
{"name": "é",
 "steps": [
  {"id": "a", "text": "lines\\n"},
  {"id": "b", "list": [1, [2, 33]]}],
 "none": null}
"""


@pytest.mark.parametrize(
    ("path", "in_yaml", "in_json"),
    [
        ((), (2, 1), (1, 1)),
        (("name",), (2, 7), (1, 10)),
        (("steps",), (4, 3), (2, 11)),
        (("steps", 0), (4, 5), (3, 3)),
        (("steps", 0, "text"), (5, 11), (3, 23)),
        (("steps", 1, "list", 1, 1), (7, 29), (4, 31)),
        (("none",), (8, 6), (5, 10)),
        (("steps", 2), None, None),
        (("steps", "0"), None, None),
        (("missing", "x"), None, None),
    ],
)
def test_values_are_located(
    path: tuple[str | int, ...], in_yaml: tuple[int, int] | None, in_json: tuple[int, int] | None
) -> None:
    """`locate` gives line and column of a value, 1-based and in code points, or nothing where there is none."""
    documents = [parse_document(text.encode(), LIMITS) for text in (YAML, JSON)]
    assert documents[0].value == documents[1].value
    assert [document.locate(path) for document in documents] == [in_yaml, in_json]


def test_keys_are_located_beside_their_values() -> None:
    """`locate_all` answers many paths in one walk, with the key's place as well."""
    for text, line in ((YAML, 7), (JSON, 4)):
        places = parse_document(text.encode(), LIMITS).locate_all([("steps", 1, "list"), ("steps", 1)])
        assert set(places) == {("steps", 1, "list"), ("steps", 1)}
        place = places["steps", 1, "list"]
        assert place.key.line == place.value.line == line
        assert place.key.column < place.value.column
        assert places["steps", 1].key == places["steps", 1].value


def test_a_value_that_never_was_text_has_no_places() -> None:
    """A document made from a protobuf message answers every path with nothing."""
    assert document_of({"a": 1}, LIMITS).locate(("a",)) is None


def nested(levels: int) -> object:
    """Return lists in lists."""
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"a": nested(63)}, None),
        ({"a": nested(64)}, "document.too_deep"),
        ({"a": nested(300)}, "document.not_json"),
        ({"a": float("nan")}, "document.not_json"),
        ({"a": float("inf")}, "document.not_json"),
        ({"a": "\ud800"}, "document.not_json"),
        ({"a": b"bytes"}, "document.not_json"),
        ({1: "a key"}, "document.not_json"),
        ({"a": -(1 << 63)}, None),
        ({"a": 1 << 63}, "document.number"),
        ({"a": 1 << 64}, "document.not_json"),
        ({"a": [0] * 99}, "document.too_many_values"),
        ({"a": "x" * 1_000}, "document.too_large"),
    ],
)
def test_a_value_has_the_bounds_of_text(value: object, code: str | None) -> None:
    """What was never text is accepted where its JSON is, and refused by the same rules, without a position."""
    limits = MissionLimits(values_max=100, document_bytes_max=1_000)
    if code is None:
        assert document_of(value, limits).value == value
        return
    with pytest.raises(MissionInvalidError) as caught:
        document_of(value, limits)
    (violation,) = caught.value.violations
    assert (violation.code, violation.line, violation.column) == (code, None, None)


def test_a_document_shares_nothing_with_the_value_that_it_was_made_of() -> None:
    """A program that goes on changing its value changes no document."""
    value = {"a": [1]}
    document = document_of(value, LIMITS)
    value["a"].append(2)
    assert document.value == {"a": [1]}


@pytest.mark.parametrize("nesting", [0, 129])
def test_the_nesting_limit_has_a_limit(nesting: int) -> None:
    """No configuration can allow a depth at which a reader's own recursion would give out."""
    with pytest.raises(ValueError, match="nesting_max"):
        MissionLimits(nesting_max=nesting)


@pytest.mark.parametrize("shape", ["[{}]", '{{"a":{}}}'])
def test_the_deepest_configuration_is_read(shape: str) -> None:
    """128 levels, the most that can be allowed, are read, located and refused when they are wrong."""
    text = shape.format("[" * 127 + "]" * 127)
    document = parse_document(text.encode(), MissionLimits(nesting_max=128))
    assert document.locate(("a" if "a" in text else 0, *[0] * 126)) == (1, len(text) // 2 + 2 * ("a" in text))
    assert refused(text.replace("[]", "[0,]!"), nesting_max=128)[0][0] == "document.syntax"
