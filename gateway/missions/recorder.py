"""Tells the log, the store and the watchers of every transition of one running mission."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

from engine.clock import Clock
from engine.mission import MissionStep
from engine.outcome import Stop
from engine.ports import Retry
from engine.result import StepFailure, StepResult, StepState
from engine.values import JsonObject, JsonValue
from gateway.commitments import Evidence, Hidden
from gateway.events import EventType, Trail
from gateway.missions.views import MissionEvent
from gateway.watch import UNWATCHED, Watch

KEPT_MAX: Final = 4_096  # events that the store has and that stay for watchers
_SKIPPED_MAX: Final = 256  # steps that one event names; an id has 128 characters at most


class Recorder:
    """The observer of one mission's schedule: cheap and synchronous.

    The log comes first: a transition that cannot be logged is shown to nobody, and stops the mission. What the store
    has not got yet waits in `unsaved_results` and `unsaved_events`. `first_index` is that of the first event that is
    here: those before it are in the store, an earlier execution's and, of this one, all but the last `KEPT_MAX`.
    """

    def __init__(
        self, mission_id: str, trail: Trail, clock: Clock, *, first_index: int = 0, watch: Watch = UNWATCHED
    ) -> None:
        self.first_index = first_index
        self._watch = watch
        self._results_saved = 0
        self._mission_id = mission_id
        self._trail = trail
        self._clock = clock
        self._events: list[MissionEvent] = []
        self._events_saved = 0  # of those that are here
        self._unsaved: list[StepResult] = []
        self._skipped: list[tuple[str, str]] = []  # code, step id: not yet in the log
        self._waiters: set[asyncio.Future[None]] = set()
        self._settled = asyncio.Event()
        self._ended = False

    # --- the observer ---

    def step_started(self, step: MissionStep) -> None:
        """Note that the step is Executing."""
        self.note("step.executing", step.id, {})

    def step_retrying(self, step: MissionStep, retry: Retry) -> None:
        """Note that an attempt failed, and why, and when the next one begins."""
        details: dict[str, JsonValue] = {
            "attempt": retry.attempt,
            "delay_ms": round(retry.delay_seconds * 1e3),
            "error": {"code": retry.failure.code, "message": retry.failure.message},
        }
        if retry.item is not None:
            details["item"] = retry.item
        self.note("step.retrying", step.id, details)

    def item_finished(self, step: MissionStep, item: int, total: int, status: StepState) -> None:
        """Note the end of one item of a fan-out."""
        self.note("step.item", step.id, {"item": item, "total": total, "status": status.value})

    def level_restarting(self, level: int, failure: StepFailure) -> None:
        """Note that a level is begun anew."""
        self.note(
            "mission.level_restarting",
            "",
            {"level": level, "error": {"code": failure.code, "message": failure.message}},
        )

    def mission_stopping(self, stop: Stop) -> None:
        """Note that nothing more starts, and why: a later start of the gateway must know it as well."""
        why = stop.error or stop.reason
        details: dict[str, JsonValue] = {"state": stop.state.value, "error": {"code": why.code, "message": why.message}}
        details["of_step"] = stop.error is None
        if stop.reason.code != why.code:
            details["skips"] = stop.reason.code  # what the steps are told that it skips
        self.note("mission.stopping", "", details)

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """Record the step's outcome: its output goes to the store, its digest to the log.

        A skipped step never ran, so its record can wait until the mission's end; there may be thousands at once.
        """
        self._unsaved.append(result)
        self._watch.step_ended(step.step_type, result.status.value, result.duration_ms)
        code = result.error.code if result.error is not None else ""
        if result.status is StepState.SKIPPED:
            self._skipped.append((code, step.id))
        else:
            recorded: Evidence = {"status": result.status.value, "output": Hidden(result.output)}
            if code:
                recorded["code"] = code
            self._trail.record(EventType.STEP_ENDED, f"{self._mission_id}/{step.id}", recorded)
        self._trail.end_step(f"{self._mission_id}/{step.id}")
        details: dict[str, JsonValue] = {"status": result.status.value, "duration_ms": round(result.duration_ms, 3)}
        if result.error is not None:
            details["error"] = {"code": code, "message": result.error.message}
        self.note(f"step.{result.status.value.lower()}", step.id, details)

    def log_skipped(self) -> None:
        """Record the steps that never ran, with why."""
        for code, group in groupby(self._skipped, key=lambda skipped: skipped[0]):
            ids: list[JsonValue] = [step_id for _, step_id in group]
            for first in range(0, len(ids), _SKIPPED_MAX):
                details: JsonObject = {"code": code, "steps": ids[first : first + _SKIPPED_MAX]}
                self._trail.record(EventType.STEP_SKIPPED, self._mission_id, details)
        self._skipped.clear()

    # --- for the store ---

    @property
    def unsaved_results(self) -> Sequence[StepResult]:
        """Results that the store has not got, as of now."""
        return tuple(self._unsaved)

    @property
    def unsaved_events(self) -> tuple[int, Sequence[MissionEvent]]:
        """Events that the store has not got, as of now, and the index of the first."""
        return self.first_index + self._events_saved, self._events[self._events_saved :]

    def results_saved(self, count: int) -> None:
        """Note that the store has the first `count` of `unsaved_results`."""
        del self._unsaved[:count]
        self._results_saved += count
        self._wake()

    async def saved_beyond(self, count: int) -> bool:
        """Return when the store has been given more than `count` results; False: no more will come."""
        while self._results_saved <= count and not self._ended:
            await self._next()
        return not self._ended

    def events_saved(self, count: int) -> None:
        """Note that the store has the first `count` of `unsaved_events`."""
        self._events_saved += count
        if self._events_saved >= 2 * KEPT_MAX:  # half of them at once: each moves all that stay
            gone = self._events_saved - KEPT_MAX
            del self._events[:gone]
            self._events_saved -= gone
            self.first_index += gone

    @property
    def settled(self) -> bool:
        """Whether every step has its outcome; only the mission's own end is still to come."""
        return self._settled.is_set()

    def settle(self) -> None:
        """Note that every step has its outcome."""
        self._settled.set()
        self._wake()

    def unsettle(self) -> None:
        """Note that there is more to come: the mission was waiting, and has not begun."""
        self._settled.clear()

    async def changed(self, *, linger_seconds: float) -> None:
        """Return when news for the store has waited for more as long as that, or every step has its outcome."""
        if self._events_saved == len(self._events) and not self.settled:
            await self._next()
        with suppress(TimeoutError):
            async with asyncio.timeout(linger_seconds):
                await self._settled.wait()

    # --- for watchers ---

    def note(self, kind: str, step_id: str, details: JsonObject) -> None:
        """Add an event for watchers."""
        self._events.append(
            MissionEvent(
                index=self.first_index + len(self._events),
                timestamp=self._clock.now(),
                kind=kind,
                step_id=step_id,
                details=details,
            )
        )
        self._wake()

    def end(self) -> None:
        """Let watchers go once they have seen everything."""
        self._ended = True
        self._wake()

    async def watch(self, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield events from `from_index` on, past and to come, until it has ended, or the next one is not here."""
        index = from_index
        while index >= self.first_index:
            if index - self.first_index < len(self._events):
                yield self._events[index - self.first_index]
                index += 1
            elif self._ended:
                return
            else:
                await self._next()

    async def _next(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)  # one that was given up would wait with the mission

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
