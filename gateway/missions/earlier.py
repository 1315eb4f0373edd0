"""What earlier executions of a mission have left: read from the store, so that a later one goes on from there."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, cast

from engine.outcome import Stop, stands
from engine.result import MissionState, StepFailure, StepResult
from engine.values import JsonObject
from gateway.errors import ConflictError
from gateway.missions.views import MissionEvent
from gateway.store.records import StoredEvent
from gateway.store.sealing import DAMAGED

RESUMED: Final = "mission.resumed"
RETRIED: Final = "mission.retried"


class EarlierStore(Protocol):
    """Where it is; `gateway.store.store.Store` is one."""

    async def events(self, mission_id: str, from_index: int) -> tuple[StoredEvent, ...]:
        """Return a page of a mission's events; an empty one is the end."""

    async def step_results(self, mission_id: str, *, offset: int = 0) -> tuple[StepResult, ...]:
        """Return a page of a mission's results; an empty one is the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Nothing, for a mission that begins; else where it stands."""

    opening: str | None = None  # the kind of the first event to come: RESUMED, RETRIED; None: there was nothing before
    events: int = 0  # how many there are
    results: Mapping[str, StepResult] = field(default_factory=dict)
    spent_seconds: float = 0.0  # of the mission's timeout
    stopped: Stop | None = None  # it was stopping, and why
    paused: bool = False


async def read_earlier(store: EarlierStore, mission_id: str, opening: str, *, paused: bool = False) -> Earlier:
    """Return what there is of a mission that is to go on (RESUMED) or to begin anew (RETRIED).

    Raises:
        StoreError: it cannot be read now.
        ConflictError: `mission.damaged`, what is there means nothing.
    """
    reading, results = _Reading(), {}
    going_on = opening == RESUMED
    try:
        async for event in stored_events(store, mission_id):
            reading.take(event)
        async for result in stored_results(store, mission_id):
            if going_on or stands(result):
                results[result.step_id] = result
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError("what is recorded of the mission cannot be understood", code=DAMAGED) from error
    return Earlier(
        opening=opening,
        events=reading.count,
        results=results,
        spent_seconds=reading.spent_seconds if going_on else 0.0,
        stopped=reading.stopped if going_on else None,
        paused=paused,
    )


async def read_stop(store: EarlierStore, mission_id: str) -> Stop | None:
    """Return why the last run of a mission ended before its last step; None: it did not.

    Raises:
        StoreError: it cannot be read.
    """
    reading = _Reading()
    async for event in stored_events(store, mission_id):
        reading.take(event)
    return reading.stopped


async def stored_events(store: EarlierStore, mission_id: str, from_index: int = 0) -> AsyncIterator[MissionEvent]:
    """Yield the events that the store has, a page at a time."""
    index = from_index
    while page := await store.events(mission_id, index):
        for each in page:
            yield MissionEvent.from_bytes(each.body)
        index = page[-1].index + 1


async def stored_results(store: EarlierStore, mission_id: str, offset: int = 0) -> AsyncIterator[StepResult]:
    """Yield the results that the store has, in the order in which they were saved, a page at a time."""
    while page := await store.step_results(mission_id, offset=offset):
        for result in page:
            yield result
        offset += len(page)


class _Reading:
    """One pass over the events of a mission: how long its present run has executed, and whether it was stopping.

    Time runs from a beginning to a pause, or to the last event before the process ended.
    """

    def __init__(self) -> None:
        self.count = 0
        self.stopped: Stop | None = None
        self._spent_seconds = 0.0
        self._paused = False
        self._since: datetime | None = None  # time runs since then
        self._last: datetime | None = None

    @property
    def spent_seconds(self) -> float:
        """As of the last event."""
        return self._spent_seconds + self._running_seconds(self._last)

    def take(self, event: MissionEvent) -> None:
        match event.kind:
            case "mission.retried":
                self._spent_seconds, self.stopped, self._paused, self._since = 0.0, None, False, None
            case "mission.executing":
                self._since = None if self._paused else event.timestamp
            case "mission.resumed":
                self._spent_seconds += self._running_seconds(self._last)
                self._since = None if self._paused else event.timestamp
            case "mission.paused":
                self._spent_seconds += self._running_seconds(event.timestamp)
                self._since, self._paused = None, True
            case "mission.unpaused":
                self._since, self._paused = event.timestamp, False
            case "mission.stopping":
                self.stopped = _stop_of(event.details)
        self._last = event.timestamp
        self.count += 1

    def _running_seconds(self, until: datetime | None) -> float:
        if self._since is None or until is None:
            return 0.0
        return max(0.0, (until - self._since).total_seconds())


def _stop_of(details: JsonObject) -> Stop:
    """Return the reason that `gateway.missions.recorder` has noted."""
    error = cast("Mapping[str, str]", details["error"])
    why = StepFailure(code=error["code"], message=error["message"])
    reason = StepFailure(code=str(details.get("skips", why.code)), message=why.message)
    state = MissionState(str(details["state"]))
    return Stop(state=state, reason=reason, error=None if details["of_step"] else why)
