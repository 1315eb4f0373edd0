"""The scheduler: order, limits, error modes, timeouts, cancellation, and the result."""

import asyncio
import contextvars
import logging
from datetime import datetime

import pytest

from engine.attempt import StepAttempt
from engine.errors import FaultError, RefusalError, StepError
from engine.mission import MissionConfig, MissionLimits, MissionStep
from engine.result import MissionState, OverallStatus, StepFailure, StepResult, StepState
from engine.values import JsonValue
from tests.schedules import (
    ASKED,
    RecordingObserver,
    ScriptedRunner,
    check_consistent,
    codes,
    forever,
    ignores_cancellation,
    plan_of,
    raises,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import EPOCH, LoopClock, run

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
PATIENT = MissionConfig(fail_fast=False)


# --- order and limits ---


def test_steps_run_in_the_order_of_their_dependencies() -> None:
    """A step starts when everything that it depends on has ended, and not later."""
    observer = RecordingObserver()
    plan = plan_of(DIAMOND)
    runner = ScriptedRunner({"b": sleeps(2, "B"), "c": sleeps(1, "C")})
    result = run(run_of(plan, runner, observer).execute())
    assert observer.events == [
        ("a", "Executing"),
        ("a", "Completed"),
        ("b", "Executing"),
        ("c", "Executing"),
        ("c", "Completed"),
        ("b", "Completed"),
        ("d", "Executing"),
        ("d", "Completed"),
    ]
    assert result.overall_status is OverallStatus.SUCCESS
    assert result.state is MissionState.COMPLETED
    check_consistent(plan, result, observer)


def test_among_ready_steps_the_first_of_the_document_starts_first() -> None:
    """Not the one that became ready first: with one slot the order is a function of the document alone."""
    runner = ScriptedRunner()
    edges = {"z": ["y"], "y": [], "b": ["y"], "a": ["x"], "x": [], "w": []}
    run(run_of(plan_of(edges, config=MissionConfig(parallel_limit=1)), runner).execute())
    assert runner.called == ["y", "z", "b", "x", "a", "w"]


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_no_more_than_parallel_limit_run_at_once(limit: int) -> None:
    """The limit is kept, and used to the full."""
    runner = ScriptedRunner({f"s{n}": sleeps(1 + n % 3) for n in range(40)})
    plan = plan_of({f"s{n}": [] for n in range(40)}, config=MissionConfig(parallel_limit=limit))
    run(run_of(plan, runner).execute())
    assert runner.active_max == min(limit, 40)


def test_a_long_chain_does_not_recurse() -> None:
    """20,000 steps that release each other run in a flat stack."""
    edges = {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(20_000)}
    result = run(run_of(plan_of(edges)).execute())
    assert result.steps_completed == 20_000


def test_a_task_factory_of_the_loop_is_not_used() -> None:
    """An eager factory would run a step inside the one that released it, without end."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        made: list[object] = []

        def factory(loop: asyncio.AbstractEventLoop, coro: object, **options: object) -> asyncio.Task[object]:
            made.append(coro)
            return asyncio.Task(coro, loop=loop, **options)

        loop.set_task_factory(factory)
        await run_of(plan_of(DIAMOND)).execute()
        return len(made)

    assert run(main()) == 0


def test_nothing_leaks_through_context_variables() -> None:
    """A step sees the context variables of `execute`, not those of the step that released it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: dict[str, str] = {}

    async def note(step: MissionStep) -> JsonValue:
        seen[step.id] = variable.get()
        variable.set(step.id)
        return None

    async def main() -> None:
        variable.set("caller")
        await run_of(plan_of(DIAMOND), ScriptedRunner(dict.fromkeys(DIAMOND, note))).execute()

    run(main())
    assert seen == dict.fromkeys(DIAMOND, "caller")


def test_the_state_of_every_step_can_be_asked() -> None:
    """Pending, Ready, Executing, then the outcome; Validated, Executing, then how the mission ended."""

    async def main() -> list[tuple[MissionState, list[StepState]]]:
        plan = plan_of({"a": [], "b": ["a"], "c": []}, config=MissionConfig(parallel_limit=1))
        mission = run_of(plan, ScriptedRunner({"a": sleeps(1)}))
        seen = []

        def look() -> None:
            seen.append((mission.state, [mission.step_state(step_id) for step_id in "abc"]))

        look()
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(0.5)
        look()
        await task
        look()
        assert mission.result is task.result()
        return seen

    pending, ready, executing, completed = (
        StepState.PENDING,
        StepState.READY,
        StepState.EXECUTING,
        StepState.COMPLETED,
    )
    assert run(main()) == [
        (MissionState.VALIDATED, [pending, pending, pending]),
        (MissionState.EXECUTING, [executing, pending, ready]),
        (MissionState.COMPLETED, [completed, completed, completed]),
    ]


# --- results ---


def test_the_result_has_times_and_outputs() -> None:
    """Durations are of the runner alone; times are of the wall clock, and every one lies within the mission's."""
    plan = plan_of({"a": [], "b": ["a"]})
    result = run(run_of(plan, ScriptedRunner({"a": sleeps(1.5, {"n": 1}), "b": sleeps(0.25)})).execute())
    a, b = result.step_results["a"], result.step_results["b"]
    assert (a.duration_ms, b.duration_ms, result.total_duration_ms) == (1_500, 250, 1_750)
    assert (a.output, b.output) == ({"n": 1}, None)
    assert result.start_time == EPOCH
    assert [(moment - EPOCH).total_seconds() for moment in (a.timestamp, b.timestamp, result.end_time)] == [
        1.5,
        1.75,
        1.75,
    ]


def test_results_never_go_back_in_time() -> None:
    """A wall clock that is set back during a mission does not disorder its results."""
    plan = plan_of({"a": [], "b": ["a"]})
    observer = RecordingObserver()

    class SteppingClock(LoopClock):
        moments = iter([EPOCH, EPOCH.replace(hour=11), EPOCH.replace(hour=13), EPOCH.replace(hour=10)])

        def now(self) -> datetime:
            return next(self.moments)

    mission = run_of(plan, ScriptedRunner(), observer)
    mission._clock = SteppingClock()
    result = run(mission.execute())
    check_consistent(plan, result, observer)
    assert result.start_time <= result.end_time


def test_outputs_reach_the_steps_that_depend_on_them() -> None:
    """When a step starts, the outputs of what it depends on are in the context."""
    seen: list[object] = []

    class Reader(ScriptedRunner):
        async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
            seen.append({parent: attempt.context.step_outputs[parent] for parent in step.depends_on})
            return {"from": step.id}

    run(run_of(plan_of({"a": [], "b": ["a"]}), Reader()).execute())
    assert seen == [{}, {"a": {"from": "a"}}]


def test_an_output_that_cannot_be_kept_fails_its_step() -> None:
    """Too large or not JSON: the step is Failed with the context's code, and its dependents do not run."""
    plan = plan_of({"a": [], "b": [], "c": ["a"]}, config=PATIENT)
    runner = ScriptedRunner({"a": sleeps(0, "x" * 100), "b": sleeps(0, float("nan"))})
    result = run(run_of(plan, runner, limits=MissionLimits(output_bytes_max=50)).execute())
    assert codes(result) == {
        "a": "context.output_too_large",
        "b": "context.output_invalid",
        "c": "step.dependency_failed",
    }


def test_a_run_executes_once() -> None:
    """The second `execute` is refused, and does not disturb the first."""

    async def main() -> None:
        mission = run_of(plan_of(DIAMOND))
        first = asyncio.create_task(mission.execute())
        await asyncio.sleep(0)
        with pytest.raises(FaultError) as refused:
            await mission.execute()
        assert refused.value.code == "mission.state"
        assert (await first).steps_completed == 4

    run(main())


# --- error modes ---


def test_fail_fast_cancels_what_runs_and_skips_the_rest() -> None:
    """Running steps are cancelled; dependents of the failed one and all others are Skipped, each with its reason."""
    plan = plan_of({"a": [], "b": [], "c": ["a"], "d": ["b"], "e": []}, config=MissionConfig(parallel_limit=2))
    observer = RecordingObserver()
    runner = ScriptedRunner({"a": raises(StepError("no", code="x.broken"), after=1), "b": forever})
    result = run(run_of(plan, runner, observer).execute())
    assert codes(result) == {
        "a": "x.broken",
        "b": "mission.fail_fast",
        "c": "step.dependency_failed",
        "d": "mission.fail_fast",
        "e": "mission.fail_fast",
    }
    assert statuses(result) == {"a": "Failed", "b": "Skipped", "c": "Skipped", "d": "Skipped", "e": "Skipped"}
    assert (result.state, result.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)
    assert result.error is None, "a step is to blame"
    assert runner.called == ["a", "b"]
    assert result.total_duration_ms == 1_000
    check_consistent(plan, result, observer)


def test_without_fail_fast_the_others_go_on() -> None:
    """Only what comes after the failed step is Skipped, however far behind; the mission is Partial."""
    plan = plan_of({"a": [], "b": ["a"], "c": ["b", "x"], "x": [], "y": ["x"]}, config=PATIENT)
    result = run(run_of(plan, ScriptedRunner({"a": raises(StepError("no"))})).execute())
    assert statuses(result) == {"a": "Failed", "b": "Skipped", "c": "Skipped", "x": "Completed", "y": "Completed"}
    assert codes(result) == {"a": "step.failed", "b": "step.dependency_failed", "c": "step.dependency_failed"}
    assert (result.state, result.overall_status) == (MissionState.COMPLETED, OverallStatus.PARTIAL)


def test_a_mission_in_which_nothing_completed_is_failed() -> None:
    """Partial needs something that Completed."""
    result = run(run_of(plan_of({"a": []}, config=PATIENT), ScriptedRunner({"a": raises(StepError("no"))})).execute())
    assert (result.state, result.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)


@pytest.mark.parametrize("fail_fast", [True, False])
def test_continue_on_error_lets_dependents_run(fail_fast: bool) -> None:
    """They find null as the output, and the failure stops nothing, in either mode."""
    plan = plan_of({"a": [], "b": ["a"]}, config=MissionConfig(fail_fast=fail_fast), tolerant=["a"])
    seen: list[object] = []

    class Reader(ScriptedRunner):
        async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
            if step.id == "a":
                raise StepError("no")
            seen.append(attempt.context.step_outputs["a"])
            return 1

    result = run(run_of(plan, Reader()).execute())
    assert statuses(result) == {"a": "Failed", "b": "Completed"}
    assert seen == [None]
    assert (result.state, result.overall_status) == (MissionState.COMPLETED, OverallStatus.PARTIAL)


def test_a_skipped_step_does_not_continue_on_error() -> None:
    """continue_on_error is about a step's own failure: what is Skipped did not run, so nothing after it runs."""
    plan = plan_of({"a": [], "b": ["a"], "c": ["b"]}, config=PATIENT, tolerant=["b"])
    result = run(run_of(plan, ScriptedRunner({"a": raises(StepError("no"))})).execute())
    assert statuses(result) == {"a": "Failed", "b": "Skipped", "c": "Skipped"}


@pytest.mark.parametrize("fail_fast", [True, False])
@pytest.mark.parametrize("tolerant", [[], ["a"]])
def test_a_security_violation_halts_in_every_mode(fail_fast: bool, tolerant: list[str]) -> None:
    """Nothing of the mission starts after it, whatever its error mode."""
    plan = plan_of(
        {"a": [], "b": [], "c": ["a"], "d": ["b"]}, config=MissionConfig(fail_fast=fail_fast), tolerant=tolerant
    )
    observer = RecordingObserver()
    violation = StepError("no", code="policy.denied", halts_mission=True)
    runner = ScriptedRunner({"a": raises(violation, after=1), "b": sleeps(2)})
    result = run(run_of(plan, runner, observer).execute())
    assert codes(result) == {"a": "policy.denied", "b": "mission.halted", "c": "mission.halted", "d": "mission.halted"}
    assert (result.state, result.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)
    assert result.total_duration_ms == 1_000
    check_consistent(plan, result, observer)


def test_a_refusal_keeps_its_code_and_an_unknown_exception_its_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Errors of the tree speak for themselves; the text of anything else goes to the log only."""
    plan = plan_of({"a": [], "b": []}, config=PATIENT)
    runner = ScriptedRunner({"a": raises(RefusalError("not allowed", code="x.no")), "b": raises(ValueError("hunter2"))})
    with caplog.at_level(logging.ERROR):
        result = run(run_of(plan, runner).execute())
    assert result.step_results["a"].error == StepFailure(code="x.no", message="not allowed")
    assert codes(result)["b"] == "internal"
    assert "hunter2" not in repr(result)
    assert "hunter2" in caplog.text


def test_messages_are_bounded() -> None:
    """A runner cannot fill results with text."""
    result = run(run_of(plan_of({"a": []}), ScriptedRunner({"a": raises(StepError("x" * 100_000))})).execute())
    error = result.step_results["a"].error
    assert error is not None
    assert len(error.message) == 4_096


# --- timeouts ---


def test_a_step_ends_at_its_deadline_exactly() -> None:
    """Not before, and not with the next one: each step has its own time from its own start."""
    plan = plan_of(
        {"a": [], "b": ["x"], "x": [], "c": []},
        config=PATIENT,
        timeouts={"a": 0.75, "b": 0.5, "c": 2.0},
    )
    runner = ScriptedRunner({"a": forever, "x": sleeps(1), "b": forever, "c": sleeps(1.999, "in time")})
    result = run(run_of(plan, runner).execute())
    assert codes(result) == {"a": "step.timeout", "b": "step.timeout"}
    assert [result.step_results[s].duration_ms for s in "abc"] == pytest.approx([750, 500, 1_999])
    assert result.step_results["c"].output == "in time"


def test_waiting_for_a_slot_does_not_count_against_a_deadline() -> None:
    """A step's time begins when its runner is called."""
    plan = plan_of({"a": [], "b": []}, config=MissionConfig(parallel_limit=1), timeouts={"b": 1.0})
    result = run(run_of(plan, ScriptedRunner({"a": sleeps(10), "b": sleeps(0.9)})).execute())
    assert result.overall_status is OverallStatus.SUCCESS


def test_an_answer_after_the_deadline_does_not_count() -> None:
    """Neither when cancellation was swallowed, nor when a busy loop kept the timer from firing."""

    async def busy(_step: MissionStep) -> JsonValue:
        asyncio.get_running_loop().now += 2.0
        return "too late"

    plan = plan_of({"a": [], "b": [], "c": ["a"]}, config=PATIENT, timeouts={"a": 1.0, "b": 1.0})
    result = run(run_of(plan, ScriptedRunner({"a": ignores_cancellation(3), "b": busy})).execute())
    assert codes(result) == {"a": "step.timeout", "b": "step.timeout", "c": "step.dependency_failed"}
    assert result.step_results["a"].duration_ms == 3_000


def test_a_security_violation_after_the_deadline_still_halts() -> None:
    """A late violation is not hidden behind the timeout."""
    plan = plan_of({"a": [], "b": []}, config=PATIENT, timeouts={"a": 1.0})
    violation = StepError("no", code="policy.denied", halts_mission=True)
    runner = ScriptedRunner({"a": ignores_cancellation(2, then=violation), "b": forever})
    result = run(run_of(plan, runner).execute())
    assert codes(result) == {"a": "policy.denied", "b": "mission.halted"}


def test_the_mission_has_a_deadline_too() -> None:
    """What runs is cancelled, the rest never starts, and the mission is Failed with `mission.timeout`."""
    plan = plan_of({"a": [], "b": ["a"], "c": ["b"]}, config=MissionConfig(timeout_seconds=1.5))
    result = run(run_of(plan, ScriptedRunner({"a": sleeps(1), "b": sleeps(1)})).execute())
    assert statuses(result) == {"a": "Completed", "b": "Skipped", "c": "Skipped"}
    assert codes(result) == {"b": "mission.timeout", "c": "mission.timeout"}
    assert result.error is not None
    assert result.error.code == "mission.timeout"
    assert (result.state, result.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)
    assert result.total_duration_ms == 1_500


# --- cancellation ---


def test_cancel_skips_and_says_why() -> None:
    """What runs is cancelled, the rest never starts, all with the reason that was given; the first reason counts."""

    async def main() -> None:
        plan = plan_of({"a": [], "b": [], "c": ["b"]})
        observer = RecordingObserver()
        mission = run_of(plan, ScriptedRunner({"b": forever}), observer)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1)
        assert mission.cancel(ASKED) is True
        assert mission.cancel(StepFailure(code="other", message="")) is False
        result = await task
        assert statuses(result) == {"a": "Completed", "b": "Skipped", "c": "Skipped"}
        assert result.step_results["b"].error == result.step_results["c"].error == result.error == ASKED
        assert (result.state, result.overall_status) == (MissionState.CANCELLED, OverallStatus.FAILED)
        assert mission.cancel(ASKED) is False, "it is over"
        check_consistent(plan, result, observer)

    run(main())


