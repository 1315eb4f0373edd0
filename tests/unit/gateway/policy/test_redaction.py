"""Redaction: which places pointers lead to, what is left of a value, and which lists are none of pointers."""

from typing import Any

import pytest

from engine.values import JsonValue
from gateway.policy.redaction import (
    DEPTH_MAX,
    MASK,
    POINTERS_BYTES_MAX,
    POINTERS_MAX,
    PointerError,
    Redaction,
    check_pointers,
)

BODY = {"ssn": "078-05-1120", "rows": [{"id": 1, "ssn": "a"}, {"id": 2, "ssn": "b"}], "a/b": {"~": 1}, "": 2}


def nested(depth: int) -> JsonValue:
    """Return 1 under so many members `a`."""
    value: JsonValue = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("pointer", "expected", "count"),
    [
        ("/output", MASK, 1),
        ("/output/ssn", {**BODY, "ssn": MASK}, 1),
        ("/output/rows/0/ssn", {**BODY, "rows": [{"id": 1, "ssn": MASK}, {"id": 2, "ssn": "b"}]}, 1),
        ("/output/rows/*/ssn", {**BODY, "rows": [{"id": 1, "ssn": MASK}, {"id": 2, "ssn": MASK}]}, 2),
        ("/output/rows/*/*", {**BODY, "rows": [{"id": MASK, "ssn": MASK}, {"id": MASK, "ssn": MASK}]}, 4),
        ("/output/rows/1", {**BODY, "rows": [{"id": 1, "ssn": "a"}, MASK]}, 1),
        ("/output/*", dict.fromkeys(BODY, MASK), 4),
        ("/output/a~1b/~0", {**BODY, "a/b": {"~": MASK}}, 1),
        ("/output/", {**BODY, "": MASK}, 1),
        ("/output/none", BODY, 0),
        ("/output/rows/2", BODY, 0),
        ("/output/rows/01", BODY, 0),
        ("/output/rows/-", BODY, 0),
        ("/output/rows/\u0660", BODY, 0),  # a digit, and not one of RFC 6901
        ("/output/ssn/deeper", BODY, 0),
        ("/output/rows/ssn", BODY, 0),
    ],
)
def test_a_pointer_leads_where_it_says(pointer: str, expected: Any, count: int) -> None:
    """RFC 6901, and `*` for every member or element of one level; what matches nothing changes nothing."""
    check_pointers([pointer], "output")
    assert Redaction.of([pointer]).apply(BODY) == (expected, count)


def test_what_is_given_is_left_as_it_is() -> None:
    """A module's answer may be in other hands."""
    value = {"a": [{"b": 1}]}
    redacted, _ = Redaction.of(["/output/a/0/b"]).apply(value)
    assert value == {"a": [{"b": 1}]}
    assert redacted == {"a": [{"b": MASK}]}


def test_pointers_into_each_other_mask_once() -> None:
    """The outer one wins, and is counted once; the order in which they stand does not matter."""
    for pointers in (["/output/a", "/output/a/b"], ["/output/a/b", "/output/a"], ["/output/*", "/output/a/b"]):
        assert Redaction.of(pointers).apply({"a": {"b": 1}}) == ({"a": MASK}, 1)


def test_a_member_that_is_named_like_the_wildcard_is_one_of_all() -> None:
    """There is no way to name it alone, and it cannot hide."""
    assert Redaction.of(["/output/*/x"]).apply({"*": {"x": 1}, "y": {"x": 2}}) == (
        {"*": {"x": MASK}, "y": {"x": MASK}},
        2,
    )


def test_twice_is_as_once() -> None:
    """What is masked already counts for nothing."""
    redaction = Redaction.of(["/output/*/ssn"])
    once, count = redaction.apply([{"ssn": 1}])
    assert (once, count) == ([{"ssn": MASK}], 1)
    assert redaction.apply(once) == (once, 0)


def test_a_content_of_an_outcome_is_masked_in_both_spellings() -> None:
    """Who sends it chooses whether it is text; a member deeper down has no second spelling."""
    redaction = Redaction.of_outcome(["/outcome/body", "/outcome/headers/etag"])
    assert redaction.apply({"body_base64": "/w=="}) == ({"body_base64": MASK}, 1)
    assert redaction.apply({"body": "x", "headers": {"etag_base64": "y"}})[0] == {
        "body": MASK,
        "headers": {"etag_base64": "y"},
    }
    assert redaction.names == {"body", "body_base64"}
    assert redaction.pointers == ("/outcome/body", "/outcome/headers/etag")


@pytest.mark.parametrize(
    "pointers",
    [
        [""],
        ["output/a"],
        ["#/output/a"],
        ["/"],
        ["/outcome/a"],
        ["/outputs"],
        ["/output/~"],
        ["/output/~2"],
        ["/output/a~"],
        ["/output" + "/a" * DEPTH_MAX],
        ["/output/a"] * (POINTERS_MAX + 1),
        ["/output/" + "x" * POINTERS_BYTES_MAX],
        ["/output/" + "é" * (POINTERS_BYTES_MAX // 2)],
    ],
)
def test_what_is_no_pointer_into_the_root_is_refused(pointers: list[str]) -> None:
    """Wrong syntax, another root, and what is over a bound."""
    with pytest.raises(PointerError):
        check_pointers(pointers, "output")


@pytest.mark.parametrize(
    ("pointers", "value"),
    [
        (["/output" + "/a" * (DEPTH_MAX - 1)], nested(DEPTH_MAX - 1)),
        (["/output/a"] * POINTERS_MAX, {"a": 1}),
        (["/output/" + "x" * (POINTERS_BYTES_MAX - 8)], {"x" * (POINTERS_BYTES_MAX - 8): 1}),
    ],
    ids=["as deep", "as many", "as long"],
)
def test_what_is_at_a_bound_is_one(pointers: list[str], value: JsonValue) -> None:
    """As deep, as many and as long as they may be: taken, and what they lead to is masked."""
    check_pointers(pointers, "output")
    masked, count = Redaction.of(pointers).apply(value)
    assert (masked != value, count) == (True, 1)
