"""Where the items of a document's fan-out come from, and that they arrive as `${item}` when a mission runs."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from engine.attempt import StepAttempt
from engine.clock import SystemClock
from engine.context import ExecutionContext
from engine.errors import StepError
from engine.findings import Findings
from engine.foreach import ForEachItems, read_items
from engine.loader import load_mission
from engine.mission import MissionLimits, MissionStep
from engine.plan import Plan
from engine.ports import SilentObserver
from engine.result import MissionResult, StepState
from engine.run import resolved_parameters
from engine.scheduler import MissionRun
from engine.values import JsonValue


def items_of(value: JsonValue, *, items_max: int, parallel_limit: int | None = None) -> ForEachItems:
    """Return the source of sound items."""
    findings = Findings()
    source = read_items(value, ("items",), findings, items_max=items_max)
    findings.refuse_if_any()
    return ForEachItems(source, items_max, parallel_limit)


def test_literal_items_are_the_items() -> None:
    """As they stand, and their number is known before anything runs."""
    source = items_of([1, "a", None], items_max=3, parallel_limit=2)
    assert (list(source.items(SimpleNamespace(variables={}, step_outputs={}))), source.count) == ([1, "a", None], 3)
    assert source.parallel_limit == 2


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ({"rows": {"a": 1}}, "foreach.not_a_list"),
        ({"rows": "abc"}, "foreach.not_a_list"),
        ({"rows": None}, "foreach.not_a_list"),
        ({"rows": [1, 2, 3, 4]}, "foreach.too_many"),
        ({}, "reference.unresolved"),
        (None, "reference.unresolved"),
    ],
)
def test_what_is_no_list_or_too_long_fails_the_step(output: JsonValue, code: str) -> None:
    """Nothing is cut, and no text is taken for a list of letters; asking again is no help."""
    source = items_of("${steps.s.output.rows}", items_max=3)
    assert source.count is None
    with pytest.raises(StepError) as caught:
        source.items(SimpleNamespace(variables={}, step_outputs={"s": output}))
    assert (caught.value.code, caught.value.retryable) == (code, False)


class Echo:
    """Runs a step by giving out its resolved parameters; the kind `fail` fails."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        """Return the parameters, as this attempt sees them."""
        if step.step_type == "fail":
            raise StepError("it cannot", code="x.fail", retryable=False)
        return resolved_parameters(self._plan, step, attempt)


async def run(*steps: dict[str, Any], **variables: Any) -> MissionResult:
    """Load a mission and run it."""
    document = {
        "version": "1.0",
        "name": "m",
        "variables": variables,
        "config": {"fail_fast": False},
        "steps": [{"name": "n", "step_type": "echo", "parameters": {}} | step for step in steps],
    }
    limits = MissionLimits(steps_max=100, items_max=5)
    plan = load_mission(json.dumps(document).encode(), limits=limits, step_types={"echo", "fail"})
    context = ExecutionContext.of(plan.mission, limits=limits)
    return await MissionRun(plan, context, Echo(plan), SilentObserver(), SystemClock(), "m").execute()


async def test_each_item_reaches_its_own_run() -> None:
    """By path and as a whole; what comes out is in the order of the items, and a text of an item is only text."""
    rows = [{"id": 1}, {"id": "${variables.rows}"}]
    result = await run(
        {"id": "list", "parameters": {"rows": "${variables.rows}"}},
        {
            "id": "each",
            "depends_on": ["list"],
            "foreach": {"items": "${steps.list.output.rows}", "parallel_limit": 1},
            "when": {"ne": ["${steps.list.output.rows}", []]},
            "parameters": {"id": "${item.id}", "text": "row ${item.id}"},
        },
        {"id": "literal", "foreach": {"items": [0, [1]]}, "parameters": {"it": "${item}"}},
        {"id": "none", "foreach": {"items": []}, "parameters": {"it": "${item}"}},
        rows=rows,
    )
    outputs = {each.step_id: each.output for each in result.step_results.values()}
    assert outputs["each"] == [
        {"id": 1, "text": "row 1"},
        {"id": "${variables.rows}", "text": "row ${variables.rows}"},
    ]
    assert (outputs["literal"], outputs["none"]) == ([{"it": 0}, {"it": [1]}], [])


async def test_a_condition_may_ask_for_what_a_parent_did_not_give() -> None:
    """A parent that failed and lets others go on, and one that was skipped, have the output null."""
    result = await run(
        {"id": "failed", "step_type": "fail", "continue_on_error": True},
        {"id": "skipped", "when": {"eq": ["${variables.yes}", False]}},
        {
            "id": "both",
            "depends_on": ["failed", "skipped"],
            "when": {"all": [{"eq": ["${steps.failed.output}", None]}, {"eq": ["${steps.skipped.output}", None]}]},
        },
        {"id": "either", "depends_on": ["failed"], "when": {"exists": ["${steps.failed.output.x}"]}},
        {"id": "items", "depends_on": ["skipped"], "foreach": {"items": "${steps.skipped.output}"}},
        {"id": "wrong", "depends_on": ["failed"], "when": {"gt": ["${steps.failed.output}", 1]}},
        {"id": "many", "foreach": {"items": "${variables.many}"}},
        yes=True,
        many=[0] * 6,
    )
    found = {
        each.step_id: (each.status, each.error.code if each.error else None) for each in result.step_results.values()
    }
    assert found == {
        "failed": (StepState.FAILED, "x.fail"),
        "skipped": (StepState.SKIPPED, "step.condition_false"),
        "both": (StepState.COMPLETED, None),
        "either": (StepState.SKIPPED, "step.condition_false"),
        "items": (StepState.FAILED, "foreach.not_a_list"),
        "wrong": (StepState.FAILED, "condition.type"),
        "many": (StepState.FAILED, "foreach.too_many"),
    }
