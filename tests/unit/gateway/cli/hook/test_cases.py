"""The cases of a hook: the documents that they make, and what is wrong with a file of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.hook.cases import CASES_NAME, Case, Expected, read_cases, same
from gateway.cli.hook.folder import HookFolder
from gateway.errors import ConfigurationError
from gateway.sandbox.manifest import Manifest

STEP = Manifest(name="mine", version="1.0.0", abi=1, kind="step", profile="wasm", schema="s.json")
SCREEN = Manifest(name="mine", version="1.0.0", abi=1, kind="screen", profile="wasm", at="step")
MISSION_SCREEN = Manifest(name="mine", version="1.0.0", abi=1, kind="screen", profile="wasm", at="mission")


def read(folder: Path, manifest: Manifest, *cases: object) -> tuple[Case, ...]:
    (folder / CASES_NAME).write_text(json.dumps(cases))
    return read_cases(HookFolder(path=folder, manifest=manifest, language=None))


def documents(folder: Path, manifest: Manifest, case: dict[str, Any]) -> list[Any]:
    [found] = read(folder, manifest, {"name": "a", **case})
    return [json.loads(one.document) for one in found.rounds]


def test_a_step_is_given_what_the_gateway_would_give(tmp_path: Path) -> None:
    """Parameters and journal stand in a whole document of the ABI, with the hook's own step type."""
    [document] = documents(tmp_path, STEP, {"parameters": {"a": 1}, "journal": [{"ok": 2}], "expect": 3})
    assert set(document) == {"abi", "kind", "step", "parameters", "journal", "now", "seed"}
    assert (document["abi"], document["kind"], document["step"]["step_type"]) == (1, "step", "mine")
    assert (document["parameters"], document["journal"]) == ({"a": 1}, [{"ok": 2}])


def test_texts_arrive_to_the_byte(tmp_path: Path) -> None:
    """What is given as text is not read: its digits, its white space and its errors reach the module."""
    case = {"name": "a", "parameters_text": '{ "n":1.50 }', "journal_text": "[}", "expect_text": "x"}
    [found] = read(tmp_path, STEP, case)
    assert b'"parameters":{ "n":1.50 },"journal":[},' in found.rounds[0].document
    [found] = read(tmp_path, STEP, {"name": "a", "input_text": "\u00e9{", "expect": 1})
    assert found.rounds[0].document == "é{".encode()


def test_rounds_see_the_outcomes_of_those_before(tmp_path: Path) -> None:
    """The journal grows by what each round's effects came to."""
    rounds = [
        {"expect": {"effects": []}, "outcomes": [{"ok": 1}, {"ok": 2}]},
        {"expect": {"effects": []}, "outcomes": [{"error": {}}]},
        {"expect": {"output": 1}},
    ]
    journals = [document["journal"] for document in documents(tmp_path, STEP, {"rounds": rounds})]
    assert journals == [[], [{"ok": 1}, {"ok": 2}], [{"ok": 1}, {"ok": 2}, {"error": {}}]]


def test_another_kind_is_given_its_document_behind_the_head(tmp_path: Path) -> None:
    """The head comes first, in the gateway's order; a step stands there unless the place is a whole mission."""
    case = {"name": "a", "settings": {"x": 1}, "document": {"parameters": {}}, "expect": 1}
    [found] = read(tmp_path, SCREEN, case)
    assert found.rounds[0].document.startswith(b'{"abi":1,"kind":"screen","at":"step","now":"')
    assert list(json.loads(found.rounds[0].document))[5:] == ["settings", "step", "parameters"]
    [document] = documents(tmp_path, MISSION_SCREEN, {"document": {"mission": {}}, "expect": 1})
    assert "step" not in document


WRONG = {
    "no list": ({}, "must be a list"),
    "none": ([], "must be a list"),
    "no object": ([1], "case 1: must be an object with a name"),
    "no name": ([{"expect": 1}], "case 1: must be an object with a name"),
    "unknown": ([{"name": "a", "expect": 1, "document": {}}], "a: has an unknown field 'document'"),
    "nothing expected": ([{"name": "a"}], "a: has expect or expect_text"),
    "two expected": ([{"name": "a", "expect": 1, "expect_text": "1"}], "a: has expect or expect_text"),
    "twice": ([{"name": "a", "expect": 1}, {"name": "a", "expect": 1}], "has two cases 'a'"),
    "both": ([{"name": "a", "parameters": {}, "parameters_text": "", "expect": 1}], "both parameters and"),
    "no text": ([{"name": "a", "parameters_text": 1, "expect": 1}], "parameters_text must be a string"),
    "no rounds": ([{"name": "a", "rounds": []}], "rounds must be a list of 1 to 64"),
    "outcomes last": ([{"name": "a", "rounds": [{"expect": 1, "outcomes": [{}]}]}], "every round but the last"),
    "no outcomes": ([{"name": "a", "rounds": [{"expect": 1}, {"expect": 1}]}], "every round but the last"),
    "rounds and journal": ([{"name": "a", "journal": [], "rounds": [{"expect": 1}]}], "belong into each"),
    "round of what": ([{"name": "a", "rounds": [{"expect": 1, "journal": []}]}], "a, round 1: has the fields"),
}


@pytest.mark.parametrize(("cases", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_the_case(tmp_path: Path, cases: object, words: str) -> None:
    """A file that is not of its form is refused, and the message names the case and the rule."""
    (tmp_path / CASES_NAME).write_text(json.dumps(cases))
    with pytest.raises(ConfigurationError, match=r"cases\.json") as caught:
        read_cases(HookFolder(path=tmp_path, manifest=STEP, language=None))
    assert words in caught.value.message
    assert caught.value.code == "hook.cases"


def test_a_document_cannot_replace_its_head(tmp_path: Path) -> None:
    """The kind, the place and the settings are the manifest's and the case's own."""
    with pytest.raises(ConfigurationError, match="must not have 'kind'"):
        read(tmp_path, SCREEN, {"name": "a", "document": {"kind": "step"}, "expect": 1})


@pytest.mark.parametrize("text", ["", "{", '[{"name":"a","name":"b","expect":1}]', "[NaN]"])
def test_the_file_is_strict_json(tmp_path: Path, text: str) -> None:
    """As the gateway reads JSON, so are cases read: nothing in them is understood in two ways."""
    (tmp_path / CASES_NAME).write_text(text)
    with pytest.raises(ConfigurationError, match="strict JSON"):
        read_cases(HookFolder(path=tmp_path, manifest=STEP, language=None))


def test_equal_is_equal_in_json() -> None:
    """True is not 1, 1 is not 1.0, and the order of members means nothing."""
    assert same({"a": [1, {"b": None}], "c": "x"}, {"c": "x", "a": [1, {"b": None}]})
    for a, b in ((True, 1), (1, 1.0), ([1], [1, 2]), ({"a": 1}, {"a": 1, "b": 1}), ({"a": 1}, {"b": 1}), ("1", 1)):
        assert not same(a, b)
    assert Expected(value={"a": 1}).is_met(b' { "a" : 1 } ')
    assert not Expected(text='{"a":1}').is_met(b' {"a":1}')
    assert not Expected(value=1).is_met(b"{")
