"""The watch of a gateway that is watched: each block is timed, and is a span of its trace where there is one."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import Final, Self

from engine.clock import Clock
from engine.errors import EngineError, RefusalError
from gateway.telemetry.meters import Meters
from gateway.telemetry.spans import NOTHING, Kind, Span, Tracer, parsed
from gateway.watch import MISSION_ID, POSITION, Call, Metadata, Position, Stage

_MS_PER_SECOND: Final = 1e3
_TRACEPARENT: Final = "traceparent"
_CANCELLED: Final = "cancelled"


class Watching:
    """Implements `gateway.watch.Watch`; without a tracer nothing is traced."""

    on = True

    def __init__(self, meters: Meters, clock: Clock, tracer: Tracer | None, *, follow_callers: bool = True) -> None:
        """Watch.

        Args:
            meters: count.
            clock: measures.
            tracer: makes spans.
            follow_callers: whether a call is a part of the trace that its caller names.
        """
        self._meters = meters
        self._now = clock.monotonic
        self._tracer = tracer
        self._follow_callers = follow_callers

    def stage(self, name: Stage, profile: str = "") -> AbstractContextManager[None]:
        """Implement `Watch.stage`."""
        return _Stage(self._meters, self._now, name, profile, self._inside(name))

    def call(self, method: str, metadata: Metadata, *, streams: bool) -> AbstractContextManager[Call]:
        """Implement `Watch.call`."""
        inside = None
        if self._tracer is not None:
            parent = _brought(metadata) if self._follow_callers else None
            about = {"rpc.system": "grpc", "rpc.method": method}
            inside = _Inside(self._tracer, method, parent, "server", about)
        return _Call(self._meters, self._now, method, "stream" if streams else "unary", inside)

    def mission(self, mission_id: str) -> AbstractContextManager[Position | None]:
        """Implement `Watch.mission`."""
        return _Mission(self._inside("mission", {"missiongate.mission.id": mission_id}), mission_id)

    def step(self, kind: str, mission_id: str, within: Position | None) -> AbstractContextManager[None]:
        """Implement `Watch.step`."""
        inside = None
        if self._tracer is not None:
            about = {"missiongate.step.kind": kind, "missiongate.mission.id": mission_id}
            inside = _Inside(self._tracer, "step", within, attributes=about)
        return _Step(inside, mission_id)

    def step_ended(self, kind: str, status: str, duration_ms: float) -> None:
        """Implement `Watch.step_ended`."""
        self._meters.steps.add((kind, status), duration_ms / _MS_PER_SECOND)

    def mission_ended(self, status: str, duration_ms: float) -> None:
        """Implement `Watch.mission_ended`."""
        self._meters.missions.add((status,), duration_ms / _MS_PER_SECOND)

    def _inside(self, name: str, about: Mapping[str, str] = NOTHING) -> "_Inside | None":
        """Return a span inside of what is under way, where somebody traces."""
        return None if self._tracer is None else _Inside(self._tracer, name, POSITION.get(), attributes=about)


class _Inside:
    """A place in a trace that is taken for the time of a block, and its span where the trace is sampled."""

    __slots__ = ("_span", "_token", "_tracer", "position")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        parent: Position | None,
        kind: Kind = "internal",
        attributes: Mapping[str, str] = NOTHING,
    ) -> None:
        self._tracer = tracer
        self.position, self._span = tracer.begin(name, parent, kind, attributes)
        self._token: Token[Position | None] | None = None

    @property
    def span(self) -> Span | None:
        return self._span

    def enter(self) -> None:
        self._token = POSITION.set(self.position)

    def leave(self, failed: str) -> None:
        if self._token is not None:
            POSITION.reset(self._token)
        if self._span is not None:
            self._tracer.end(self._span, failed)


class _Stage:
    """A stage under way."""

    __slots__ = ("_began", "_inside", "_meters", "_name", "_now", "_profile")

    def __init__(
        self, meters: Meters, now: Callable[[], float], name: Stage, profile: str, inside: _Inside | None
    ) -> None:
        self._meters = meters
        self._now = now
        self._name = name
        self._profile = profile
        self._inside = inside
        self._began = 0.0

    def __enter__(self) -> None:
        if self._inside is not None:
            self._inside.enter()
        self._began = self._now()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = self._now() - self._began
        outcome = _outcome(error)
        self._meters.stages.add((self._name, outcome), seconds)
        if self._profile:
            self._meters.runs.add((self._profile, outcome), seconds)
        if self._inside is not None:
            self._inside.leave(_failure(error))


class _Call:
    """An RPC under way."""

    __slots__ = ("_began", "_inside", "_meters", "_method", "_now", "_type", "code")

    def __init__(
        self, meters: Meters, now: Callable[[], float], method: str, kind: str, inside: _Inside | None
    ) -> None:
        self.code = "OK"
        self._meters = meters
        self._now = now
        self._method = method
        self._type = kind
        self._inside = inside
        self._began = 0.0

    def __enter__(self) -> Self:
        if self._inside is not None:
            self._inside.enter()
        self._meters.calls_under_way += 1
        self._began = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._meters.calls.add((self._method, self._type, self.code), self._now() - self._began)
        self._meters.calls_under_way -= 1
        if self._inside is not None:
            if self._inside.span is not None:
                self._inside.span.attributes = {**self._inside.span.attributes, "rpc.response.status_code": self.code}
            self._inside.leave("" if self.code == "OK" else self.code)


class _Within:
    """A mission, or an attempt at a step of one, under way: what the log names meanwhile, and where traces go on."""

    __slots__ = ("_inside", "_mission_id", "_token")

    def __init__(self, inside: _Inside | None, mission_id: str) -> None:
        self._inside = inside
        self._mission_id = mission_id
        self._token: Token[str] | None = None

    def enter(self) -> None:
        self._token = MISSION_ID.set(self._mission_id)
        if self._inside is not None:
            self._inside.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._inside is not None:
            self._inside.leave(_failure(error))
        if self._token is not None:
            MISSION_ID.reset(self._token)


class _Mission(_Within):
    """A mission under way."""

    __slots__ = ()

    def __enter__(self) -> Position | None:
        self.enter()
        return None if self._inside is None else self._inside.position


class _Step(_Within):
    """An attempt at a step under way."""

    __slots__ = ()

    def __enter__(self) -> None:
        self.enter()


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if not isinstance(error, Exception):
        return _CANCELLED
    return "refused" if isinstance(error, RefusalError) else "failed"


def _failure(error: BaseException | None) -> str:
    """Return the code of what ended a block; of a bug nothing more than that it is one."""
    if error is None:
        return ""
    if isinstance(error, EngineError):
        return error.code
    return "internal" if isinstance(error, Exception) else _CANCELLED


def _brought(metadata: Metadata) -> Position | None:
    """Return the one place in a trace that a caller names; several are none."""
    values = [value for key, value in metadata if key == _TRACEPARENT]
    return parsed(values[0]) if len(values) == 1 and isinstance(values[0], str) else None
