"""Supervision: crashes are mended one for one or one for all, and too many of them are a catastrophe."""

import asyncio
from collections import Counter

import pytest

from engine.attempt import StepAttempt
from engine.errors import StepError
from engine.mission import MissionConfig, RestartScope, Strategy, Supervision
from engine.result import MissionResult
from engine.retry import RetryPolicy
from engine.values import JsonValue
from tests.schedules import (
    AttemptAct,
    RecordingObserver,
    ScriptedRunner,
    check_consistent,
    codes,
    items,
    plan_of,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import run

ONE_FOR_ONE = MissionConfig(supervision=Supervision(max_restarts=3, within_seconds=10.0))
ONE_FOR_ALL = MissionConfig(
    strategy=Strategy.LEVELS,
    supervision=Supervision(strategy=RestartScope.ONE_FOR_ALL, max_restarts=3, within_seconds=10.0),
)
TWO_LEVELS = {"first": [], "left": ["first"], "right": ["first"], "last": ["left", "right"]}


def crashing(times: int, *, after: float = 0.0, error: BaseException | None = None) -> AttemptAct:
    """Crash so many times, then return how often it was called."""
    calls = 0

    async def act(_attempt: StepAttempt) -> JsonValue:
        nonlocal calls
        calls += 1
        await asyncio.sleep(after)
        if calls <= times:
            raise error or ValueError("crash")
        return calls

    return act


def executed(
    config: MissionConfig, attempts: dict[str, AttemptAct], **rest: object
) -> tuple[MissionResult, RecordingObserver, ScriptedRunner]:
    observer, runner = RecordingObserver(), ScriptedRunner({"right": sleeps(1.0, "right")}, attempts)
    plan = plan_of(TWO_LEVELS, config=config, **rest)  # type: ignore[arg-type]
    result = run(run_of(plan, runner, observer).execute())
    check_consistent(plan, result, observer)
    return result, observer, runner


def test_one_for_one_begins_only_the_crashed_step_anew() -> None:
    """At once, with the same inputs; the others do not notice."""
    result, observer, runner = executed(ONE_FOR_ONE, {"left": crashing(2)})
    assert result.step_results["left"].output == 3
    assert result.step_results["left"].attempts == 3
    assert Counter(runner.called) == {"first": 1, "left": 3, "right": 1, "last": 1}
    assert [retry.delay_seconds for _, retry in observer.retries] == [0.0, 0.0]


def test_too_many_restarts_are_a_catastrophe() -> None:
    """The mission stops, says so, and keeps what was done."""
    result, _, _ = executed(ONE_FOR_ONE, {"left": crashing(99)})
    assert result.error is not None
    assert result.error.code == "mission.restart_intensity"
    assert result.error.message == "more than 3 restarts within 10 s"
    assert statuses(result) == {"first": "Completed", "left": "Failed", "right": "Skipped", "last": "Skipped"}
    assert result.step_results["first"].output == "first"
    assert codes(result)["left"] == "internal"


def test_restarts_that_are_far_apart_are_no_catastrophe() -> None:
    """The window slides."""
    result, _, _ = executed(ONE_FOR_ONE, {"left": crashing(6, after=4.0)})
    assert result.step_results["left"].output == 7


def test_a_refusal_is_never_mended() -> None:
    """It is the system's no, not a crash."""
    error = StepError("no", code="policy.denied", retryable=False)
    result, observer, _ = executed(ONE_FOR_ONE, {"left": crashing(9, error=error)})
    assert codes(result)["left"] == "policy.denied"
    assert observer.retries == []


def test_a_steps_own_retries_come_first() -> None:
    """Supervision is for what they cannot mend."""
    policy = RetryPolicy(max_attempts=2, base_ms=500)
    _, observer, _ = executed(ONE_FOR_ONE, {"left": crashing(2)}, retries={"left": policy})
    assert [retry.delay_seconds for _, retry in observer.retries] == [0.5, 0.0]


def test_one_for_all_begins_the_level_anew_and_keeps_the_levels_before() -> None:
    """The sibling that had ended runs again, the one that runs is cancelled; nothing of it was told meanwhile."""
    result, observer, runner = executed(ONE_FOR_ALL, {"left": crashing(1, after=0.5)}, items={})
    assert Counter(runner.called) == {"first": 1, "left": 2, "right": 2, "last": 1}
    assert observer.restarts == [(1, "internal")]
    assert statuses(result) == dict.fromkeys(TWO_LEVELS, "Completed")
    assert result.total_duration_ms == pytest.approx(1_500)


def test_a_sibling_that_had_completed_is_run_again_with_its_level() -> None:
    """Its first output is forgotten."""
    calls = Counter[str]()

    async def quick(_attempt: StepAttempt) -> JsonValue:
        calls["quick"] += 1
        return calls["quick"]

    plan = plan_of({"quick": [], "slow": []}, config=ONE_FOR_ALL)
    runner = ScriptedRunner(attempts={"quick": quick, "slow": crashing(1, after=1.0)})
    observer = RecordingObserver()
    mission = run_of(plan, runner, observer)
    result = run(mission.execute())
    assert {k: v.output for k, v in result.step_results.items()} == {"quick": 2, "slow": 2}
    check_consistent(plan, result, observer)


def test_one_for_all_has_the_same_intensity() -> None:
    """What had completed in the level is kept when the mission stops."""
    plan = plan_of({"quick": [], "slow": [], "later": ["quick"]}, config=ONE_FOR_ALL)
    observer = RecordingObserver()
    result = run(run_of(plan, ScriptedRunner(attempts={"slow": crashing(99, after=0.1)}), observer).execute())
    assert result.error is not None
    assert result.error.code == "mission.restart_intensity"
    assert statuses(result) == {"quick": "Completed", "slow": "Failed", "later": "Skipped"}
    assert len(observer.restarts) == 3
    check_consistent(plan, result, observer)


def test_a_fan_out_begins_anew_with_its_level() -> None:
    """Its items are counted anew as well."""
    plan = plan_of({"each": [], "bad": []}, config=ONE_FOR_ALL, items={"each": items(1, 2, 3, limit=1)})
    runner = ScriptedRunner({"each": sleeps(1.0, "x")}, {"bad": crashing(1, after=1.5)})
    result = run(run_of(plan, runner).execute())
    assert result.step_results["each"].output == ["x", "x", "x"]
    assert Counter(runner.called)["each"] == 2 + 3


def test_a_crashed_item_restarts_the_level() -> None:
    """An item is as good as a step."""
    plan = plan_of({"each": []}, config=ONE_FOR_ALL, items={"each": items(1, 2)})
    observer = RecordingObserver()
    crashes = crashing(1)

    async def act(attempt: StepAttempt) -> JsonValue:
        return attempt.value if attempt.item == 0 else await crashes(attempt)

    result = run(run_of(plan, ScriptedRunner(attempts={"each": act}), observer).execute())
    assert statuses(result) == {"each": "Completed"}
    assert observer.restarts == [(0, "foreach.item_failed")]


def test_a_sibling_that_ignores_the_restart_stops_the_mission() -> None:
    """Two instances of one step must never run at once."""

    async def stubborn(_attempt: StepAttempt) -> JsonValue:
        loop = asyncio.get_running_loop()
        while loop.time() < 60.0:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue
        return None

    plan = plan_of({"bad": [], "stubborn": []}, config=ONE_FOR_ALL)
    runner = ScriptedRunner(attempts={"bad": crashing(1, after=1.0), "stubborn": stubborn})
    result = run(run_of(plan, runner, grace_seconds=2.0).execute())
    assert result.error is not None
    assert result.error.code == "step.unresponsive"
    assert Counter(runner.called)["stubborn"] == 1
