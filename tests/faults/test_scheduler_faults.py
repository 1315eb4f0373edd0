"""Faults of the scheduler's neighbours, at every moment: each run still has one consistent result."""

import asyncio
import gc
import logging
from collections.abc import Callable

import pytest

from engine.errors import StepError
from engine.mission import MissionConfig, MissionStep
from engine.result import MissionResult, MissionState, OverallStatus, StepResult
from engine.scheduler import MissionRun
from engine.values import JsonValue
from tests.schedules import (
    ASKED,
    RecordingObserver,
    ScriptedRunner,
    check_consistent,
    codes,
    forever,
    plan_of,
    raises,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import VirtualTimeLoop, run

# Every way a step can go, with two slots: ends at once, later, fails and is tolerated, times out, waits, depends.
EDGES = {"a": [], "b": [], "c": ["a"], "d": ["a", "b"], "e": ["c"], "f": ["d", "e"], "g": [], "h": ["g"]}
PLAN = plan_of(EDGES, config=MissionConfig(parallel_limit=2, fail_fast=False), timeouts={"e": 1.0}, tolerant=["c", "e"])
SCRIPT = {"b": sleeps(1), "c": raises(StepError("no"), after=0.5), "e": forever, "g": raises(StepError("no"))}
UNDISTURBED = {"a": "Completed", "b": "Completed", "c": "Failed", "d": "Completed"} | {
    "e": "Failed",
    "f": "Completed",
    "g": "Failed",
    "h": "Skipped",
}


def disturbed(iteration: int, act: Callable[[MissionRun, "asyncio.Task[MissionResult]"], object]) -> MissionRun | None:
    """Run the mission, and `act` before that iteration of the loop; check it; return None if it had ended by then."""
    observer, runner = RecordingObserver(), ScriptedRunner(SCRIPT)

    async def main() -> MissionRun | None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        mission = run_of(PLAN, runner, observer, grace_seconds=2)
        caller = asyncio.create_task(mission.execute())
        loop.acts[loop.iterations + 2 + iteration] = lambda: act(mission, caller)  # the next one begins the caller
        await asyncio.wait([caller])
        assert mission.result is not None
        check_consistent(PLAN, mission.result, observer)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "no task is left"
        return None if loop.acts else mission

    mission = run(main())
    assert runner.active == 0
    assert runner.active_max <= 2
    return mission


def at_every_moment(act: Callable[[MissionRun, "asyncio.Task[MissionResult]"], object]) -> list[MissionRun]:
    """Disturb a run in its first iteration, another in its second, and so on to the end."""
    missions = []
    while (mission := disturbed(len(missions), act)) is not None:
        missions.append(mission)
    assert len(missions) > 12, "the mission is long enough to be worth it"
    return missions


def test_undisturbed_it_ends_as_designed() -> None:
    """The mission that these tests disturb reaches every kind of outcome."""
    result = run(run_of(PLAN, ScriptedRunner(SCRIPT)).execute())
    assert statuses(result) == UNDISTURBED
    assert result.overall_status is OverallStatus.PARTIAL


def test_cancel_at_every_moment() -> None:
    """Whenever the run is cancelled, it ends as Cancelled, at once, with one outcome a step."""
    for mission in at_every_moment(lambda mission, _caller: mission.cancel(ASKED)):
        assert mission.result is not None
        over = statuses(mission.result) == UNDISTURBED
        assert mission.result.state is (MissionState.COMPLETED if over else MissionState.CANCELLED)
        assert mission.result.error == (None if over else ASKED)


def test_cancel_of_the_caller_at_every_moment() -> None:
    """The mission is Cancelled, and the caller too."""
    for mission in at_every_moment(lambda _mission, caller: caller.cancel()):
        assert mission.result is not None
        over = statuses(mission.result) == UNDISTURBED  # only the caller had not yet heard of it
        assert mission.result.state is (MissionState.COMPLETED if over else MissionState.CANCELLED)


def test_cancel_of_every_step_task_at_every_moment() -> None:
    """Tasks that someone else cancels are Failed steps, begun or not; the rest of the mission goes on."""

    def strike(_mission: MissionRun, caller: "asyncio.Task[MissionResult]") -> None:
        for task in asyncio.all_tasks() - {caller}:
            if task.get_name() in EDGES:
                task.cancel()

    for mission in at_every_moment(strike):
        assert mission.result is not None
        assert mission.result.state in {MissionState.COMPLETED, MissionState.FAILED}
        assert set(codes(mission.result).values()) <= {
            "step.cancelled",
            "step.failed",
            "step.timeout",
            "step.dependency_failed",
        }


class FailingObserver(RecordingObserver):
    """Fails at its n-th call, and from then on if `lasting`."""

    def __init__(self, nth: int, error: BaseException, *, lasting: bool) -> None:
        super().__init__()
        self.calls = 0
        self.failed = False
        self._nth, self._error, self._lasting = nth, error, lasting

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self._nth or (self._lasting and self.calls > self._nth):
            self.failed = True
            raise self._error

    def step_started(self, step: MissionStep) -> None:
        super().step_started(step)
        self._call()

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        super().step_finished(step, result)
        self._call()


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize(
    "error", [OSError("disk full"), asyncio.CancelledError(), SystemExit(1)], ids=lambda error: type(error).__name__
)
def test_an_observer_that_fails_at_any_call_stops_the_mission(
    error: BaseException, caplog: pytest.LogCaptureFixture, *, lasting: bool
) -> None:
    """What cannot be recorded must not happen: nothing starts after the failure, and it is logged once."""
    for nth in range(1, 1_000):
        observer, runner = FailingObserver(nth, error, lasting=lasting), ScriptedRunner(SCRIPT)
        caplog.clear()
        result = run(run_of(PLAN, runner, observer).execute())
        check_consistent(PLAN, result, observer)
        if not observer.failed:
            break
        started = [step_id for step_id, what in observer.events[: nth - 1] if what == "Executing"]
        assert runner.called == started, "a step whose start could not be recorded does not run"
        assert observer.events[nth:] == [event for event in observer.events[nth:] if event[1] != "Executing"]
        assert (result.state, result.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)
        assert result.error is not None
        assert result.error.code == "mission.observer_failed"
        assert sum("observer" in record.message for record in caplog.records) == 1
    assert nth == 16, "eight starts less one, and eight ends"


class RudeError(BaseException):
    """What no `except Exception` sees."""


@pytest.mark.parametrize("error", [RudeError("hunter2"), SystemExit("hunter2"), GeneratorExit("hunter2")], ids=repr)
@pytest.mark.parametrize("after", [0, 1])
def test_a_step_cannot_end_the_process(error: BaseException, after: float, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a runner raises is the failure of its step, and its text goes to the log only."""
    with caplog.at_level(logging.ERROR):
        result = run(
            run_of(
                plan_of({"a": [], "b": []}, config=MissionConfig(fail_fast=False)),
                ScriptedRunner({"a": raises(error, after=after), "b": sleeps(2)}),
            ).execute()
        )
    assert codes(result) == {"a": "internal"}
    assert statuses(result)["b"] == "Completed"
    assert "hunter2" not in repr(result)


@pytest.mark.parametrize("after", [0, 1])
def test_a_step_that_cancels_itself_has_failed(after: float) -> None:
    """A CancelledError that nobody here asked for is no cancellation of the mission."""
    result = run(
        run_of(
            plan_of({"a": [], "b": []}, config=MissionConfig(fail_fast=False)),
            ScriptedRunner({"a": raises(asyncio.CancelledError(), after=after), "b": sleeps(2)}),
        ).execute()
    )
    assert codes(result) == {"a": "step.cancelled"}
    assert result.overall_status is OverallStatus.PARTIAL


def test_the_interrupt_of_the_user_passes_through() -> None:
    """KeyboardInterrupt ends the program as it should, after every step has its outcome, and is reported once."""
    observer = RecordingObserver()
    plan = plan_of({"a": [], "b": [], "c": []}, config=MissionConfig(parallel_limit=2))
    interrupt = KeyboardInterrupt()
    mission = run_of(plan, ScriptedRunner({"a": raises(interrupt, after=1), "b": forever}), observer)
    loop = VirtualTimeLoop()
    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(mission.execute())
    interrupt.__traceback__ = None  # it holds the task, which complains when it is collected
    gc.collect()
    assert loop.complaints == []
    assert mission.result is not None
    assert codes(mission.result) == {"a": "internal", "b": "mission.interrupted", "c": "mission.interrupted"}
    check_consistent(plan, mission.result, observer)


@pytest.mark.parametrize("kind", ["completes", "is cancelled", "times out"])
def test_a_run_leaves_nothing_on_the_loop(kind: str) -> None:
    """When `execute` returns, no task and no timer of the run is left."""

    async def main() -> None:
        plan = plan_of(
            {"a": [], "b": ["a"]},
            config=MissionConfig(timeout_seconds=2 if kind == "times out" else 100),
            timeouts={"a": 50, "b": 60},
        )
        mission = run_of(plan, ScriptedRunner({"a": sleeps(1), "b": sleeps(3)}))
        task = asyncio.create_task(mission.execute())
        await asyncio.sleep(1.5)
        if kind == "is cancelled":
            mission.cancel(ASKED)
        await task
        loop = asyncio.get_running_loop()
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_runner_that_is_no_coroutine_fails_its_step(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of the program that brings the runner is a failed step, not a dead scheduler."""

    class Plain:
        def run_step(self, _step: MissionStep, _context: object) -> JsonValue:
            return 1

    result = run(run_of(plan_of({"a": [], "b": ["a"]}), Plain()).execute())  # type: ignore[arg-type]
    assert codes(result) == {"a": "internal", "b": "step.dependency_failed"}
    assert caplog.records


@pytest.mark.parametrize("where", ["step_started", "step_finished", "runner"])
def test_the_mission_may_be_cancelled_from_inside(where: str) -> None:
    """By the observer, in the middle of being told, or by a step of its own."""
    plan = plan_of({"a": [], "b": ["a"], "c": []}, config=MissionConfig(parallel_limit=1))

    class Canceller(RecordingObserver):
        def step_started(self, step: MissionStep) -> None:
            super().step_started(step)
            if where == "step_started":
                mission.cancel(ASKED)

        def step_finished(self, step: MissionStep, result: StepResult) -> None:
            super().step_finished(step, result)
            if where == "step_finished":
                mission.cancel(ASKED)

    async def cancels(_step: MissionStep) -> JsonValue:
        if where == "runner":
            mission.cancel(ASKED)
        return "done"

    observer, runner = Canceller(), ScriptedRunner({"a": cancels})
    mission = run_of(plan, runner, observer)
    result = run(mission.execute())
    check_consistent(plan, result, observer)
    assert result.state is MissionState.CANCELLED
    assert runner.called == ([] if where == "step_started" else ["a"])
    assert statuses(result)["a"] == ("Skipped" if where == "step_started" else "Completed")
    assert statuses(result)["b"] == statuses(result)["c"] == "Skipped"


def test_a_loop_that_is_closed_over_a_mission_says_nothing_wrong() -> None:
    """Steps whose loop is gone have no outcome: nothing is invented, nothing starts."""
    observer, runner = RecordingObserver(), ScriptedRunner({"a": forever})
    mission = run_of(plan_of({"a": [], "b": ["a"]}), runner, observer)
    loop = VirtualTimeLoop()
    task = loop.create_task(mission.execute())
    loop.run_until_complete(asyncio.sleep(0.1))
    steps = [step for step in asyncio.all_tasks(loop) if step is not task]
    for coroutine in (*(step.get_coro() for step in steps), task.get_coro()):
        coroutine.close()
    for left in (*steps, task):
        left._log_destroy_pending = False
    loop.close()
    assert observer.events == [("a", "Executing")]
    assert mission.result is None
    assert runner.called == ["a"]