def test_cancel_before_the_start_lets_nothing_start() -> None:
    """A run that was cancelled first has a result all the same."""
    runner = ScriptedRunner()
    mission = run_of(plan_of(DIAMOND), runner)
    assert mission.cancel(ASKED) is True
    assert mission.cancel(ASKED) is False
    result = run(mission.execute())
    assert result.state is MissionState.CANCELLED
    assert result.steps_skipped == 4
    assert runner.called == []


def test_cancel_after_the_last_step_changes_nothing() -> None:
    """A mission whose every step has its outcome is over, even where `execute` has not yet returned."""
    answers: list[bool] = []

    class Canceller(RecordingObserver):
        def step_finished(self, step: MissionStep, result: StepResult) -> None:
            super().step_finished(step, result)
            answers.append(mission.cancel(ASKED))

    mission = run_of(plan_of({"a": []}), None, Canceller())
    assert run(mission.execute()).state is MissionState.COMPLETED
    assert answers == [False]


def test_a_cancelled_step_may_finish_what_it_does() -> None:
    """Its outcome is what its runner did: returned is Completed, raised is Failed, let through is Skipped."""

    async def main() -> None:
        edges = {"returns": [], "raises": [], "lets": [], "after": ["returns"]}
        script = {
            "returns": ignores_cancellation(2),
            "raises": ignores_cancellation(2, then=StepError("half done", code="x.half")),
            "lets": forever,
        }
        mission = run_of(plan_of(edges), ScriptedRunner(script))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1)
        mission.cancel(ASKED)
        result = await task
        assert statuses(result) == {"returns": "Completed", "raises": "Failed", "lets": "Skipped", "after": "Skipped"}
        assert codes(result)["raises"] == "x.half"
        assert result.state is MissionState.CANCELLED

    run(main())


