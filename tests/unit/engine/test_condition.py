"""Conditions: what each operator answers, what has no answer, and what is no condition."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from engine.condition import json_equal, parse_condition
from engine.errors import MissionInvalidError, StepError, Violation
from engine.findings import Findings

SCOPE: Any = SimpleNamespace(
    variables={"n": 7, "text": "b", "yes": True, "list": [1, {"a": None}], "big": 9007199254740993},
    step_outputs={"s": {"one": 1, "half": 0.5, "deep": {"x": [0]}}, "skipped": None},
)


def holds(document: object) -> bool:
    """Return what a sound condition answers."""
    findings = Findings()
    condition = parse_condition(json.loads(json.dumps(document)), ("when",), findings, nodes_max=64)
    findings.refuse_if_any()
    assert condition.document == document
    return condition.holds(SCOPE)


def faults(document: Any, nodes_max: int = 64) -> tuple[Violation, ...]:
    """Return what is wrong with a condition, once it is seen to be false."""
    findings = Findings()
    condition = parse_condition(document, ("when",), findings, nodes_max=nodes_max)
    with pytest.raises(MissionInvalidError) as caught:
        findings.refuse_if_any()
    assert not condition.holds(SCOPE)
    return caught.value.violations


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"eq": ["${variables.n}", 7]}, True),
        ({"eq": ["${variables.n}", 7.0]}, True),
        ({"eq": ["${variables.n}", "7"]}, False),
        ({"eq": ["${variables.yes}", True]}, True),
        ({"eq": ["${variables.yes}", 1]}, False),
        ({"eq": ["${steps.s.output.one}", True]}, False),
        ({"eq": ["${variables.big}", 9007199254740992.0]}, False),
        ({"eq": ["${steps.skipped.output}", None]}, True),
        ({"eq": ["${variables.list}", [1.0, {"a": None}]]}, True),
        ({"eq": ["${variables.list}", [True, {"a": None}]]}, False),
        ({"ne": ["${variables.n}", "7"]}, True),
        ({"ne": ["${variables.n}", 7.0]}, False),
        ({"lt": ["${variables.n}", 7.5]}, True),
        ({"lt": ["${variables.n}", 7]}, False),
        ({"gt": ["${variables.n}", 6]}, True),
        ({"gt": ["${variables.n}", 7]}, False),
        ({"gt": ["${variables.big}", 9007199254740992]}, True),
        ({"lt": ["${variables.text}", "ba"]}, True),
        ({"lt": ["${variables.text}", "B"]}, False),
        ({"in": ["${variables.n}", ["7", 7.0]]}, True),
        ({"in": ["${variables.yes}", [1, "true"]]}, False),
        ({"in": ["${variables.n}", []]}, False),
        ({"exists": ["${steps.s.output.deep.x.0}"]}, True),
        ({"exists": ["${steps.s.output.deep.x.1}"]}, False),
        ({"exists": ["${steps.skipped.output}"]}, True),
        ({"exists": ["${steps.skipped.output.x}"]}, False),
        ({"exists": ["${variables.list.1.a}"]}, True),
        ({"not": {"eq": ["${variables.n}", 7]}}, False),
        ({"all": [{"eq": ["${variables.n}", 7]}, {"gt": ["${variables.n}", 7]}]}, False),
        ({"any": [{"gt": ["${variables.n}", 7]}, {"eq": ["${variables.n}", 7]}]}, True),
        ({"all": [{"eq": ["${variables.n}", 7]}]}, True),
        ({"any": [{"eq": ["${variables.n}", 8]}]}, False),
    ],
)
def test_what_a_condition_answers(document: object, expected: object) -> None:
    """Numbers are one kind, exactly compared; nothing else is turned into anything."""
    assert holds(document) is expected


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"eq": ["${steps.s.output.two}", 1]}, "reference.unresolved"),
        ({"ne": ["${steps.skipped.output.x}", 1]}, "reference.unresolved"),
        ({"in": ["${steps.s.output.two}", [1]]}, "reference.unresolved"),
        ({"not": {"lt": ["${steps.s.output.two}", 1]}}, "reference.unresolved"),
        ({"lt": ["${variables.text}", 1]}, "condition.type"),
        ({"gt": ["${variables.n}", "1"]}, "condition.type"),
        ({"lt": ["${variables.yes}", 2]}, "condition.type"),
        ({"gt": ["${steps.skipped.output}", 0]}, "condition.type"),
        ({"lt": ["${variables.list}", 0]}, "condition.type"),
    ],
)
def test_what_has_no_answer_fails_the_step(document: object, code: str) -> None:
    """Neither true nor false is made of what cannot be compared, nor of what is not there; asking again is no help."""
    with pytest.raises(StepError) as caught:
        holds(document)
    assert (caught.value.code, caught.value.retryable) == (code, False)


def test_exists_guards_what_follows_it() -> None:
    """`all` and `any` stop at the first part that decides."""
    absent = {"eq": ["${steps.s.output.two}", 1]}
    assert not holds({"all": [{"exists": ["${steps.s.output.two}"]}, absent]})
    assert holds({"any": [{"not": {"exists": ["${steps.s.output.two}"]}}, absent]})
    with pytest.raises(StepError):
        holds({"all": [absent, {"exists": ["${steps.s.output.two}"]}]})


@pytest.mark.parametrize(
    ("document", "code", "field"),
    [
        (None, "mission.wrong_type", "when"),
        ([{"eq": ["${item}", 1]}], "mission.wrong_type", "when"),
        ("${variables.n}", "mission.wrong_type", "when"),
        ({}, "condition.syntax", "when"),
        ({"exists": ["${item}"], "not": {"exists": ["${item}"]}}, "condition.syntax", "when"),
        ({"equals": ["${item}", 1]}, "condition.syntax", "when.equals"),
        ({"EQ": ["${item}", 1]}, "condition.syntax", "when.EQ"),
        ({"le": ["${item}", 1]}, "condition.syntax", "when.le"),
        ({"eq": {"${item}": 1}}, "condition.syntax", "when.eq"),
        ({"eq": ["${item}"]}, "condition.syntax", "when.eq"),
        ({"eq": ["${item}", 1, 2]}, "condition.syntax", "when.eq"),
        ({"eq": [1, 1]}, "mission.wrong_type", "when.eq[0]"),
        ({"eq": [None, 1]}, "mission.wrong_type", "when.eq[0]"),
        ({"eq": ["x", 1]}, "reference.syntax", "when.eq[0]"),
        ({"eq": ["${item} ", 1]}, "reference.syntax", "when.eq[0]"),
        ({"eq": ["${item}", "${item}"]}, "reference.not_here", "when.eq[1]"),
        ({"eq": ["${item}", {"a": ["$${"]}]}, "reference.not_here", "when.eq[1].a[0]"),
        ({"eq": ["${item}", {"${": 1}]}, "reference.not_here", 'when.eq[1]["${"]'),
        ({"in": ["${item}", "abc"]}, "mission.wrong_type", "when.in[1]"),
        ({"in": ["${item}", {"a": 1}]}, "mission.wrong_type", "when.in[1]"),
        ({"in": ["${item}", ["${item}"]]}, "reference.not_here", "when.in[1][0]"),
        ({"lt": ["${item}", True]}, "mission.wrong_type", "when.lt[1]"),
        ({"gt": ["${item}", None]}, "mission.wrong_type", "when.gt[1]"),
        ({"gt": ["${item}", [1]]}, "mission.wrong_type", "when.gt[1]"),
        ({"exists": "${item}"}, "condition.syntax", "when.exists"),
        ({"exists": ["${item}", True]}, "condition.syntax", "when.exists"),
        ({"all": []}, "condition.syntax", "when.all"),
        ({"any": {}}, "condition.syntax", "when.any"),
        ({"any": [{"exists": ["${item}"]}, 1]}, "mission.wrong_type", "when.any[1]"),
        ({"not": [{"exists": ["${item}"]}]}, "mission.wrong_type", "when.not"),
        ({"not": {"not": {"nor": []}}}, "condition.syntax", "when.not.not.nor"),
    ],
)
def test_what_is_no_condition(document: object, code: str, field: str) -> None:
    """One broken rule is one violation, at the part that breaks it."""
    assert [(each.code, each.field) for each in faults(document)] == [(code, field)]


def test_a_faulty_condition_never_holds() -> None:
    """What is returned beside a report only keeps reading possible."""
    condition = parse_condition({"any": [1, {"exists": ["${variables.n}"]}]}, ("when",), Findings(), nodes_max=64)
    assert not condition.holds(SCOPE)
    for document in (None, {"not": {"any": [1]}}, {"ne": ["${variables.n}", "${"]}):
        assert not parse_condition(document, ("when",), Findings(), nodes_max=64).holds(SCOPE)
    deep: Any = {"not": {"all": leaves(2)}}
    assert not parse_condition(deep, ("when",), Findings(), nodes_max=2).holds(SCOPE)
    assert [str(reference) for _, reference in condition.uses] == ["${variables.n}"]


def test_a_near_operator_is_suggested() -> None:
    """A typing error is answered with the operator that was meant."""
    assert faults({"exist": ["${item}"]})[0].message.endswith("did you mean 'exists'?")


def leaves(count: int) -> list[Any]:
    """Return comparisons."""
    return [{"eq": ["${variables.n}", 7]} for _ in range(count)]


@pytest.mark.parametrize(
    "build",
    [
        lambda parts: {"all": leaves(parts - 1)},
        lambda parts: {"any": [{"all": leaves(parts - 3)}, *leaves(1)]},
        lambda parts: json.loads('{"not":' * (parts - 1) + json.dumps(leaves(1)[0]) + "}" * (parts - 1)),
    ],
)
def test_a_condition_has_at_most_sixty_four_parts(build: Any) -> None:
    """64 are read, 65 are one violation over a limit, whatever their form; and 5,000 are no other than 65."""
    assert holds(build(64)) in {True, False}
    for parts in (65, 200):
        (violation,) = faults(build(parts))
        assert (violation.code, violation.kind) == ("condition.too_large", "limit")


def test_a_part_too_much_is_told_once_and_the_rest_not_looked_at() -> None:
    """A list of a hundred thousand wrong parts costs what 65 cost."""
    (violation,) = [v for v in faults({"all": [*leaves(63), *([0] * 100_000)]}) if v.code == "condition.too_large"]
    assert violation.field == "when.all[63]"


@pytest.mark.parametrize(
    ("one", "other"), [(0, False), (1, True), ("", None), ([], {}), ([], None), ({}, None), ([1], [1, 1]), ("a", ["a"])]
)
def test_no_two_kinds_are_equal(one: Any, other: Any) -> None:
    """Whichever stands first."""
    assert not json_equal(one, other)
    assert not json_equal(other, one)
