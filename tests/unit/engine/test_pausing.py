"""Control from outside: pause, resume, suspend, waits without a place, outcomes of an earlier execution, conditions."""

import asyncio

import pytest

from engine.attempt import StepAttempt
from engine.errors import StepError, SuspendedError
from engine.mission import MissionConfig
from engine.outcome import Stop
from engine.result import MissionResult, MissionState, StepFailure, StepResult, StepState
from engine.values import JsonValue
from tests.schedules import (
    RecordingObserver,
    ScriptedRunner,
    codes,
    forever,
    plan_of,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import EPOCH, run

CHAIN = {"a": [], "b": ["a"], "c": ["b"]}


def done(step_id: str, output: JsonValue) -> StepResult:
    return StepResult(step_id=step_id, status=StepState.COMPLETED, output=output, duration_ms=1.0, timestamp=EPOCH)


def test_a_paused_mission_starts_nothing_and_its_time_stands_still() -> None:
    """What runs goes on; after the resume the mission has as much time as it had."""

    async def main() -> tuple[MissionResult, list[str]]:
        runner = ScriptedRunner({name: sleeps(1.0) for name in CHAIN})
        mission = run_of(plan_of(CHAIN, config=MissionConfig(timeout_seconds=3.5)), runner)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(0.5)
        assert mission.pause()
        assert not mission.pause()
        assert mission.paused
        await asyncio.sleep(100.0)
        called = list(runner.called)
        assert mission.resume()
        assert not mission.resume()
        return await task, called

    result, called = run(main())
    assert called == ["a"]
    assert result.state is MissionState.COMPLETED


def test_what_an_earlier_execution_has_used_of_the_time_is_gone() -> None:
    """A mission that is taken up again has the rest of its timeout, not a new one."""

    async def main() -> tuple[MissionResult, float]:
        plan = plan_of({"a": []}, config=MissionConfig(timeout_seconds=10.0))
        mission = run_of(plan, ScriptedRunner({"a": forever}), spent_seconds=7.0)
        begun = asyncio.get_running_loop().time()
        return await mission.execute(), asyncio.get_running_loop().time() - begun

    result, seconds = run(main())
    assert result.error is not None
    assert (result.error.code, seconds) == ("mission.timeout", pytest.approx(3.0))


def test_a_mission_is_busy_while_an_attempt_has_a_place() -> None:
    """Whoever waits for something outside is not at work: a gateway that stops need not wait for it."""
    seen: list[bool] = []

    async def main() -> None:
        async def waits(attempt: StepAttempt) -> JsonValue:
            async with attempt.waiting():
                await asyncio.sleep(2.0)
            await asyncio.sleep(2.0)
            return None

        mission = run_of(plan_of({"a": []}), ScriptedRunner(attempts={"a": waits}))
        seen.append(mission.busy)
        task = asyncio.create_task(mission.execute())
        for _ in range(2):
            await asyncio.sleep(1.5)
            seen.append(mission.busy)
        await task
        seen.append(mission.busy)

    run(main())
    assert seen == [False, False, True, False]


def test_the_mission_timeout_comes_after_a_pause_all_the_same() -> None:
    """Time stands still, it does not end."""

    async def main() -> MissionResult:
        mission = run_of(plan_of({"a": []}, config=MissionConfig(timeout_seconds=3.0)), ScriptedRunner({"a": forever}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        mission.pause()
        await asyncio.sleep(100.0)
        mission.resume()
        return await task

    result = run(main())
    assert result.error is not None
    assert result.error.code == "mission.timeout"
    assert result.total_duration_ms == pytest.approx(103_000)


def test_a_mission_can_be_paused_before_it_starts_and_cancelled_while_it_is() -> None:
    """It stays so until somebody says otherwise."""

    async def main() -> MissionResult:
        mission = run_of(plan_of(CHAIN))
        assert mission.pause()
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(10.0)
        assert mission.step_state("a") is StepState.READY
        mission.cancel(StepFailure(code="mission.cancelled", message="enough"))
        assert not mission.resume()
        return await task

    assert statuses(run(main())) == dict.fromkeys("abc", "Skipped")


def test_a_waiting_attempt_gives_its_place_to_others() -> None:
    """One place: the second step runs while the first waits for something outside, and then the first goes on."""
    answer: asyncio.Future[str] | None = None

    async def main() -> tuple[MissionResult, ScriptedRunner]:
        nonlocal answer
        answer = asyncio.get_running_loop().create_future()

        async def approval(attempt: StepAttempt) -> JsonValue:
            async with attempt.waiting():
                return await answer

        async def answers(_attempt: StepAttempt) -> JsonValue:
            answer.set_result("yes")
            await asyncio.sleep(1.0)
            return "answered"

        runner = ScriptedRunner(attempts={"approval": approval, "other": answers})
        mission = run_of(plan_of({"approval": [], "other": []}, config=MissionConfig(parallel_limit=1)), runner)
        return await mission.execute(), runner

    result, runner = run(main())
    assert {k: v.output for k, v in result.step_results.items()} == {"approval": "yes", "other": "answered"}
    assert runner.ended == ["other", "approval"]


def test_a_paused_mission_keeps_a_wait_that_is_over_waiting() -> None:
    """Nothing goes on in a paused mission."""

    async def main() -> tuple[MissionResult, bool]:
        async def waits(attempt: StepAttempt) -> JsonValue:
            async with attempt.waiting():
                await asyncio.sleep(1.0)
            return asyncio.get_running_loop().time()

        mission = run_of(plan_of({"a": []}), ScriptedRunner(attempts={"a": waits}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(0.5)
        mission.pause()
        await asyncio.sleep(9.5)
        over = task.done()
        mission.resume()
        return await task, over

    result, over = run(main())
    assert not over
    assert result.step_results["a"].output == 10.0


@pytest.mark.parametrize("inside", [True, False], ids=["while it waits", "while it waits for a place"])
def test_a_cancelled_wait_leaves_the_places_in_order(*, inside: bool) -> None:
    """A step that times out during a wait, or after it, frees nothing twice: the limit still holds."""

    async def waits(attempt: StepAttempt) -> JsonValue:
        async with attempt.waiting():
            await asyncio.sleep(9.0 if inside else 0.5)
        return None

    names = ["waits", *(f"s{n}" for n in range(4))]
    plan = plan_of(
        {name: [] for name in names},
        config=MissionConfig(parallel_limit=1, fail_fast=False),
        timeouts={"waits": 1.0},
    )
    runner = ScriptedRunner({name: sleeps(2.0) for name in names}, {"waits": waits})
    result = run(run_of(plan, runner).execute())
    assert codes(result) == {"waits": "step.timeout"}
    assert result.total_duration_ms == pytest.approx(8_000)


def test_outcomes_of_an_earlier_execution_are_kept() -> None:
    """They are not run, not told to the observer, and seen by what depends on them."""
    seen = []

    async def reads(attempt: StepAttempt) -> JsonValue:
        seen.append(attempt.context.step_outputs["b"])
        return "new"

    observer = RecordingObserver()
    runner = ScriptedRunner(attempts={"c": reads})
    prior = {"a": done("a", 1), "b": done("b", {"kept": True})}
    result = run(run_of(plan_of(CHAIN), runner, observer, prior=prior).execute())
    assert runner.called == ["c"]
    assert seen == [{"kept": True}]
    assert [event[0] for event in observer.events] == ["c", "c"]
    assert result.step_results["a"] is prior["a"]
    assert result.steps_completed == 3


def test_a_mission_of_which_nothing_is_left_ends_at_once() -> None:
    """Everything was done before."""
    prior = {name: done(name, name) for name in CHAIN}
    assert run(run_of(plan_of(CHAIN), ScriptedRunner(), prior=prior).execute()).state is MissionState.COMPLETED


def failed(step_id: str) -> StepResult:
    error = StepFailure(code="step.failed", message="no")
    return StepResult(step_id=step_id, status=StepState.FAILED, error=error, duration_ms=1.0, timestamp=EPOCH)


def test_a_failure_of_an_earlier_execution_means_what_it_meant_then() -> None:
    """Its dependents are Skipped and, where the mission is to stop at a failure, all others as well."""
    graph = {"a": [], "b": ["a"], "c": ["b"], "d": []}
    for fail_fast, others in ((False, "Completed"), (True, "Skipped")):
        observer, runner = RecordingObserver(), ScriptedRunner()
        plan = plan_of(graph, config=MissionConfig(fail_fast=fail_fast))
        result = run(run_of(plan, runner, observer, prior={"a": failed("a")}).execute())
        assert statuses(result) == {"a": "Failed", "b": "Skipped", "c": "Skipped", "d": others}
        assert runner.called == ([] if fail_fast else ["d"])
        assert result.overall_status.value == ("Failed" if fail_fast else "Partial")
        assert [stop.reason.code for stop in observer.stops] == (["mission.fail_fast"] if fail_fast else [])


def test_a_failure_that_was_to_be_lived_with_is_lived_with() -> None:
    """With continue_on_error the dependents of a kept failure run, and see null."""
    plan = plan_of(CHAIN, tolerant=["a"])
    result = run(run_of(plan, prior={"a": failed("a")}).execute())
    assert statuses(result) == {"a": "Failed", "b": "Completed", "c": "Completed"}


def test_an_execution_that_was_stopping_is_stopped_for_the_same_reason() -> None:
    """What it had not got to is Skipped with that reason, and the state is the one that it was going to have."""
    cancelled = StepFailure(code="mission.cancelled", message="enough")
    observer, runner = RecordingObserver(), ScriptedRunner()
    prior = {"a": done("a", 1)}
    result = run(run_of(plan_of(CHAIN), runner, observer, prior=prior, stopped=Stop.cancelled(cancelled)).execute())
    assert statuses(result) == {"a": "Completed", "b": "Skipped", "c": "Skipped"}
    assert (result.state, result.error, runner.called) == (MissionState.CANCELLED, cancelled, [])


def test_whoever_watches_hears_why_a_mission_ends_early() -> None:
    """Once, before the steps that it keeps from running are Skipped; of a suspension nothing."""

    async def main(*, suspend: bool) -> RecordingObserver:
        observer = RecordingObserver()
        mission = run_of(plan_of(CHAIN), ScriptedRunner({"a": forever}), observer)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        if suspend:
            mission.suspend()
            with pytest.raises(SuspendedError):
                await task
        else:
            mission.cancel(StepFailure(code="mission.cancelled", message="enough"))
            await task
        return observer

    assert [stop.reason.code for stop in run(main(suspend=False)).stops] == ["mission.cancelled"]
    assert run(main(suspend=True)).stops == []


def test_a_suspended_mission_has_no_result_and_can_be_taken_up() -> None:
    """What ran is cancelled and has no outcome; what was done is kept by whoever listened; the rest runs later."""

    async def main() -> tuple[RecordingObserver, MissionResult]:
        observer = RecordingObserver()
        plan = plan_of(CHAIN)
        mission = run_of(plan, ScriptedRunner({"b": forever}), observer)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        assert mission.suspend()
        with pytest.raises(SuspendedError):
            await task
        assert mission.result is None
        prior = {result.step_id: result for result in observer.results}
        return observer, await run_of(plan, prior=prior).execute()

    observer, result = run(main())
    assert [r.step_id for r in observer.results] == ["a"]
    assert result.state is MissionState.COMPLETED


def test_a_step_that_completes_while_it_is_suspended_counts() -> None:
    """And one that fails then does not: that may be the suspension's doing."""

    async def completes(_attempt: StepAttempt) -> JsonValue:
        try:
            await asyncio.sleep(9.0)
        except asyncio.CancelledError:
            return "done all the same"

    async def fails(_attempt: StepAttempt) -> JsonValue:
        try:
            await asyncio.sleep(9.0)
        except asyncio.CancelledError:
            raise StepError("connection closed") from None

    async def main() -> RecordingObserver:
        observer = RecordingObserver()
        runner = ScriptedRunner(attempts={"a": completes, "b": fails})
        mission = run_of(plan_of({"a": [], "b": [], "c": ["a"]}), runner, observer)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        mission.suspend()
        with pytest.raises(SuspendedError):
            await task
        return observer

    observer = run(main())
    assert [(r.step_id, r.output) for r in observer.results] == [("a", "done all the same")]


def test_a_stubborn_step_does_not_hold_up_a_suspension() -> None:
    """It is given up after the grace, without an outcome."""

    async def stubborn(_attempt: StepAttempt) -> JsonValue:
        loop = asyncio.get_running_loop()
        while loop.time() < 60.0:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue
        return None

    async def main() -> float:
        mission = run_of(plan_of({"a": []}), ScriptedRunner(attempts={"a": stubborn}), grace_seconds=2.0)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        mission.suspend()
        with pytest.raises(SuspendedError):
            await task
        return asyncio.get_running_loop().time()

    assert run(main()) == 3.0


def test_a_suspension_of_what_has_ended_changes_nothing() -> None:
    """The result stands."""
    mission = run_of(plan_of(CHAIN))
    result = run(mission.execute())
    assert not mission.suspend()
    assert mission.result is result


def test_a_step_whose_condition_is_false_is_skipped_and_its_dependents_run() -> None:
    """Its output is null for them; the mission is a success."""
    seen = []

    async def reads(attempt: StepAttempt) -> JsonValue:
        seen.append(attempt.context.step_outputs)
        return None

    plan = plan_of(CHAIN, conditions={"b": lambda scope: scope.step_outputs["a"] == "something else"})
    runner = ScriptedRunner(attempts={"c": reads})
    result = run(run_of(plan, runner).execute())
    assert statuses(result) == {"a": "Completed", "b": "Skipped", "c": "Completed"}
    assert codes(result) == {"b": "step.condition_false"}
    assert seen == [{"a": "a", "b": None, "c": None}]
    assert result.overall_status == "Success"


def test_a_condition_that_cannot_be_told_fails_the_step() -> None:
    """As a refusal of its own, or as a bug whose text stays in the log."""

    def broken(_scope: object) -> bool:
        raise StepError("these do not compare", code="when.not_comparable", retryable=False)

    result = run(run_of(plan_of(CHAIN, conditions={"a": broken})).execute())
    assert codes(result)["a"] == "when.not_comparable"
    assert statuses(result) == {"a": "Failed", "b": "Skipped", "c": "Skipped"}
