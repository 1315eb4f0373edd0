"""Attacks on what controls a mission: bombs in `when` and `foreach`, and ways round the order, secrets and quotas."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from engine.document import document_of
from engine.errors import MissionInvalidError, StepError, Violation
from engine.loader import load_mission, load_mission_value
from engine.mission import MissionLimits
from engine.reference import ItemScope, Reference, resolve

LIMITS = MissionLimits(nesting_max=128)
REF = "${steps.first.output.x}"


def mission(*steps: dict[str, Any], **fields: Any) -> str:
    """Return a mission whose step `first` stands on line 2, and `steps` from line 3 on."""
    named = [{"name": "n", "step_type": "transform", "parameters": {}} | step for step in ({"id": "first"}, *steps)]
    head = json.dumps({"version": "1.0", "name": "m", "variables": {"v": [1]}} | fields)[:-1]
    return head + ', "steps": [\n' + ",\n".join(map(json.dumps, named)) + "\n]}"


def attack(**fields: Any) -> dict[str, Any]:
    """Return a step that may use the output of `first`."""
    return {"id": "it", "depends_on": ["first"]} | fields


def refused(text: str) -> list[Violation]:
    """Return what is wrong with a mission that must not be a plan."""
    with pytest.raises(MissionInvalidError) as caught:
        load_mission(text.encode(), limits=LIMITS, step_types=("transform",), secrets=("KEY",))
    return list(caught.value.violations)


def nots(depth: int) -> Any:
    """Return a comparison, negated `depth` times."""
    return json.loads('{"not":' * depth + json.dumps({"eq": [REF, 1]}) + "}" * depth)


LEAF = {"eq": [REF, 1]}
DEEP_VALUE = json.loads("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("step", "code", "field"),
    [
        (attack(when=nots(64)), "condition.too_large", "steps[1].when" + ".not" * 64),
        (attack(when=nots(100)), "condition.too_large", "steps[1].when" + ".not" * 64),
        (attack(when={"all": [LEAF] * 64}), "condition.too_large", "steps[1].when.all[63]"),
        (attack(when={"any": [LEAF] * 100_000}), "condition.too_large", "steps[1].when.any[63]"),
        (attack(when={"all": [{"any": [LEAF] * 40}, {"any": [LEAF] * 40}]}), "condition.too_large",
         "steps[1].when.all[1].any[21]"),
        (attack(when={"eq": ["${steps.it.output}", 1]}), "reference.own_output", "steps[1].when.eq[0]"),
        (attack(when={"exists": ["${steps.it.output}"]}), "reference.own_output", "steps[1].when.exists[0]"),
        (attack(when={"eq": [REF, REF]}), "reference.not_here", "steps[1].when.eq[1]"),
        (attack(when={"eq": ["${secrets.KEY}", "a"]}), "reference.not_here", "steps[1].when.eq[0]"),
        (attack(when={"gt": ["${secrets.KEY}", "m"]}), "reference.not_here", "steps[1].when.gt[0]"),
        (attack(when={"exists": ["${secrets.KEY}"]}), "reference.not_here", "steps[1].when.exists[0]"),
        (attack(when={"in": [REF, ["x", "${secrets.KEY}"]]}), "reference.not_here", "steps[1].when.in[1][1]"),
        (attack(when={"__class__": [REF, 1]}), "condition.syntax", "steps[1].when.__class__"),
        (attack(when={"holds": [REF, 1]}), "condition.syntax", "steps[1].when.holds"),
        (attack(when="input.allow"), "mission.wrong_type", "steps[1].when"),
        (attack(when={"eq": ["${item}", 1]}, foreach={"items": [1]}), "reference.no_item", "steps[1].when.eq[0]"),
        (attack(foreach={"items": "${secrets.KEY}"}), "reference.not_here", "steps[1].foreach.items"),
        (attack(foreach={"items": ["${secrets.KEY}"]}), "reference.not_here", "steps[1].foreach.items[0]"),
        (attack(foreach={"items": [{"${steps.first.output}": 1}]}), "reference.not_here",
         'steps[1].foreach.items[0]["${steps.first.output}"]'),
        (attack(foreach={"items": "${item}"}), "reference.no_item", "steps[1].foreach.items"),
        (attack(foreach={"items": "${steps.it.output}"}), "reference.own_output", "steps[1].foreach.items"),
        (attack(foreach={"items": "${steps.last.output}"}), "reference.not_a_dependency", "steps[1].foreach.items"),
        (attack(foreach={"items": f"{REF}{REF}"}), "reference.syntax", "steps[1].foreach.items"),
        (attack(foreach={"items": "0..1000000"}), "reference.syntax", "steps[1].foreach.items"),
        (attack(foreach={"items": 1_000_000}), "mission.wrong_type", "steps[1].foreach.items"),
        (attack(foreach={"items": [0] * 400_000}), "mission.too_many_items", "steps[1].foreach.items"),
        (attack(foreach={"items": [0] * 9_999}), "mission.too_many_steps", "steps"),
        (attack(parameters={"x": "${item}"}), "reference.no_item", "steps[1].parameters.x"),
        (attack(parameters={"x": "a ${item.b.0} c"}), "reference.no_item", "steps[1].parameters.x"),
        (attack(parameters={"x": "${secrets.OTHER}"}), "reference.unknown_secret", "steps[1].parameters.x"),
        (attack(parameters={"${secrets.KEY}": 1}), "reference.syntax", 'steps[1].parameters["${secrets.KEY}"]'),
        (attack(retry={"max_attempts": 2**63 - 1}), "mission.out_of_range", "steps[1].retry.max_attempts"),
        (attack(retry={"max_attempts": 1e308}), "mission.wrong_type", "steps[1].retry.max_attempts"),
        (attack(retry={"base_ms": -(2**63)}), "mission.out_of_range", "steps[1].retry.base_ms"),
    ],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_attacks_are_refused_with_their_field(step: dict[str, Any], code: str, field: str) -> None:
    """By their own rule, on their own line, and quickly."""
    last = {"id": "last", "depends_on": ["it"]}
    found = [(each.code, each.field, each.line) for each in refused(mission(step, last))]
    assert found == [(code, field, 1 if field == "steps" else 3)]


def test_bombs_share_the_limit_of_a_mission() -> None:
    """A thousand fan-outs of a hundred items are a hundred thousand steps, and refused as that."""
    bombs = [attack(id=f"s{i}", foreach={"items": [0] * 100}) for i in range(1_000)]
    (violation,) = refused(mission(*bombs))
    assert (violation.code, violation.field, violation.kind) == ("mission.too_many_steps", "steps", "limit")
    assert "100001 steps" in violation.message


@pytest.mark.timeout(20)
def test_ten_thousand_wrong_conditions_cost_sixty_four() -> None:
    """Reading stops at the limit of violations, wherever they are."""
    found = refused(mission(*(attack(id=f"s{i}", when={"eq": [REF]}) for i in range(9_000))))
    assert (len(found), {each.code for each in found}) == (64, {"condition.syntax"})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "-9223372036854775809"])
@pytest.mark.parametrize("place", ['"when": {"gt": ["%s", #]}', '"foreach": {"items": [#]}', '"retry": {"base_ms": #}'])
def test_numbers_that_no_json_has_are_refused(number: str, place: str) -> None:
    """Before there is anything to compare: no condition is true, or false, by a NaN."""
    marked = mission(attack(marker=0)).replace(
        '"marker": 0', (place % REF if "%" in place else place).replace("#", number)
    )
    (violation,) = refused(marked)
    assert violation.code in {"document.number", "document.syntax"}
    assert violation.line == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, {1: 2}, object(), b"x"])
def test_values_that_never_were_text_are_held_to_the_same(value: object) -> None:
    """A Python program, or a message, cannot bring in what a document could not."""
    document = json.loads(mission(attack()))
    for fields in ({"when": {"eq": [REF, value]}}, {"foreach": {"items": [value]}}, {"retry": {"base_ms": value}}):
        changed = document | {"steps": [document["steps"][0], document["steps"][1] | fields]}
        with pytest.raises(MissionInvalidError):
            load_mission_value(document_of(changed, LIMITS), limits=LIMITS, step_types=("transform",))


@pytest.mark.parametrize(
    ("operator", "value", "output", "expected"),
    [
        ("lt", 2**63 - 1, -(2**63), True),
        ("gt", 2**53, 2**53 + 1, True),
        ("eq", 2**53, 2**53 + 1, False),
        ("eq", 1e308, 10**18, False),
        ("eq", "1", 1, False),
        ("eq", 1, True, False),
        ("in", [DEEP_VALUE], DEEP_VALUE, True),
        ("eq", DEEP_VALUE, json.loads("[" * 254 + "]" * 254), False),
        ("lt", "a", 1, "condition.type"),
        ("lt", 1, {"valueOf": 0}, "condition.type"),
    ],
)
def test_comparisons_cannot_be_confused(operator: str, value: Any, output: Any, expected: object) -> None:
    """Exactly beyond 2^53, without coercion, however deep; what has no order is an error and no answer."""
    text = mission(attack(when={operator: ["${steps.first.output}", value]}))
    condition = load_mission(text.encode(), limits=LIMITS, step_types=("transform",)).conditions[1]
    scope: Any = SimpleNamespace(variables={}, step_outputs={"first": output})
    if isinstance(expected, bool):
        assert condition.holds(scope) is expected
        return
    with pytest.raises(StepError) as caught:
        condition.holds(scope)
    assert caught.value.code == expected


def test_an_output_cannot_ask_for_a_secret() -> None:
    """A text that names a secret stays a text, whether an output brings it, an item or an escape."""
    parameters = {"mine": "${secrets.KEY}", "theirs": [REF, "x ${item} $${secrets.KEY}"]}
    text = mission(attack(parameters=parameters, foreach={"items": "${variables.v}"}))
    plan = load_mission(text.encode(), limits=LIMITS, step_types=("transform",), secrets=("KEY",))
    template = plan.templates[1]
    assert template is not None
    asked: list[Reference] = []

    def handle(reference: Reference) -> str:
        asked.append(reference)
        return "HANDLE"

    hostile = "${secrets.KEY}"
    scope = ItemScope(SimpleNamespace(variables={}, step_outputs={"first": {"x": hostile}}), hostile)
    found = resolve(template, scope, secret=handle)
    assert found == {"mine": "HANDLE", "theirs": [hostile, f"x {hostile} {hostile}"]}
    assert asked == [Reference("secrets", "KEY")]
