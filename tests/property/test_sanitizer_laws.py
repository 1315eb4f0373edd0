import posixpath
import unicodedata
from urllib.parse import quote, unquote

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.addresses import PUBLIC_ONLY, is_public
from gateway.errors import SanitizationError
from gateway.sanitizer import CHECKS, ParameterSchema, check_value, sanitize_lines
from gateway.sanitizer.argv import check_argv
from gateway.sanitizer.characters import HONEST_PLACES, SUSPECTS, scan
from gateway.sanitizer.header import check_header
from gateway.sanitizer.identifier import check_identifier
from gateway.sanitizer.limits import check_limits
from gateway.sanitizer.path import check_path
from gateway.sanitizer.text import check_text
from gateway.sanitizer.url import UrlParts, check_url, parse_url

ANY_TEXT = st.text(st.characters(), max_size=60)
PATH_PIECES = st.sampled_from(
    [
        "..",
        ".",
        "a",
        "b.txt",
        "/",
        "//",
        "\\",
        "%2e",
        "%2f",
        "%5c",
        "%25",
        "%252e",
        "\uff0e",
        "\uff0f",
        "\u2215",
        "C:",
        "é",
        " ",
    ]
)
PATHS = st.lists(PATH_PIECES, max_size=12).map("".join)
HOST_PIECES = st.sampled_from(
    ["127", "0x7f", "1", "0", "256", "localhost", "example", "com", "internal", ".", "..", "@", ":", "80", "[", "]",
     "::1", "%2e", "\\", "/", "\u3002", "xn--", "é", "#", "?", "\uff11"]
)  # fmt: skip
URLS = st.lists(HOST_PIECES, max_size=9).map(lambda parts: "http://" + "".join(parts))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters(), max_size=8),
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=4), below, max_size=4)
    ),
    max_leaves=12,
)


# What is honest in some places, and what calls for it or does not.
JOINED = st.sampled_from(
    ["\u200c", "\u200d", "\ufe0e", "\ufe0f", "\ufe00", "\u180b", "\U000e0100", "\U000e0067", "\ufeff", "\u200b", " ",
     "a", "1", "+", "\u00a9", "\u2764", "\U0001f468", "\U0001f469", "\U0001faff", "\U0001f3fb", "\U0001f3ff", "\u0645",
     "\u0627", "\u0640", "\u064e", "\u0915", "\u094d", "\u845b", "\u1820", "\u2229", "\u0300",
     "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001f3f4"]
)  # fmt: skip


@settings(max_examples=1_000)
@given(st.lists(JOINED, max_size=14).map("".join))
def test_a_run_is_honest_where_each_of_its_characters_is(value: str) -> None:
    """What the check skips as a whole is what it would accept one by one."""
    suspects = [(at, char) for at, char in enumerate(value) if char in SUSPECTS]
    bad = [char for at, char in suspects if char not in HONEST_PLACES or not HONEST_PLACES[char](value, at)]
    assert scan(value) == (SUSPECTS[bad[0]] if bad else None)


@given(st.sampled_from(sorted(CHECKS)), ANY_TEXT | PATHS | URLS)
def test_a_check_answers_and_never_fails(type_name: str, value: str) -> None:
    """Whatever the string, a check accepts or refuses; it raises nothing else, and twice asked answers the same."""
    answers = []
    for _ in range(2):
        try:
            check_value(type_name, value)
            answers.append("ok")
        except SanitizationError as err:
            answers.append(err.code)
    assert answers[0] == answers[1]


@given(ANY_TEXT)
def test_text_stays_text_in_its_parts_and_doubles(value: str) -> None:
    """Two accepted texts with a line between them are an accepted text."""
    if check_text(value) is None:
        assert check_text(f"{value}\n{value}") is None


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\u115f\u1160\u3164\uffa0")))
def test_visible_characters_alone_are_always_text(value: str) -> None:
    """Letters, digits, punctuation, symbols and spaces are never refused, whatever they spell."""
    assert scan(value) is None


