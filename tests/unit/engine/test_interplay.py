"""Where two features meet: each of these has been wrong once, or would be the next to go wrong."""

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from engine.attempt import StepAttempt
from engine.context import ExecutionContext
from engine.errors import FaultError, StepError, SuspendedError
from engine.mission import MissionConfig, MissionLimits, MissionStep, RestartScope, Strategy, Supervision
from engine.reference import Scope
from engine.result import MissionResult, MissionState, StepFailure, StepResult, StepState
from engine.retry import RetryPolicy
from engine.scheduler import MissionRun
from engine.values import JsonValue
from tests.schedules import (
    ASKED,
    AttemptAct,
    RecordingObserver,
    ScriptedRunner,
    check_consistent,
    codes,
    ignores_cancellation,
    items,
    plan_of,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import EPOCH, run


def one_for_all(max_restarts: int = 3) -> MissionConfig:
    supervision = Supervision(strategy=RestartScope.ONE_FOR_ALL, max_restarts=max_restarts, within_seconds=60.0)
    return MissionConfig(strategy=Strategy.LEVELS, supervision=supervision, fail_fast=False)


# --- suspend ---


def after_suspension(runner: ScriptedRunner, plan_edges: dict[str, list[str]]) -> float:
    """Suspend after a second; return the time at which the execution ended."""

    async def main() -> float:
        mission = run_of(plan_of(plan_edges), runner, grace_seconds=100.0)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        assert mission.suspend()
        with pytest.raises(SuspendedError):
            await task
        return asyncio.get_running_loop().time()

    return run(main())


def test_a_suspended_execution_ends_when_the_last_of_its_steps_has_completed() -> None:
    """Not when the grace is over: nobody is waited for any more."""
    runner = ScriptedRunner({"a": ignores_cancellation(3.0)})
    assert after_suspension(runner, {"a": [], "b": ["a"]}) == 3.0


def test_a_suspended_execution_ends_when_the_last_of_its_items_has_completed() -> None:
    """One that had not begun is left to the later execution."""

    async def slow(attempt: StepAttempt) -> JsonValue:
        step = MissionStep(id="each", name="each", step_type="x")
        return await ignores_cancellation(3.0 + (attempt.item or 0))(step)

    async def main() -> float:
        plan = plan_of({"each": []}, items={"each": items(1, 2, 3, limit=2)})
        mission = run_of(plan, ScriptedRunner(attempts={"each": slow}), grace_seconds=100.0)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        assert mission.suspend()
        with pytest.raises(SuspendedError):
            await task
        return asyncio.get_running_loop().time()

    assert run(main()) == 4.0


# --- fan-outs ---


@pytest.mark.parametrize("limits", [{"output_bytes_max": 10}, {"context_bytes_max": 10}])
def test_what_is_left_of_a_fan_out_may_be_too_much_to_keep(limits: dict[str, int]) -> None:
    """The step has Failed either way; its dependents run, and see null."""
    seen: list[JsonValue] = []

    async def each(attempt: StepAttempt) -> JsonValue:
        if attempt.value == "bad":
            raise StepError("no", code="x.bad", retryable=False)
        return attempt.value

    async def after(attempt: StepAttempt) -> JsonValue:
        seen.append(attempt.context.step_outputs["each"])
        return None

    plan = plan_of(
        {"each": [], "after": ["each"]},
        items={"each": items("abcd", "bad", "bad", *(["x"] if "context_bytes_max" in limits else []))},
        tolerant=["each"],
        config=MissionConfig(fail_fast=False),
    )
    observer = RecordingObserver()
    runner = ScriptedRunner(attempts={"each": each, "after": after})
    result = run(run_of(plan, runner, observer, limits=MissionLimits(**limits)).execute())
    check_consistent(plan, result, observer)
    assert statuses(result) == {"each": "Failed", "after": "Completed"}
    assert codes(result) == {"each": "foreach.item_failed"}
    assert result.step_results["each"].output is None
    assert seen == [None]


def test_items_that_end_with_their_mission_are_not_cancelled_twice() -> None:
    """One fails at its cancellation; the other may still finish what it must not leave half done."""

    async def act(attempt: StepAttempt) -> JsonValue:
        try:
            await asyncio.Event().wait()
        finally:
            if attempt.item == 0:
                await asyncio.sleep(0.5)
                raise StepError("could not undo", code="x.undo")
            await asyncio.sleep(1.0)  # a second cancellation would end it here
            finished.append(asyncio.get_running_loop().time())

    finished: list[float] = []

    async def main() -> MissionResult:
        mission = run_of(plan_of({"each": []}, items={"each": items(1, 2)}), ScriptedRunner(attempts={"each": act}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        mission.cancel(ASKED)
        return await task

    result = run(main())
    assert finished == [2.0]
    assert codes(result) == {"each": "foreach.item_failed"}


def test_an_item_past_its_deadline_is_not_cancelled_again_when_another_fails() -> None:
    """Its grace goes on as it was."""
    finished: list[float] = []

    async def act(attempt: StepAttempt) -> JsonValue:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.5 + (attempt.item or 0))
            finished.append(asyncio.get_running_loop().time())
            raise

    plan = plan_of({"each": []}, items={"each": items(1, 2)}, timeouts={"each": 1.0})
    result = run(run_of(plan, ScriptedRunner(attempts={"each": act})).execute())
    assert finished == [1.5, 2.5]
    assert statuses(result) == {"each": "Failed"}


# --- levels that begin anew ---


@dataclass
class Instances:
    """Counts how many instances of one item run at once."""

    acts: dict[int, AttemptAct]
    running: dict[tuple[str, int | None], int] = field(default_factory=dict)
    twice: list[tuple[str, int | None]] = field(default_factory=list)

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        key = (step.id, attempt.item)
        self.running[key] = self.running.get(key, 0) + 1
        if self.running[key] > 1:
            self.twice.append(key)
        try:
            return await self.acts[attempt.item or 0](attempt)
        finally:
            self.running[key] -= 1


def crashes_after(seconds: float) -> AttemptAct:
    async def act(_attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(seconds)
        raise ValueError("crash")

    return act


def deaf_for(seconds: float) -> AttemptAct:
    async def act(_attempt: StepAttempt) -> JsonValue:
        return await ignores_cancellation(seconds)(MissionStep(id="x", name="x", step_type="x"))

    return act


@pytest.mark.parametrize("tolerant", [True, False])
def test_a_level_with_an_item_that_cannot_be_ended_does_not_begin_anew(*, tolerant: bool) -> None:
    """Two instances of one item must never run at once, however the deaf one was given up."""
    plan = plan_of(
        {"each": []},
        items={"each": items(1, 2)},
        timeouts={"each": 2.0},
        tolerant=["each"] if tolerant else [],
        config=one_for_all(),
    )
    runner = Instances({0: crashes_after(1.0), 1: deaf_for(50.0)})
    result = run(run_of(plan, runner, grace_seconds=1.0).execute())
    assert runner.twice == []
    assert statuses(result) == {"each": "Failed"}


def test_whether_a_level_begins_anew_does_not_depend_on_which_item_failed_first() -> None:
    """A refusal stands, so the step has failed whatever else would be mended."""
    found = []
    for first, second in ((1.0, 2.0), (2.0, 1.0)):

        async def refuses(_attempt: StepAttempt, seconds: float = second) -> JsonValue:
            await asyncio.sleep(seconds)
            raise StepError("no", code="x.no", retryable=False)

        plan = plan_of({"each": []}, items={"each": items(1, 2)}, tolerant=["each"], config=one_for_all())
        observer = RecordingObserver()
        result = run(run_of(plan, Instances({0: crashes_after(first), 1: refuses}), observer).execute())
        found.append((result.overall_status, observer.restarts, result.step_results["each"].attempts))
    assert found[0] == found[1]


def test_too_many_restarts_stop_the_mission_whatever_else_failed_before() -> None:
    """Intensity counts, also where another item of the fan-out had been refused."""

    async def refuses(_attempt: StepAttempt) -> JsonValue:
        raise StepError("no", code="x.no", retryable=False)

    config = MissionConfig(fail_fast=False, supervision=Supervision(max_restarts=2, within_seconds=60.0))
    plan = plan_of({"each": []}, items={"each": items(1, 2)}, tolerant=["each"], config=config)
    result = run(run_of(plan, Instances({0: refuses, 1: crashes_after(1.0)})).execute())
    assert result.error is not None
    assert result.error.code == "mission.restart_intensity"


def test_the_attempts_of_a_step_that_is_begun_anew_with_its_level_are_counted_together() -> None:
    """Two attempts before the restart and two after it are four."""
    calls = 0

    async def act(_attempt: StepAttempt) -> JsonValue:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise ValueError("crash")
        return calls

    plan = plan_of({"a": []}, retries={"a": RetryPolicy(max_attempts=2, base_ms=0)}, config=one_for_all())
    result = run(run_of(plan, ScriptedRunner(attempts={"a": act})).execute())
    assert calls == 4
    assert result.step_results["a"].attempts == 4


def test_a_sibling_that_is_begun_anew_with_its_level_counts_it() -> None:
    """`attempts` is how often a step was begun, restarts included."""
    crashed = []

    async def once(_attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(1.0)
        if not crashed:
            crashed.append(True)
            raise ValueError("crash")
        return None

    plan = plan_of({"a": [], "b": []}, config=one_for_all())
    runner = ScriptedRunner({"b": sleeps(0.5)}, {"a": once})
    result = run(run_of(plan, runner).execute())
    assert runner.called.count("b") == 2
    assert {name: step.attempts for name, step in result.step_results.items()} == {"a": 2, "b": 2}


def test_items_of_a_level_that_begins_anew_are_counted_once() -> None:
    """As many restarts as there may be do not use up the steps that the mission may have."""
    crashes = 3

    async def act(attempt: StepAttempt) -> JsonValue:
        nonlocal crashes
        if attempt.item == 1 and crashes:
            crashes -= 1
            raise ValueError("crash")
        return attempt.value

    plan = plan_of({"each": []}, items={"each": items(1, 2, 3)}, config=one_for_all())
    result = run(run_of(plan, ScriptedRunner(attempts={"each": act}), limits=MissionLimits(steps_max=3)).execute())
    assert statuses(result) == {"each": "Completed"}
    assert result.step_results["each"].attempts == 4


# --- those who listen may act ---


class Resuming(RecordingObserver):
    """Pauses when a step starts, and resumes as soon as one has an outcome."""

    mission: MissionRun | None = None

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        super().step_finished(step, result)
        assert self.mission is not None
        self.mission.resume()


def test_an_observer_that_resumes_the_mission_between_two_levels_skips_none() -> None:
    """Every level is opened once, whoever asks for the next step in the middle of it."""
    plan = plan_of({"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}, config=one_for_all())
    observer = Resuming()

    async def main() -> MissionResult:
        observer.mission = mission = run_of(plan, ScriptedRunner({"a": sleeps(1.0)}), observer)
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(0.5)
        mission.pause()
        return await task

    result = run(main())
    assert set(statuses(result).values()) == {"Completed"}
    check_consistent(plan, result, observer)


@pytest.mark.parametrize("how", ["cancels", "suspends", "raises"])
def test_an_observer_that_stops_the_mission_when_a_level_is_to_begin_anew(how: str) -> None:
    """It does not begin; the step that crashed is Skipped with the others, or left to a later execution."""

    class Stopping(RecordingObserver):
        mission: MissionRun | None = None

        def level_restarting(self, level: int, failure: StepFailure) -> None:
            super().level_restarting(level, failure)
            assert self.mission is not None
            match how:
                case "cancels":
                    self.mission.cancel(ASKED)
                case "suspends":
                    self.mission.suspend()
                case _:
                    raise OSError("no space left")

    plan = plan_of({"a": [], "b": [], "c": ["a"]}, config=one_for_all())
    observer = Stopping()
    runner = ScriptedRunner({"b": sleeps(5.0)}, {"a": crashes_after(1.0)})

    async def main() -> MissionResult | None:
        observer.mission = mission = run_of(plan, runner, observer)
        try:
            return await mission.execute()
        except SuspendedError:
            return None

    result = run(main())
    assert runner.called == ["a", "b"]
    assert observer.restarts == [(0, "internal")]
    if result is None:
        assert observer.results == []
    else:
        check_consistent(plan, result, observer)
        assert set(statuses(result).values()) == {"Skipped"}


def test_what_had_not_begun_when_its_level_begins_anew_is_begun_once() -> None:
    """A task that has not had its first turn is taken back as if it had never been made."""

    async def crashes_once(_attempt: StepAttempt) -> JsonValue:
        if runner.called.count("a") == 1:
            raise ValueError("crash")
        return None

    plan = plan_of({"a": [], "each": []}, items={"each": items(1, 2)}, config=one_for_all())
    observer, runner = RecordingObserver(), ScriptedRunner(attempts={"a": crashes_once})
    result = run(run_of(plan, runner, observer).execute())
    check_consistent(plan, result, observer)
    assert runner.called == ["a", "a", "each", "each"]
    assert {name: step.attempts for name, step in result.step_results.items()} == {"a": 2, "each": 1}


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_condition_that_cancels_the_mission_starts_nothing(strategy: Strategy, *, holds: bool) -> None:
    """Every step has its outcome, that of the cancellation."""
    missions: list[MissionRun] = []

    def ask(_scope: Scope) -> bool:
        missions[0].cancel(ASKED)
        return holds

    plan = plan_of(
        {"a": [], "b": [], "c": ["a"]},
        conditions={"a": ask},
        items={"a": items()},
        config=MissionConfig(strategy=strategy),
    )
    observer, runner = RecordingObserver(), ScriptedRunner()

    async def main() -> MissionResult:
        missions.append(run_of(plan, runner, observer))
        return await missions[0].execute()

    result = run(main())
    check_consistent(plan, result, observer)
    assert result.state is MissionState.CANCELLED
    assert set(statuses(result).values()) == {"Skipped"}
    assert runner.called == []


# --- what an earlier execution has done ---


def done(step_id: str, output: JsonValue) -> StepResult:
    return StepResult(step_id=step_id, status=StepState.COMPLETED, output=output, duration_ms=1.0, timestamp=EPOCH)


def test_results_of_another_mission_are_refused_before_anything_runs() -> None:
    """The run could be executed with others."""
    runner = ScriptedRunner()
    mission = run_of(plan_of({"a": []}), runner, prior={"other": done("other", 1)})
    with pytest.raises(FaultError) as raised:
        run(mission.execute())
    assert raised.value.code == "mission.prior"
    assert mission.state is MissionState.VALIDATED
    assert runner.called == []


def test_a_kept_output_that_is_too_much_now_fails_the_mission() -> None:
    """Nothing runs that would see something else than it did before."""
    runner = ScriptedRunner()
    plan = plan_of({"a": [], "b": ["a"], "c": []})
    limits = MissionLimits(output_bytes_max=10)
    result = run(run_of(plan, runner, limits=limits, prior={"a": done("a", "x" * 20)}).execute())
    assert result.error is not None
    assert result.error.code == "context.output_too_large"
    assert statuses(result) == {"a": "Completed", "b": "Skipped", "c": "Skipped"}
    assert runner.called == []


# --- before it is executed ---


def test_what_is_asked_before_the_execution_holds_in_it() -> None:
    """A pause can be ended before, the first stop counts, and nothing starts after it."""

    async def main() -> tuple[MissionResult, ScriptedRunner]:
        runner = ScriptedRunner()
        mission = run_of(plan_of({"a": [], "b": ["a"]}), runner)
        assert (mission.pause(), mission.pause(), mission.paused) == (True, False, True)
        assert (mission.resume(), mission.resume(), mission.paused) == (True, False, False)
        mission.wake()  # a shared place is there, and nobody wants it yet
        assert mission.cancel(ASKED)
        assert not mission.suspend()
        return await mission.execute(), runner

    result, runner = run(main())
    assert result.state is MissionState.CANCELLED
    assert codes(result) == dict.fromkeys("ab", ASKED.code)
    assert runner.called == []


# --- places ---


def test_a_step_that_waits_for_two_things_at_once_has_one_place() -> None:
    """Both waits end together, the place is had once, and given back once."""

    async def twice(attempt: StepAttempt) -> JsonValue:
        async def one() -> None:
            async with attempt.waiting():
                await asyncio.sleep(1.0)

        await asyncio.gather(one(), one())
        await asyncio.sleep(1.0)
        return None

    plan = plan_of({"a": [], "b": [], "c": ["a", "b"]}, config=MissionConfig(parallel_limit=1, timeout_seconds=100.0))
    runner = ScriptedRunner({"b": sleeps(1.5)}, {"a": twice})
    result = run(run_of(plan, runner).execute())
    assert set(statuses(result).values()) == {"Completed"}
    assert result.total_duration_ms == 2_500.0


def test_what_was_given_up_ends_after_its_mission_though_that_was_paused() -> None:
    """Its task waits for a place; a mission that is over holds nobody back."""

    async def deaf(attempt: StepAttempt) -> JsonValue:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(6.0)  # beyond its grace
        async with attempt.waiting():
            await asyncio.sleep(1.0)
        return "unheard"

    async def main() -> MissionResult:
        plan = plan_of(
            {"a": [], "b": ["a"]},
            timeouts={"a": 1.0},
            tolerant=["a"],
            items={"b": items()},
            config=MissionConfig(parallel_limit=1),
        )
        mission = run_of(plan, ScriptedRunner(attempts={"a": deaf}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(0.5)
        mission.pause()
        result = await task  # a step without items has nothing to start
        await asyncio.sleep(10.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    assert statuses(run(main())) == {"a": "Failed", "b": "Completed"}


def test_waits_within_a_wait_cost_nothing() -> None:
    """The place is given back once, and had again when the first of them is over."""

    async def nested(attempt: StepAttempt) -> JsonValue:
        async with attempt.waiting():
            async with attempt.waiting():
                await asyncio.sleep(1.0)
            await asyncio.sleep(1.0)
        return None

    plan = plan_of({"a": [], "b": []}, config=MissionConfig(parallel_limit=1))
    runner = ScriptedRunner({"b": sleeps(0.5)}, {"a": nested})
    result = run(run_of(plan, runner).execute())
    assert set(statuses(result).values()) == {"Completed"}
    assert runner.ended == ["b", "a"]


def test_an_attempt_without_a_scheduler_waits_as_well() -> None:
    """A runner can be tried out by itself."""

    async def main() -> float:
        attempt = StepAttempt(ExecutionContext())
        async with attempt.waiting():
            await asyncio.sleep(1.0)
        return asyncio.get_running_loop().time()

    assert run(main()) == 1.0


def test_a_step_that_was_waiting_when_its_paused_mission_was_cancelled_can_finish() -> None:
    """Nothing is paused any more: what cleans up after its wait has a place for it."""

    async def approves(attempt: StepAttempt) -> JsonValue:
        async with attempt.waiting():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.25)
        return "undone"

    async def main() -> MissionResult:
        mission = run_of(plan_of({"a": []}), ScriptedRunner(attempts={"a": approves}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.0)
        mission.pause()
        mission.cancel(ASKED)
        return await task

    result = run(main())
    assert statuses(result) == {"a": "Completed"}
    assert result.total_duration_ms == 1_250.0
