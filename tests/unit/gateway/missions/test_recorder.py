"""The recorder: what the log, the store and watchers are told of a running mission, and in which order."""

import asyncio
from datetime import UTC, datetime

import pytest

from engine.errors import FaultError
from engine.mission import MissionStep
from engine.outcome import Stop
from engine.result import StepFailure, StepResult, StepState
from gateway.events import EventType, Trail
from gateway.identity import actor
from gateway.missions.earlier import _Reading
from gateway.missions.recorder import Recorder
from gateway.missions.views import MissionEvent
from tests.subjects import own
from tests.virtual_time import run
from tests.worlds import ANN, FakeLog, Faults, StandingClock

NOW = datetime(2026, 1, 31, tzinfo=UTC)
STEP = MissionStep(id="s", name="s", step_type="pure")


def result(step_id: str = "s", status: StepState = StepState.COMPLETED, code: str = "") -> StepResult:
    error = StepFailure(code=code, message="m") if code else None
    return StepResult(step_id=step_id, status=status, output={"x": 1}, error=error, duration_ms=1.0, timestamp=NOW)


def named(step_id: str) -> MissionStep:
    return MissionStep(id=step_id, name=step_id, step_type="pure")


class World:
    def __init__(self) -> None:
        self.faults = Faults()
        self.log = FakeLog(self.faults)
        self.recorder = Recorder("m", Trail(self.log, actor(ANN), own(ANN)), StandingClock())


def test_an_outcome_that_cannot_be_logged_is_shown_to_nobody() -> None:
    """The observer raises, which stops the mission; no watcher sees it, and the store still gets the result."""
    world = World()
    world.faults.put("audit.append", FaultError("dead"))
    with pytest.raises(FaultError):
        world.recorder.step_finished(STEP, result())
    assert world.recorder.unsaved_events == (0, [])
    assert [r.step_id for r in world.recorder.unsaved_results] == ["s"]


@pytest.mark.parametrize(
    "stop",
    [
        Stop.cancelled(StepFailure(code="mission.cancelled", message="by bob")),
        Stop.failed("mission.timeout", "too long"),
        Stop.refused("approval.denied", "denied by bob"),
        Stop.blamed_on(STEP, "mission.halted", "broke a security rule"),
    ],
)
def test_why_a_mission_stops_is_known_to_a_later_start(stop: Stop) -> None:
    """As it was, and watchers are told of the cause rather than of what the skipped steps are."""
    world = World()
    world.recorder.mission_stopping(stop)
    _, [event] = world.recorder.unsaved_events
    reading = _Reading()
    reading.take(event)
    assert reading.stopped == stop
    why = stop.error or stop.reason
    assert event.details["error"] == {"code": why.code, "message": why.message}


def test_skipped_steps_are_logged_together() -> None:
    """Ten thousand steps that never ran are a few events, in their order, each with the reason."""
    world = World()
    ids = [f"s{n}" for n in range(1_000)]
    for n, step_id in enumerate(ids):
        code = "mission.halted" if n < 990 else "step.dependency_failed"
        world.recorder.step_finished(named(step_id), result(step_id, StepState.SKIPPED, code))
    assert world.log.events == []
    world.recorder.log_skipped()
    events = world.log.of("step.skipped")
    assert [step_id for event in events for step_id in event.details["steps"]] == ids
    assert [len(event.details["steps"]) for event in events] == [256, 256, 256, 222, 10]
    assert {event.details["code"] for event in events} == {"mission.halted", "step.dependency_failed"}
    world.recorder.log_skipped()
    assert len(world.log.events) == 5


def test_what_the_store_did_not_take_waits_for_it() -> None:
    """What is handed over stays until the store has it, and is handed over again after a failure."""
    world = World()
    recorder = world.recorder
    recorder.step_started(STEP)
    recorder.step_finished(STEP, result())
    first, events = recorder.unsaved_events
    assert (first, [e.kind for e in events]) == (0, ["step.executing", "step.completed"])
    assert recorder.unsaved_events == (first, events)
    recorder.events_saved(1)
    recorder.results_saved(1)
    recorder.note("mission.completed", "", {})
    first, events = recorder.unsaved_events
    assert (first, [e.kind for e in events]) == (1, ["step.completed", "mission.completed"])
    assert recorder.unsaved_results == ()


def test_a_watcher_that_goes_leaves_nothing() -> None:
    """A mission that is silent for hours does not collect those who stopped watching it."""
    world = World()

    async def main() -> None:
        async def watch() -> None:
            async for _ in world.recorder.watch(0):
                pass

        for _ in range(100):
            watching = asyncio.create_task(watch())
            await asyncio.sleep(0)
            watching.cancel()
            await asyncio.wait([watching])
        assert not world.recorder._waiters

    run(main())


def test_a_change_is_not_slept_through() -> None:
    """News that came before the call wakes the one who keeps, and news in between, a moment later; the end, at once."""
    world = World()

    async def main() -> None:
        recorder, time = world.recorder, asyncio.get_running_loop().time
        recorder.note("mission.executing", "", {})
        await recorder.changed(linger_seconds=2)
        assert time() == 2
        recorder.events_saved(1)
        waiting = asyncio.create_task(recorder.changed(linger_seconds=2))
        await asyncio.sleep(10)
        assert not waiting.done()
        recorder.note("step.executing", "s", {})
        await waiting
        assert time() == 14
        recorder.settle()
        await recorder.changed(linger_seconds=2)
        assert time() == 14
        assert recorder.settled

    run(main())


def test_events_survive_their_bytes() -> None:
    """What the store keeps is what a watcher saw."""
    event = MissionEvent(index=3, timestamp=NOW, kind="step.failed", step_id="s", details={"error": {"code": "x"}})
    assert MissionEvent.from_bytes(event.to_bytes()) == event


def test_a_trail_that_is_over_lets_nothing_begin() -> None:
    """What is under way may still say how it ended."""
    world = World()
    trail = Trail(world.log, actor(ANN), own(ANN))
    trail.require_open("m/s")
    trail.end_step("m/s")
    trail.require_open("m/t[1]")
    for target in ("m/s", "m/s[1]"):
        with pytest.raises(FaultError) as refused:
            trail.require_open(target)
        assert refused.value.code == "step.ended"
    trail.end()
    with pytest.raises(FaultError) as refused:
        trail.require_open("m/t")
    assert refused.value.code == "mission.ended"
    trail.record(EventType.EFFECT_PERFORMED, "m/s", {})
    assert trail.events == 1


def test_what_the_store_has_does_not_stay_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events a mission has, a bounded number is in memory; what the store has not got is all there."""
    monkeypatch.setattr("gateway.missions.recorder.KEPT_MAX", 4)
    recorder = World().recorder
    for n in range(100):
        recorder.note("step.retrying", "a", {"n": n})
        first, events = recorder.unsaved_events
        if n % 3 == 2:
            recorder.events_saved(len(events))
        assert [event.index for event in events] == list(range(first, n + 1))
    assert recorder.first_index >= 100 - 2 * 4 - 3