@settings(max_examples=400)
@given(PATHS)
def test_an_accepted_path_stays_below_its_base(value: str) -> None:
    """Joined to a base and normalised it is below, also decoded, folded and with backslashes taken for slashes."""
    if check_path(value) is not None:
        return
    form = value
    for _ in range(10):
        normal = posixpath.normpath(posixpath.join("/base", unicodedata.normalize("NFKC", form).replace("\\", "/")))
        assert normal == "/base" or normal.startswith("/base/")
        form = unquote(form)


@given(PATHS.filter(bool), st.integers(1, 4))
def test_encoding_a_refused_path_does_not_get_it_accepted(value: str, times: int) -> None:
    """A refusal survives percent-encoding, once or several times."""
    if check_path(value) is None:
        return
    encoded = value
    for _ in range(times):
        encoded = quote(encoded, safe="")
    assert check_path(encoded) is not None


@settings(max_examples=400)
@given(URLS)
def test_an_accepted_url_reaches_only_what_was_checked(value: str) -> None:
    """Accepted means: the host is public, or a dotted name that is not of special use."""
    parts = parse_url(value)
    if check_url(value, PUBLIC_ONLY) is None:
        assert isinstance(parts, UrlParts)
        address = parts.host.address
        assert "." in parts.host.ascii if address is None else is_public(address)
        assert parts.host.ascii.isascii()
        assert parts.host.ascii == parts.host.ascii.lower()


@given(ANY_TEXT)
def test_an_argv_token_means_itself_to_a_shell(value: str) -> None:
    """An accepted token is what `shlex.quote` leaves as it is."""
    import shlex  # noqa: PLC0415 - the oracle of this law alone

    if check_argv(value) is None:
        assert shlex.quote(value) == value
        assert shlex.split(value) == [value]


@given(ANY_TEXT)
def test_an_accepted_header_holds_one_line(value: str) -> None:
    """No decoding of an accepted header value begins a second line."""
    if check_header(value) is None:
        for _ in range(9):
            assert not set(value) & set("\r\n\x00")
            value = unquote(value, encoding="latin-1")


@given(st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=12))
def test_an_accepted_identifier_is_its_own_normal_form(value: str) -> None:
    """Normalising an accepted identifier changes nothing, so two different ones never become one."""
    if check_identifier(value) is None:
        assert unicodedata.normalize("NFKC", value) == value
        assert check_path(value) is None


@given(JSON)
def test_what_passes_the_limits_is_json(value: object) -> None:
    """A value that passes survives a round trip unchanged."""
    if check_limits(value) is None:
        assert orjson.loads(orjson.dumps(value)) == value


@given(JSON)
def test_pending_only_ever_forgives(value: object) -> None:
    """Treating strings as unresolved adds no violation."""
    schema = ParameterSchema.compile(
        {
            "type": "object",
            "properties": {
                "a": {"anyOf": [{"type": "string", "x-type": "path"}, {"type": "array", "uniqueItems": True}]}
            },
        }
    )
    strict = set(schema.check({"a": value}, field="p"))  # type: ignore[dict-item]
    assert set(schema.check({"a": value}, field="p", pending=lambda _: True)) <= strict  # type: ignore[dict-item]


@given(st.lists(st.binary(max_size=30)), st.sampled_from(sorted(CHECKS)))
def test_every_line_gets_one_verdict(lines: list[bytes], type_name: str) -> None:
    """Whatever the bytes, as many valid verdicts come out as lines go in."""
    out = [orjson.loads(line) for line in sanitize_lines(type_name, lines)]
    assert len(out) == len(lines)
    assert all(v["ok"] == (v["code"] is None) for v in out)


@given(ANY_TEXT)
def test_an_accepted_value_is_byte_identical(value: str) -> None:
    """Nothing is repaired: what comes out is what went in."""
    line = b'"' + "".join(f"\\u{unit:04x}" for unit in _utf16(value)).encode() + b'"'
    (verdict,) = sanitize_lines("text", [line])
    assert orjson.loads(verdict)["value"] == (value if check_text(value) is None else None)


def _utf16(value: str) -> list[int]:
    data = value.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2)]
