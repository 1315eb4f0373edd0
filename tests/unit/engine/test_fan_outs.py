"""Fan-outs: one step, many items; their outputs, their limits, and what a failed one means."""

import asyncio

import pytest

from engine.attempt import StepAttempt
from engine.errors import StepError
from engine.mission import MissionConfig, MissionLimits
from engine.plan import Plan
from engine.result import MissionResult
from engine.retry import RetryPolicy
from engine.values import JsonValue
from tests.schedules import (
    ASKED,
    AttemptAct,
    Items,
    RecordingObserver,
    ScriptedRunner,
    check_consistent,
    codes,
    items,
    plan_of,
    run_of,
    statuses,
)
from tests.virtual_time import run


async def doubled(attempt: StepAttempt) -> JsonValue:
    """Double the item; the later items are done first."""
    assert attempt.item is not None
    assert isinstance(attempt.value, int)
    await asyncio.sleep(1.0 / (attempt.item + 1))
    return attempt.value * 2


def failing_on(*bad: JsonValue, error: BaseException | None = None, after: float = 0.0) -> AttemptAct:
    async def act(attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(after)
        if attempt.value in bad:
            raise error or StepError("bad item", code="x.bad")
        await asyncio.sleep(1.0)
        return attempt.value

    return act


def executed(plan: Plan, act: AttemptAct, **rest: object) -> tuple[MissionResult, RecordingObserver, ScriptedRunner]:
    observer, runner = RecordingObserver(), ScriptedRunner(attempts={"each": act})
    result = run(run_of(plan, runner, observer, **rest).execute())  # type: ignore[arg-type]
    check_consistent(plan, result, observer)
    return result, observer, runner


def fan(source: Items, **rest: object) -> Plan:
    return plan_of({"each": [], "after": ["each"]}, items={"each": source}, **rest)  # type: ignore[arg-type]


def test_the_output_is_the_list_of_outputs_in_the_order_of_the_items() -> None:
    """Not in the order in which they ended; the observer heard of each item."""
    result, observer, _ = executed(fan(items(1, 2, 3)), doubled)
    assert result.step_results["each"].output == [2, 4, 6]
    assert statuses(result) == {"each": "Completed", "after": "Completed"}
    assert observer.item_ends == [
        ("each", 2, 3, "Completed"), ("each", 1, 3, "Completed"), ("each", 0, 3, "Completed"),
    ]  # fmt: skip
    assert [event for event in observer.events if event[0] == "each"] == [("each", "Executing"), ("each", "Completed")]


def test_no_items_give_an_empty_list_at_once() -> None:
    """The runner is not called; the step is Completed and its dependents run."""
    result, _, runner = executed(fan(items()), doubled)
    assert result.step_results["each"].output == []
    assert runner.called == ["after"]


def test_items_can_come_from_an_earlier_output() -> None:
    """They are looked at when the step is ready."""
    plan = plan_of(
        {"list": [], "each": ["list"]},
        items={"each": Items(lambda scope: list(scope.step_outputs["list"]))},  # type: ignore[arg-type, call-overload]
    )

    async def three(_attempt: StepAttempt) -> JsonValue:
        return [5, 6, 7]

    runner = ScriptedRunner(attempts={"list": three, "each": doubled})
    assert run(run_of(plan, runner).execute()).step_results["each"].output == [10, 12, 14]


def test_a_fan_out_has_a_limit_of_its_own() -> None:
    """Other steps take the places that it leaves."""
    plan = plan_of({"each": [], "other": []}, items={"each": items(*range(6), limit=2)})
    runner = ScriptedRunner(attempts={"each": failing_on(), "other": failing_on()})
    result = run(run_of(plan, runner).execute())
    assert runner.active_max == 3
    assert result.total_duration_ms == pytest.approx(3_000)


def test_the_limit_of_the_mission_holds_for_items() -> None:
    """An item is an attempt like any other."""
    _, _, runner = executed(fan(items(*range(7)), config=MissionConfig(parallel_limit=3)), failing_on())
    assert runner.active_max == 3


def test_one_failed_item_ends_the_others() -> None:
    """What runs is cancelled, what has not begun does not; the step names the first item that failed."""
    plan = fan(items(0, 1, 2, 3, 4), config=MissionConfig(parallel_limit=3))
    result, observer, runner = executed(plan, failing_on(1))
    assert statuses(result) == {"each": "Failed", "after": "Skipped"}
    error = result.step_results["each"].error
    assert error is not None
    assert error.code == "foreach.item_failed"
    assert error.message == "1 of 5 items failed: item 1: bad item [x.bad]"
    assert runner.called == ["each"] * 3
    assert observer.item_ends == [("each", 1, 5, "Failed")]
    assert result.total_duration_ms == pytest.approx(0)


def test_with_continue_on_error_every_item_runs() -> None:
    """The output has null for those that failed, and dependents see it."""
    result, _, _ = executed(fan(items(0, 1, 2, 3), tolerant=["each"]), failing_on(1, 3))
    assert statuses(result) == {"each": "Failed", "after": "Completed"}
    assert result.step_results["each"].output == [0, None, 2, None]
    assert codes(result) == {"each": "foreach.item_failed"}


def test_an_item_is_tried_again_by_itself() -> None:
    """The others go on; the step counts the attempts of the item that needed most."""

    async def flaky(attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(0)
        if attempt.item == 1 and attempt.number < 3:
            raise ValueError("flaky")
        return [attempt.item, attempt.number]

    plan = fan(items("a", "b"), retries={"each": RetryPolicy(max_attempts=3, base_ms=100)})
    result, observer, _ = executed(plan, flaky)
    assert result.step_results["each"].output == [[0, 1], [1, 3]]
    assert result.step_results["each"].attempts == 3
    assert [retry.item for _, retry in observer.retries] == [1, 1]


def test_a_violation_in_an_item_halts_the_mission() -> None:
    """At once, in any mode."""
    plan = fan(items(0, 1, 2), tolerant=["each"])
    result, _, _ = executed(plan, failing_on(1, error=StepError("no", code="policy.denied", halts_mission=True)))
    assert statuses(result) == {"each": "Failed", "after": "Skipped"}
    assert codes(result)["after"] == "mission.halted"


def test_a_cancelled_mission_skips_a_fan_out_that_runs() -> None:
    """One outcome, whatever some of its items came to."""

    async def main() -> MissionResult:
        plan = fan(items(*range(4)), config=MissionConfig(parallel_limit=2))
        mission = run_of(plan, ScriptedRunner(attempts={"each": failing_on()}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.5)
        mission.cancel(ASKED)
        return await task

    assert statuses(run(main())) == {"each": "Skipped", "after": "Skipped"}


def test_a_stubborn_item_does_not_keep_its_step() -> None:
    """Once its grace is over the step has its outcome; the task keeps its place."""

    async def act(attempt: StepAttempt) -> JsonValue:
        if attempt.item == 0:
            await asyncio.sleep(0.5)
            raise StepError("bad item", code="x.bad")
        loop = asyncio.get_running_loop()
        while loop.time() < 60.0:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue
        return None

    plan = fan(items(0, 1), config=MissionConfig(fail_fast=False))
    result, _, _ = executed(plan, act, grace_seconds=2.0)
    assert codes(result)["each"] == "foreach.item_failed"
    assert result.total_duration_ms == pytest.approx(2_500)


def test_items_count_against_the_steps_of_a_mission() -> None:
    """All fan-outs together; one that is too large fails before any of it runs."""
    plan = plan_of({"each": [], "more": []}, items={"each": items(1, 2, 3), "more": items(1, 2, 3)})
    runner = ScriptedRunner()
    mission = run_of(plan, runner, limits=MissionLimits(steps_max=5))
    result = run(mission.execute())
    assert codes(result)["more"] == "foreach.too_many"
    assert "more" not in runner.called


def test_outputs_together_are_bounded() -> None:
    """The outputs of the items count as the step's one output."""

    async def large(_attempt: StepAttempt) -> JsonValue:
        return "x" * 400

    result, _, _ = executed(fan(items(1, 2, 3)), large, limits=MissionLimits(output_bytes_max=1_000))
    error = result.step_results["each"].error
    assert error is not None
    assert "context.output_too_large" in error.message


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_an_item_output_that_is_no_json_is_a_failure(value: JsonValue) -> None:
    """As a step's output is."""

    async def odd(_attempt: StepAttempt) -> JsonValue:
        return value

    result, _, _ = executed(fan(items(1)), odd)
    error = result.step_results["each"].error
    assert error is not None
    assert "context.output_invalid" in error.message


def test_items_that_cannot_be_found_out_fail_the_step() -> None:
    """A bug in a program's own source included; its text stays in the log."""

    def broken(_scope: object) -> list[JsonValue]:
        raise StepError("no list", code="foreach.not_a_list", retryable=False)

    result, _, runner = executed(fan(Items(broken)), doubled)
    assert codes(result)["each"] == "foreach.not_a_list"
    assert runner.called == []