def test_cancelling_the_caller_cancels_the_mission_first() -> None:
    """The cancellation goes on when every step has its outcome; the result is there for who asks."""

    async def main() -> None:
        plan = plan_of({"a": [], "b": ["a"]})
        observer = RecordingObserver()
        mission = run_of(plan, ScriptedRunner({"a": ignores_cancellation(2)}), observer)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(0.1)
        task.cancel()  # impatience changes nothing
        with pytest.raises(asyncio.CancelledError):
            await task
        assert mission.result is not None
        assert mission.result.state is MissionState.CANCELLED
        assert statuses(mission.result) == {"a": "Completed", "b": "Skipped"}
        check_consistent(plan, mission.result, observer)

    run(main())


def test_a_timeout_around_execute_is_a_timeout() -> None:
    """`asyncio.timeout` sees its own cancellation come back, as the rules of asyncio want."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await run_of(plan_of({"a": []}), ScriptedRunner({"a": forever})).execute()

    run(main())


# --- steps that ignore their cancellation ---


def test_a_step_that_ignores_its_deadline_is_given_up_after_the_grace() -> None:
    """It is Failed, the mission goes on, and what it returns at last counts for nothing."""
    plan = plan_of({"a": [], "b": ["a"]}, config=PATIENT, timeouts={"a": 1.0}, tolerant=["a"])
    observer = RecordingObserver()

    async def main() -> None:
        mission = run_of(plan, ScriptedRunner({"a": ignores_cancellation(20), "b": sleeps(30)}), observer)
        result = await mission.execute()
        assert statuses(result) == {"a": "Failed", "b": "Completed"}
        assert codes(result) == {"a": "step.timeout"}
        assert result.step_results["a"].duration_ms == 6_000
        assert result.total_duration_ms == 36_000, "b started when a was given up"
        check_consistent(plan, result, observer)

    run(main())


def test_a_step_that_was_given_up_releases_its_dependents_once() -> None:
    """When it ends at last, nothing is counted down a second time."""
    plan = plan_of({"a": [], "b": [], "c": ["a", "b"]}, config=PATIENT, timeouts={"a": 1.0}, tolerant=["a"])
    runner = ScriptedRunner({"a": ignores_cancellation(10), "b": sleeps(20)})
    observer = RecordingObserver()
    result = run(run_of(plan, runner, observer).execute())
    assert observer.events[-3:] == [("b", "Completed"), ("c", "Executing"), ("c", "Completed")]
    check_consistent(plan, result, observer)


@pytest.mark.parametrize("then", [None, StepError("late"), ValueError("late")])
def test_a_step_that_was_given_up_may_outlive_its_mission(then: Exception | None) -> None:
    """What it does after the end of its mission changes neither the result nor the context."""

    async def main() -> None:
        plan = plan_of({"a": []}, timeouts={"a": 1.0})
        mission = run_of(plan, ScriptedRunner({"a": ignores_cancellation(60, then=then)}))
        result = await mission.execute()
        await asyncio.sleep(100)
        assert mission.result == result
        assert codes(result) == {"a": "step.timeout"}
        assert dict(mission._context.step_outputs) == {}

    run(main())


def test_a_deadline_that_passed_before_the_stop_still_counts() -> None:
    """A step that was cleaning up after its deadline when the mission was cancelled has Failed, not been Skipped."""

    async def cleans_up(_step: MissionStep) -> JsonValue:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2)

    async def main() -> None:
        mission = run_of(plan_of({"a": []}, timeouts={"a": 1.0}), ScriptedRunner({"a": cleans_up}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(2)
        mission.cancel(ASKED)
        result = await task
        assert codes(result) == {"a": "step.timeout"}
        assert result.state is MissionState.CANCELLED
        assert result.total_duration_ms == 3_000

    run(main())


def test_a_step_that_was_given_up_keeps_its_slot() -> None:
    """parallel_limit bounds what really runs: nothing else starts in the place of a step that does not end."""
    plan = plan_of({"a": [], "b": []}, config=MissionConfig(parallel_limit=1, fail_fast=False), timeouts={"a": 1.0})
    runner = ScriptedRunner({"a": ignores_cancellation(20)})
    result = run(run_of(plan, runner).execute())
    assert statuses(result) == {"a": "Failed", "b": "Completed"}
    assert runner.active_max == 1
    assert result.total_duration_ms == 20_000


def test_a_stopped_mission_waits_no_longer_than_the_grace() -> None:
    """A step that goes on after its mission was cancelled is Failed with a code of its own."""

    async def main() -> None:
        plan = plan_of({"a": [], "b": ["a"]})
        observer = RecordingObserver()
        mission = run_of(plan, ScriptedRunner({"a": ignores_cancellation(60)}), observer, grace_seconds=3)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1)
        mission.cancel(ASKED)
        result = await task
        assert codes(result) == {"a": "step.unresponsive", "b": "mission.cancelled"}
        assert result.state is MissionState.CANCELLED
        assert result.total_duration_ms == 4_000
        await asyncio.sleep(100)
        check_consistent(plan, result, observer)

    run(main())


def test_deadline_grace_and_stop_do_not_add_up() -> None:
    """A step past its deadline when the mission is stopped is cancelled once, and Failed with `step.timeout`."""

    async def main() -> None:
        cancellations: list[float] = []
        loop = asyncio.get_running_loop()

        async def counts(_step: MissionStep) -> JsonValue:
            while loop.time() < 50:
                try:
                    await asyncio.sleep(50)
                except asyncio.CancelledError:
                    cancellations.append(loop.time())
            return None

        plan = plan_of({"a": []}, timeouts={"a": 1.0})
        mission = run_of(plan, ScriptedRunner({"a": counts}), grace_seconds=3)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(2)
        mission.cancel(ASKED)
        result = await task
        assert codes(result) == {"a": "step.timeout"}
        assert result.total_duration_ms == 5_000
        await asyncio.sleep(100)
        assert cancellations == [1.0]

    run(main())
