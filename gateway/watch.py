"""What watches the gateway at work: the port that stages and calls speak to, one line each.

Who watches changes nothing: whatever a block raises leaves it as it was raised. `UNWATCHED` is for a gateway whose
configuration wants neither metrics nor traces, and costs two calls that do nothing. What is watched is told in words
of the gateway's own (stages, kinds, profiles, states), never in a client's; of a mission only the log and traces hear
the id.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

Stage: TypeAlias = Literal[
    "sanitize",  # (1)
    "mission_policy",  # (2)
    "mission_screens",  # (3)
    "resolve",  # (4)
    "step_policy",  # (5)
    "step_screens",  # (5)
    "sandbox",  # (6)
    "effect_policy",  # (7)
    "effects",  # (7)
]
Metadata: TypeAlias = Sequence[Any]  # pairs of a key and of a text, or of bytes

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a trace something happens. Source: W3C Trace Context, 3.2."""

    trace_id: bytes  # TRACE_ID_BYTES, not all zero
    span_id: bytes  # SPAN_ID_BYTES, not all zero
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The header of what is asked of others on the way, version 00."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{'01' if self.sampled else '00'}"


POSITION: Final[ContextVar[Position | None]] = ContextVar("POSITION", default=None)
"""Where the task at work is in its trace; None where nobody traces."""
MISSION_ID: Final[ContextVar[str]] = ContextVar("MISSION_ID", default="")
"""Of which mission the task at work is a part; for the log."""


def traceparent() -> str | None:
    """Return the W3C header of who is asked now, or None where nobody traces."""
    position = POSITION.get()
    return None if position is None else position.traceparent


class Call(Protocol):
    """An RPC under way."""

    code: str  # the name of its gRPC status; set before it ends


class Watch(Protocol):
    """Hears of everything that is counted, timed and traced."""

    @property
    def on(self) -> bool:
        """Whether anybody hears anything."""

    def stage(self, name: Stage, profile: str = "") -> AbstractContextManager[None]:
        """Watch a stage for the time of a block; `profile` is that of a module which it runs."""

    def call(self, method: str, metadata: Metadata, *, streams: bool) -> AbstractContextManager[Call]:
        """Watch an RPC for the time of a block; `method` is one that there is, or "unknown"."""

    def mission(self, mission_id: str) -> AbstractContextManager[Position | None]:
        """Watch a mission for the time of its execution; what its steps are in, for `step`."""

    def step(self, kind: str, mission_id: str, within: Position | None) -> AbstractContextManager[None]:
        """Watch an attempt at a step, which may run in a task that another mission has woken."""

    def step_ended(self, kind: str, status: str, duration_ms: float) -> None:
        """Count a step that has its result."""

    def mission_ended(self, status: str, duration_ms: float) -> None:
        """Count a mission that has its result."""


class _NoCall:
    """A call of which nobody hears."""

    code = "OK"


class Unwatched:
    """Implements `Watch` for nobody."""

    on = False

    def __init__(self) -> None:
        self._nothing: AbstractContextManager[None] = nullcontext()
        self._no_position: AbstractContextManager[Position | None] = nullcontext()

    def stage(self, name: Stage, profile: str = "") -> AbstractContextManager[None]:  # noqa: ARG002 - the protocol's
        """Let it pass."""
        return self._nothing

    def call(self, method: str, metadata: Metadata, *, streams: bool) -> AbstractContextManager[Call]:  # noqa: ARG002
        """Let it pass."""
        return nullcontext(_NoCall())

    def mission(self, mission_id: str) -> AbstractContextManager[Position | None]:  # noqa: ARG002
        """Let it pass."""
        return self._no_position

    def step(self, kind: str, mission_id: str, within: Position | None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Let it pass."""
        return self._nothing

    def step_ended(self, kind: str, status: str, duration_ms: float) -> None:
        """Let it pass."""

    def mission_ended(self, status: str, duration_ms: float) -> None:
        """Let it pass."""


UNWATCHED: Final[Watch] = Unwatched()

Outgoing: TypeAlias = Callable[[str], str | None]
"""Returns the `traceparent` that a host is sent, or None where it is sent none."""


def nothing_outgoing(_host: str) -> str | None:
    """Send no host where a request of ours is from."""
    return None
