"""Tells the log, the store and the watchers of every transition of one running mission."""

import asyncio
from collections.abc import AsyncIterator

from engine.audit.log import AuditLog
from engine.clock import Clock
from engine.mission import MissionStep
from engine.result import StepResult
from engine.values import JsonObject, JsonValue
from gateway.events import EventType, digest
from gateway.missions.views import MissionEvent


class Recorder:
    """The observer of one mission's schedule: cheap and synchronous; `take` hands over what the store has not seen."""

    def __init__(self, mission_id: str, actor: str, audit: AuditLog, clock: Clock) -> None:
        self._mission_id = mission_id
        self._actor = actor
        self._audit = audit
        self._clock = clock
        self._events: list[MissionEvent] = []
        self._results: list[StepResult] = []  # not yet with the store
        self._stored = 0  # events that the store has
        self._waiters: list[asyncio.Future[None]] = []
        self._settled = False
        self._ended = False
        self.audited = 0  # events of this mission in the audit log

    def audit(self, event_type: EventType, target: str, details: JsonObject) -> int:
        """Append to the audit log and return the seq."""
        seq = self._audit.append(event_type, actor=self._actor, target=target, details=details)
        self.audited += 1
        return seq

    def step_started(self, step: MissionStep) -> None:
        """Note that the step is Executing."""
        self.note("step.executing", step.id, {})

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """Record the step's outcome; its output goes to the store, its digest to the log."""
        details: dict[str, JsonValue] = {"status": result.status.value, "duration_ms": round(result.duration_ms, 3)}
        if result.error is not None:
            details["error"] = {"code": result.error.code, "message": result.error.message}
        self.note(f"step.{result.status.value.lower()}", step.id, details)
        self._results.append(result)
        recorded: dict[str, JsonValue] = {"status": result.status.value, "output": digest(result.output)}
        if result.error is not None:
            recorded["code"] = result.error.code
        self.audit(EventType.STEP_ENDED, f"{self._mission_id}/{step.id}", recorded)

    def note(self, kind: str, step_id: str, details: JsonObject) -> None:
        """Add an event for watchers."""
        self._events.append(
            MissionEvent(
                index=len(self._events), timestamp=self._clock.now(), kind=kind, step_id=step_id, details=details
            )
        )
        self._wake()

    @property
    def settled(self) -> bool:
        """Whether every step has its outcome; only the mission's own end is still to come."""
        return self._settled

    def settle(self) -> None:
        """Note that every step has its outcome."""
        self._settled = True
        self._wake()

    def end(self) -> None:
        """Let watchers go once they have seen everything."""
        self._ended = True
        self._wake()

    def take(self) -> tuple[int, list[MissionEvent], list[StepResult]]:
        """Return what the store has not seen yet, with the first event's index; it is the caller's from here on."""
        first_index, results = self._stored, self._results
        events = self._events[first_index:]
        self._stored, self._results = len(self._events), []
        return first_index, events, results

    async def changed(self) -> None:
        """Return after the next event, or at once where there is news for the store or the mission has ended."""
        if self._stored == len(self._events) and not self._settled:
            await self._next()

    async def _next(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def watch(self, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield every event from `from_index` on, past and to come, until the mission has ended."""
        index = from_index
        while True:
            while index < len(self._events):
                yield self._events[index]
                index += 1
            if self._ended:
                return
            await self._next()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
