"""Bombs, and the corner cases of two grammars: refused fast, or read to the value that the grammar means."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from engine.document import parse_document
from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.loader import load_mission
from engine.mission import MissionLimits
from engine.yaml_text import read_yaml

LIMITS = MissionLimits()
CASES = Path(__file__).parent / "documents"
BOMBS: dict[str, str] = json.loads((CASES / "bombs.json").read_text())
MIB = 1 << 20

# What the reader says of each bomb; three are harmless when read as YAML 1.2 and plain JSON.
VERDICTS: dict[str, str | object] = {
    "yaml_billion_laughs": "document.alias",
    "yaml_merge_bomb": "document.alias",
    "yaml_self_ref": "document.alias",
    "yaml_deep_flow": "document.too_deep",
    "yaml_deep_map": "document.syntax",  # it begins with a brace, so it is read as JSON
    "yaml_py_object": "document.tag",
    "yaml_py_name": "document.tag",
    "yaml_huge_int": "document.number",
    "yaml_sexagesimal": {"n": BOMBS["yaml_sexagesimal"].removeprefix("n: ")},
    "yaml_dup_keys": "document.duplicate_key",
    "yaml_norway": {"country": "NO", "version": 1.1, "time": "12:30:45"},
    "yaml_multi_doc": "document.multiple",
    "json_huge_int": "document.number",
    "json_huge_exp": "document.number",
    "json_nan": "document.number",
    "json_dup": "document.duplicate_key",
    "json_lone_surrogate": "document.encoding",
    "json_proto": {"__proto__": {"admin": True}},
}


def verdict(text: str | bytes) -> object:
    """Return the value of a document, or the code of the first violation."""
    data = text.encode() if isinstance(text, str) else text
    try:
        return parse_document(data, LIMITS).value
    except MissionInvalidError as error:
        return error.violations[0].code


def cases(name: str) -> list[dict[str, Any]]:
    """Return the cases of a suite."""
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text().splitlines()]


def test_every_bomb_has_a_verdict() -> None:
    """A bomb that is added to the corpus must be judged here."""
    assert VERDICTS.keys() == BOMBS.keys()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(name: str) -> None:
    """Each bomb is refused by its rule, or is the harmless value that the grammar says, long before the time limit."""
    assert verdict(BOMBS[name]) == VERDICTS[name]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a":' * 20_000 + "1" + "}" * 20_000, "document.too_deep"),
        ('{"a":' + "[" * 400_000, "document.too_deep"),
        ('{"a":' + "[]," * 1_000_000 + "1}", "document.too_many_values"),
        ("[" * 4 * MIB, "document.too_deep"),
        ("- " * 2 * MIB, "document.too_deep"),
        ("".join(" " * i + "-\n" for i in range(2_800)), "document.too_deep"),
        ("a: [" + "x," * 2_000_000 + "]", "document.too_many_values"),
        ("---\n" * MIB, "document.multiple"),
        ("".join(f"%TAG !a{i}! x\n" for i in range(250_000)), "document.directive"),
        ("a: 1\n...\n" + "".join(f"%TAG !a{i}! x\n" for i in range(250_000)), "document.multiple"),
        ("- *a\n" * 800_000, "document.alias"),
        ("a" * 4_000_000 + ": 1", "document.syntax"),
        ('{"a": "' + "\\" * 4_000_000, "document.syntax"),
        ('{"a": "' + "\\u12" * 1_000_000, "document.syntax"),
        ('{"' + "a" * 4_000_000, "document.syntax"),
        ('{"' + '\\"' * 2_000_000, "document.syntax"),
        ('{"' + "\\\\" * 2_000_000, "document.syntax"),
        ('{"a": ' + "1" * 4_000_000 + "}", "document.number"),
        ("a: " + "1" * 4_000_000, "document.number"),
        ("\xff" * (5 * MIB), "document.too_large"),
    ],
    ids=lambda value: value if value.startswith("document.") else "",
)  # fmt: skip
@pytest.mark.timeout(40)
def test_megabytes_of_malice_are_refused_in_seconds(text: str, code: str) -> None:
    """Nothing that fits the size limit makes reading quadratic; %TAG alone takes libyaml minutes."""
    assert verdict(text) == code


@pytest.mark.timeout(20)
def test_a_hundred_thousand_keys_are_no_bomb() -> None:
    """Many keys are read in linear time, and refused as unknown fields after the first 64."""
    text = json.dumps({f"k{i}": 0 for i in range(100_000)})
    with pytest.raises(MissionInvalidError) as caught:
        load_mission(text.encode(), limits=LIMITS, step_types=("transform",))
    assert {v.code for v in caught.value.violations} == {"mission.unknown_field"}


@pytest.mark.timeout(10)
def test_suggestions_cost_little() -> None:
    """A nearest name is looked for 64 times among 250 that are as alike as names get, in linear time."""
    alike = "ab_" * 19
    steps = [
        {
            "id": f"s{i:03}{alike}",
            "name": "n",
            "step_type": "transform",
            "parameters": {},
            "depends_on": [f"{i:03}x{alike}"],
        }
        for i in range(250)
    ]
    with pytest.raises(MissionInvalidError) as caught:
        load_mission(
            json.dumps({"version": "1.0", "name": "n", "steps": steps}).encode(),
            limits=LIMITS,
            step_types=("transform",),
        )
    assert "mission.unknown_dependency" in {v.code for v in caught.value.violations}


def test_the_json_test_suite_is_judged_as_it_says() -> None:
    """All that must be refused is, all that must be read is, except duplicate keys, which are refused on purpose."""
    wrong = []
    for case in cases("json_test_suite"):
        data = base64.b64decode(case["b64"])
        try:
            value = read_json(data.decode(), LIMITS)
            accepted = value == json.loads(data) or "nan" in case["name"]
        except (MissionInvalidError, UnicodeDecodeError):
            accepted = False
        if case["expect"] != "either" and accepted is not (case["expect"] == "accept"):
            wrong.append(case["name"])
    assert wrong == ["y_object_duplicated_key.json"]


# libyaml takes these four: a comment without a space before it, a tab in flow, a lone dash in flow.
LENIENT = {"CVW2", "SU5Z", "Y79Y-3", "YJV2"}


def test_the_yaml_test_suite_is_never_read_wrong() -> None:
    """A case is read to the value that the suite gives, or refused; a wrong value is never made of it.

    What must fail is refused, except four leniencies of libyaml whose value is not in doubt.
    """
    read = 0
    for case in cases("yaml_test_suite"):
        try:
            value = read_yaml(case["yaml"], LIMITS)
        except MissionInvalidError:
            continue
        read += 1
        assert case["fail"] is (case["id"] in LENIENT), case["id"]
        assert case.get("json", value) == value, case["id"]
    assert read > 90
