"""Masking: what a rule reaches, what it refuses to be, and that no name in a document escapes it."""

import copy
import json
from typing import Any

import pytest

from gateway.decisions.mask import DEFAULT_MASK, apply_mask, read_mask
from gateway.errors import PolicyInvalidError


def masked(rules: list[dict[str, Any]], value: Any, result: Any = None) -> dict[str, Any]:
    event = {"input": copy.deepcopy(value), "result": result}
    apply_mask(read_mask({"decision_log": {"mask": rules}}), event)
    return event


def remove(path: str) -> list[dict[str, Any]]:
    return [{"op": "remove", "path": path}]


def upsert(path: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "upsert", "path": path, "value": value}]


@pytest.mark.parametrize(
    ("path", "value", "left"),
    [
        ("/input", {"a": 1}, None),
        ("/input/a", {"a": 1, "b": 2}, {"b": 2}),
        ("/input/a/b", {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        ("/input/*/b", {"a": {"b": 1}, "c": {"b": 2, "d": 3}, "e": 4}, {"a": {}, "c": {"d": 3}, "e": 4}),
        ("/input/*", {"a": 1, "b": 2}, {}),
        ("/input/a/*/b", {"a": [{"b": 1}, {"b": 2, "c": 3}]}, {"a": [{}, {"c": 3}]}),
        ("/input/a/1", {"a": [1, 2, 3]}, {"a": [1, None, 3]}),
        ("/input/a/*", {"a": [1, 2, 3]}, {"a": []}),
        ("/input/a~1b", {"a/b": 1, "a~1b": 2}, {"a~1b": 2}),
        ("/input/a~0b", {"a~b": 1, "a": 2}, {"a": 2}),
        ("/input/~01", {"~1": 1, "/": 2}, {"/": 2}),
        ("/input/", {"": 1, "a": 2}, {"a": 2}),
        ("/input/0", {"0": 1}, {}),
    ],
)
def test_a_path_reaches_what_it_names(path: str, value: Any, left: Any) -> None:
    """Objects by name, lists by position, any of both by a star; `erased` says which rule it was."""
    event = masked(remove(path), value)
    assert event.get("input") == left
    assert event["erased"] == [path]
    assert "masked" not in event


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/input/b", {"a": 1}),
        ("/input/a/b/c", {"a": {"b": "text"}}),
        ("/input/a/3", {"a": [1, 2, 3]}),
        ("/input/a/01", {"a": [1, 2, 3]}),
        ("/input/a/-1", {"a": [1, 2, 3]}),
        ("/input/a/-", {"a": [1, 2, 3]}),
        ("/input/a/\u0661", {"a": [1, 2, 3]}),
        ("/input/*", {}),
        ("/input/*/*", {"a": "text"}),
    ],
)
def test_a_path_that_leads_nowhere_changes_nothing(path: str, value: Any) -> None:
    """And nothing is said to be erased."""
    assert masked(remove(path), value) == {"input": value, "result": None}


def test_a_value_can_stand_in_place() -> None:
    """`upsert` puts it where something is and where nothing is, and makes the objects on the way, but for a star."""
    assert masked(upsert("/input/a", "**"), {"a": 1})["input"] == {"a": "**"}
    assert masked(upsert("/input/b", "**"), {"a": 1})["input"] == {"a": 1, "b": "**"}
    assert masked(upsert("/input/a/*/b", None), {"a": [{"b": 1}, {}]})["input"] == {"a": [{"b": None}, {"b": None}]}
    assert masked(upsert("/input/a/*", 0), {"a": [1, 2]})["input"] == {"a": [0, 0]}
    assert masked(upsert("/input/*", 0), {"a": 1, "b": 2})["input"] == {"a": 0, "b": 0}
    assert masked(upsert("/input/a/1", 0), {"a": [1, 2]})["input"] == {"a": [1, 0]}
    assert masked(upsert("/input/x/y", 0), {"a": 1})["input"] == {"a": 1, "x": {"y": 0}}
    for path, value in (("/input/*/y", {}), ("/input/a/y", {"a": "text"}), ("/input/a/3", {"a": [1]})):
        assert masked(upsert(path, 0), value) == {"input": value, "result": None}
    assert masked(upsert("/input/a", 0), {"a": 1})["masked"] == ["/input/a"]


def test_the_result_can_be_masked() -> None:
    """A message may repeat what a client has written."""
    result = {"allow": False, "reasons": [{"code": "c", "message": "path: secret"}]}
    event = masked(upsert("/result/reasons/*/message", ""), {}, result)
    assert event["result"] == {"allow": False, "reasons": [{"code": "c", "message": ""}]}


