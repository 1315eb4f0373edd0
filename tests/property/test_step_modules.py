"""Laws of the built-in modules: they read JSON as the gateway does, and do not change what they only move."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.sanitizer.json_value import check_json
from tests.step_modules import run, step

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=6) | st.dictionaries(TEXT, v, max_size=12), max_leaves=30)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6)


def transformed(value: Any, *operations: dict[str, Any]) -> Any:
    """Return the output of `transform`, or its error."""
    parameters = json.dumps({"input": value, "operations": operations}, ensure_ascii=False)
    answer = run("transform", step(parameters)).document()
    return answer.get("output", answer)


def read_as_json(text: str) -> dict[str, Any]:
    """Return the answer of `read_file` to a file of that content."""
    entry = {"ok": {"path": "a", "bytes": 1, "sha256": "00", "content": text}}
    answer: dict[str, Any] = run("read_file", step('{"path":"a","format":"json"}', json.dumps([entry]))).document()
    return answer


@given(VALUES)
def test_a_value_that_is_only_moved_is_unchanged(value: Any) -> None:
    """Any JSON value goes through a module and comes out as it was."""
    assert transformed(value) == value
    moved = transformed({"a": [value]}, {"op": "get", "pointer": "/a/0"}, {"op": "concat", "with": []})
    if isinstance(value, list):
        assert moved == value


@given(TEXT)
@example('\x00\x1f\x7f\u0080\u2028\U0010ffff\\u0041"')
def test_a_files_content_arrives_byte_for_byte(text: str) -> None:
    """Any string is written as it is, whether its document was escaped or not."""
    for ascii_only in (False, True):
        parameters = json.dumps({"path": "a", "content": text}, ensure_ascii=ascii_only)
        effect = run("create_file", step(parameters)).document()["effects"][0]
        assert effect["args"]["content"] == text


@given(TEXT, TEXT.filter(bool))
def test_join_undoes_split(text: str, separator: str) -> None:
    """Strings are decoded, cut, put together and escaped without loss."""
    split = {"op": "split", "separator": separator}
    assert transformed(text, split) == text.split(separator)
    assert transformed(text, split, {"op": "join", "separator": separator}) == text


@given(VALUES)
def test_parse_json_undoes_to_string(value: Any) -> None:
    """A value survives becoming text and being read again."""
    expected = value
    if isinstance(value, str):  # to_string leaves it as it is
        value, expected = json.dumps(value), value
    assert transformed(value, {"op": "to_string"}, {"op": "parse_json"}) == expected


@given(st.lists(INTEGERS) | st.lists(TEXT) | st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_sort_agrees_with_python(items: list[Any]) -> None:
    """Sorting is by value and by code point, both ways, and stable."""
    pairs = [{"key": item, "at": at} for at, item in enumerate(items)]
    for descending in (False, True):
        operation = {"op": "sort", "pointer": "/key", "descending": descending}
        assert transformed(pairs, operation) == sorted(pairs, key=lambda p: p["key"], reverse=descending)


@given(st.lists(INTEGERS | TEXT | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_unique_agrees_with_python(items: list[Any]) -> None:
    """The first of each value stays; integers and decimals of one value are one."""
    assert transformed(items, {"op": "unique"}) == list(dict.fromkeys(items))


@given(st.lists(DECIMALS))
def test_sum_is_exact(terms: list[Decimal]) -> None:
    """A sum of decimals is the decimal sum, not a floating-point one."""
    texts = ",".join(format(term, "f") for term in terms)
    answer = run("transform", step(f'{{"input":[{texts}],"operations":[{{"op":"sum"}},{{"op":"to_string"}}]}}'))
    assert Decimal(answer.document()["output"]) == sum(terms)


JSON_LIKE = st.text(st.sampled_from('{}[]:,"\\ \n-+.0123456789eEutrfalsn/bd8cx\x00\x1fé😀'), max_size=24)
NUMBER_LIKE = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@settings(max_examples=1_000)
@given(JSON_LIKE | NUMBER_LIKE | VALUES.map(json.dumps))
@example("9223372036854775807")
@example("9223372036854775808")
@example("-9223372036854775808")
@example("-9223372036854775809")
@example("1.7976931348623157e308")
@example("1.7976931348623159e308")
@example("0e999999999999999999999")
@example("-0")
@example('"\\ud834\\udd1e"')
@example('"\\ud834\\u0041"')
def test_modules_accept_the_json_that_the_sanitizer_accepts(text: str) -> None:
    """The parser of the modules and the one of the gateway say yes to the same texts, and read them alike."""
    answer = read_as_json(text)
    if check_json(text) is None:
        assert answer["output"]["content"] == json.loads(text)
    else:
        assert answer["error"]["code"] == "read_file.not_json"


@settings(max_examples=300)
@given(st.binary(max_size=64), st.integers(0, 200), st.integers(0, 64))
def test_damaged_input_never_traps(damage: bytes, at: int, removed: int) -> None:
    """However a document is damaged, there is an answer, and it is one of the ABI."""
    whole = step('{"input":["a",1,{"b":null}],"operations":[{"op":"length"}]}')
    answer = run("transform", whole[:at] + damage + whole[at + removed :]).document()
    assert len(answer) == 1
    assert set(answer) <= {"output", "error"}
