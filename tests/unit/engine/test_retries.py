"""Retries: what is tried again, how often, after how long, and what a waiting step holds meanwhile."""

import asyncio
from collections.abc import Callable

import pytest

from engine.attempt import StepAttempt
from engine.errors import FaultError, RefusalError, StepError
from engine.mission import MissionConfig
from engine.result import MissionResult, StepFailure
from engine.retry import Backoff, RetryPolicy
from engine.values import JsonValue
from tests.schedules import (
    ASKED,
    AttemptAct,
    RecordingObserver,
    ScriptedRunner,
    codes,
    plan_of,
    raises,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import run


def succeeds_at(number: int, make: Callable[[], BaseException] = lambda: ValueError("flaky")) -> AttemptAct:
    async def act(attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(0)
        if attempt.number < number:
            raise make()
        return attempt.number

    return act


def executed(policy: RetryPolicy, act: AttemptAct, **rest: float) -> tuple[MissionResult, RecordingObserver]:
    observer = RecordingObserver()
    plan = plan_of({"a": []}, retries={"a": policy}, timeouts=rest or None)
    return run(run_of(plan, ScriptedRunner(attempts={"a": act}), observer).execute()), observer


def test_a_fault_is_tried_again_until_it_passes() -> None:
    """The result counts the attempts; the observer heard of each one that failed."""
    result, observer = executed(RetryPolicy(max_attempts=3, base_ms=500), succeeds_at(3))
    assert result.step_results["a"].output == 3
    assert result.step_results["a"].attempts == 3
    assert [(step, retry.attempt, retry.delay_seconds) for step, retry in observer.retries] == [
        ("a", 1, 0.5),
        ("a", 2, 0.5),
    ]
    assert result.total_duration_ms == pytest.approx(1_000)


def test_the_last_failure_counts() -> None:
    """`max_attempts` includes the first."""
    result, observer = executed(
        RetryPolicy(max_attempts=2, base_ms=0), succeeds_at(3, lambda: StepError("no", code="x.y"))
    )
    assert codes(result) == {"a": "x.y"}
    assert result.step_results["a"].attempts == 2
    assert len(observer.retries) == 1


@pytest.mark.parametrize(
    "error",
    [StepError("no", retryable=False), StepError("no", halts_mission=True), RefusalError("no")],
    ids=["not retryable", "security", "refusal"],
)
def test_a_refusal_is_never_tried_again(error: Exception) -> None:
    """Retries are for faults."""
    result, observer = executed(RetryPolicy(max_attempts=9, base_ms=0), succeeds_at(2, lambda: error))
    assert statuses(result) == {"a": "Failed"}
    assert observer.retries == []


def test_exponential_delays_double_and_are_bounded() -> None:
    """Source: the constraints document, Backoff Strategies."""
    policy = RetryPolicy(max_attempts=100, base_ms=100).with_exponential_backoff()
    assert [policy.delay_seconds(n, 0.0) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.8]
    assert policy.delay_seconds(100, 0.0) == 3_600.0


def test_jitter_takes_a_part_of_the_delay() -> None:
    """Full jitter: anything from nothing to the whole."""
    policy = RetryPolicy(base_ms=1_000, backoff=Backoff.EXPONENTIAL, jitter=True)
    assert policy.delay_seconds(2, 0.25) == 0.5


@pytest.mark.parametrize("bad", [{"max_attempts": 0}, {"max_attempts": 101}, {"base_ms": -1}, {"base_ms": 3_600_001}])
def test_a_policy_has_bounds(bad: dict[str, int]) -> None:
    """A program hears of it when it makes the policy."""
    with pytest.raises(ValueError, match="max_attempts"):
        RetryPolicy(**bad)  # type: ignore[arg-type]


def test_a_timed_out_attempt_is_tried_again_with_the_whole_time() -> None:
    """The deadline is the attempt's."""

    async def slow_at_first(attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(5.0 if attempt.number == 1 else 0.75)
        return attempt.number

    result, observer = executed(RetryPolicy(max_attempts=2, base_ms=1_000), slow_at_first, a=1.0)
    assert result.step_results["a"].output == 2
    assert observer.retries[0][1].failure.code == "step.timeout"
    assert result.total_duration_ms == pytest.approx(1_000 + 1_000 + 750)


def test_a_deadline_inside_a_later_attempt_works() -> None:
    """A cancellation by the first attempt's deadline is not left over in the task: asyncio.timeout counts them."""

    async def act(attempt: StepAttempt) -> JsonValue:
        if attempt.number == 1:
            await asyncio.sleep(9.0)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        try:
            async with asyncio.timeout(0.25):
                await asyncio.sleep(9.0)
        except TimeoutError:
            return "own timeout"
        return "never"

    result, _ = executed(RetryPolicy(max_attempts=2, base_ms=0), act, a=1.0)
    assert result.step_results["a"].output == "own timeout"


@pytest.mark.parametrize("error", [None, ValueError("late")], ids=["returns", "raises"])
def test_an_attempt_that_ignores_its_deadline_is_not_tried_again(error: Exception | None) -> None:
    """Two instances of one step must never run at once, and nothing that it does later counts."""

    async def stubborn(attempt: StepAttempt) -> JsonValue:
        loop = asyncio.get_running_loop()
        while loop.time() < 60.0:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue
        if error is not None:
            raise error
        return attempt.number

    async def main() -> tuple[MissionResult, RecordingObserver]:
        observer = RecordingObserver()
        policy = RetryPolicy(max_attempts=5, base_ms=0)
        plan = plan_of({"a": []}, retries={"a": policy}, timeouts={"a": 1.0})
        result = await run_of(plan, ScriptedRunner(attempts={"a": stubborn}), observer).execute()
        await asyncio.sleep(100.0)  # it ends at 60
        return result, observer

    result, observer = run(main())
    assert codes(result) == {"a": "step.timeout"}
    assert observer.retries == []


def test_a_step_that_waits_for_its_next_attempt_holds_no_place() -> None:
    """With one place, another step runs in the meantime."""
    plan = plan_of(
        {"flaky": [], "other": []},
        config=MissionConfig(parallel_limit=1),
        retries={"flaky": RetryPolicy(max_attempts=2, base_ms=10_000)},
    )
    runner = ScriptedRunner({"other": sleeps(1.0)}, {"flaky": succeeds_at(2)})
    result = run(run_of(plan, runner).execute())
    assert runner.called == ["flaky", "other", "flaky"]
    assert runner.active_max == 1
    assert result.total_duration_ms == pytest.approx(10_000)


def test_a_cancelled_mission_does_not_wait_for_the_next_attempt() -> None:
    """The step is Skipped, with the mission's reason."""

    async def main() -> MissionResult:
        plan = plan_of({"a": []}, retries={"a": RetryPolicy(max_attempts=2, base_ms=60_000)})
        mission = run_of(plan, ScriptedRunner({"a": raises(ValueError("x"))}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        mission.cancel(ASKED)
        return await task

    result = run(main())
    assert statuses(result) == {"a": "Skipped"}
    assert result.step_results["a"].error == ASKED
    assert result.total_duration_ms == pytest.approx(1_000)


def test_what_the_observer_does_in_between_is_heeded() -> None:
    """An observer that cancels when it hears of a retry: no further attempt."""

    class Cancels(RecordingObserver):
        def step_retrying(self, *_: object) -> None:
            mission.cancel(StepFailure(code="mission.cancelled", message="enough"))

    runner = ScriptedRunner(attempts={"a": succeeds_at(2)})
    plan = plan_of({"a": []}, retries={"a": RetryPolicy(max_attempts=2, base_ms=0)})
    mission = run_of(plan, runner, Cancels())
    assert statuses(run(mission.execute())) == {"a": "Skipped"}
    assert runner.called == ["a"]


def attempts(failures: int, error: type[Exception] = FaultError) -> tuple[Callable[[], str], list[int]]:
    """Return what fails so often before it succeeds, and the list of its tries."""
    tries: list[int] = []

    def act() -> str:
        tries.append(1)
        if len(tries) <= failures:
            raise error("not now")
        return "done"

    return act, tries


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (RetryPolicy(max_attempts=4, base_ms=10), [0.01, 0.01, 0.01]),
        (RetryPolicy(max_attempts=4, base_ms=10).with_exponential_backoff(), [0.01, 0.02, 0.04]),
        (RetryPolicy(max_attempts=4, base_ms=10, jitter=True), [0.005, 0.005, 0.005]),
    ],
)
def test_a_policy_executes_what_may_fail(policy: RetryPolicy, waits: list[float]) -> None:
    """Fixed or doubling waits between the tries, alike for a function and a coroutine, and none after the last."""
    slept: list[float] = []
    act, tries = attempts(3)
    assert policy.execute(act, sleep=slept.append, chance=lambda: 0.5) == "done"
    assert (len(tries), slept) == (4, waits)
    again, tries = attempts(3)
    slept.clear()

    async def act_async() -> str:
        return again()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    assert run(policy.execute_async(act_async, sleep=sleep, chance=lambda: 0.5)) == "done"
    assert (len(tries), slept) == (4, waits)


@pytest.mark.parametrize(("failures", "error", "tried"), [(9, FaultError, 2), (1, RefusalError, 1)])
def test_the_last_failure_and_a_refusal_are_the_callers(failures: int, error: type[Exception], tried: int) -> None:
    """No more tries than there may be; what retrying cannot change is not tried again."""
    act, tries = attempts(failures, error)
    with pytest.raises(error):
        RetryPolicy(max_attempts=2).execute(act, sleep=lambda _: None)
    assert len(tries) == tried