def test_without_rules_parameters_and_arguments_are_not_told() -> None:
    """The default: what clients write and steps read; an empty list is a decision to tell everything."""
    document = {
        "principal": {"subject": "ann"},
        "mission": {"name": "n", "variables": {"a": 1}, "steps": [{"id": "s", "parameters": {"p": 1}}]},
        "parameters": {"p": 1},
        "effect": {"op": "file.write", "args": {"content": "text"}},
    }
    event: dict[str, Any] = {"input": copy.deepcopy(document)}
    apply_mask(read_mask({}), event)
    assert event["input"] == {
        "principal": {"subject": "ann"},
        "mission": {"name": "n", "steps": [{"id": "s"}]},
        "effect": {"op": "file.write"},
    }
    assert event["erased"] == [rule.path for rule in DEFAULT_MASK]
    assert read_mask({"decision_log": {}}) == DEFAULT_MASK
    assert masked([], document) == {"input": document, "result": None}


ODD_NAMES = [
    "*",
    "~1",
    "~0",
    "a/b",
    "",
    "0",
    "input",
    "\u0000",
    "\n",
    "\u2028",
    "ä",
    "x" * 2_000,
    "__proto__",
    "-",
    "**",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_name_escapes_a_star(name: str) -> None:
    """However a client spells the name of a parameter, its value is gone, and what is beside it stays."""
    event = masked(remove("/input/parameters/*/secret"), {"parameters": {name: {"secret": "s3cret", "b": 1}, "p": {}}})
    assert "s3cret" not in json.dumps(event)
    assert event["input"]["parameters"][name] == {"b": 1}
    whole = masked(remove("/input/parameters"), {"parameters": {name: "s3cret"}})
    assert whole["input"] == {}


def test_a_name_that_is_a_path_is_not_one() -> None:
    """A client cannot have something else masked, or nothing, by a name that looks like a part of a path."""
    value = {"parameters": {"a/secret": 1, "a": {"secret": 2}}}
    assert masked(remove("/input/parameters/a/secret"), value)["input"] == {"parameters": {"a/secret": 1, "a": {}}}


@pytest.mark.parametrize(
    ("section", "where"),
    [
        ([], "gateway.config.decision_log: must be an object"),
        ({"masks": []}, "gateway.config.decision_log: must be an object"),
        ({"mask": {}}, "mask: must be a list"),
        ({"mask": [{"op": "remove", "path": "/input/a"}] * 257}, "mask: must be a list"),
        ({"mask": ["/input"]}, "mask[0]: must be an object"),
        ({"mask": [{"path": "/input/a"}]}, "mask[0].op: must be"),
        ({"mask": [{"op": "delete", "path": "/input/a"}]}, "mask[0].op: must be"),
        ({"mask": [{"op": ["remove"], "path": "/input/a"}]}, "mask[0].op: must be"),
        ({"mask": [{"op": "remove"}]}, "mask[0].path: is missing"),
        ({"mask": [{"op": "upsert", "path": "/input/a"}]}, "mask[0].value: is missing"),
        ({"mask": [{"op": "remove", "path": "/input/a", "value": 1}]}, "mask[0].value: is no field"),
        ({"mask": [{"op": "remove", "path": "/input/a"}, {"op": "remove", "path": 1}]}, "mask[1].path: must be a text"),
        ({"mask": [{"op": "remove", "path": "/input/" + "a" * 1_024}]}, "mask[0].path: must be a text"),
        ({"mask": [{"op": "remove", "path": ""}]}, "mask[0].path: must begin"),
        ({"mask": [{"op": "remove", "path": "input/a"}]}, "mask[0].path: must begin"),
        ({"mask": [{"op": "remove", "path": "/labels/id"}]}, "mask[0].path: must begin"),
        ({"mask": [{"op": "remove", "path": "/*"}]}, "mask[0].path: must begin"),
        ({"mask": [{"op": "remove", "path": "/input/a~"}]}, "mask[0].path: `~`"),
        ({"mask": [{"op": "remove", "path": "/input/a~2b"}]}, "mask[0].path: `~`"),
    ],
)
def test_a_mask_is_read_strictly(section: Any, where: str) -> None:
    """What is no mask is refused with its place: a rule that was misspelled would mask nothing."""
    with pytest.raises(PolicyInvalidError) as refused:
        read_mask({"decision_log": section})
    assert (refused.value.code, refused.value.file) == ("policy.decision_log", "data.json")
    assert where in refused.value.message
