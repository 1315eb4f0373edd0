"""Spans, as light as they can be: a trace that is not sampled costs one comparison, and one that is a few microseconds.

Ids, the header and its flags are those of W3C Trace Context; what leaves here is OpenTelemetry's (`.otlp`). An own part
in place of OpenTelemetry's SDK: docs/adr/0037.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from engine.clock import Clock
from gateway.watch import SPAN_ID_BYTES, TRACE_ID_BYTES, Position

QUEUE_MAX: Final = 8_192  # ended spans that wait to be sent
_NS_PER_SECOND: Final = 1_000_000_000
_RATIO_BYTES: Final = 7  # the random part of a trace id that samplers look at: W3C Trace Context 2, 2.2.3
# Version 00 has exactly four fields; of a later one these four are known, and more may follow (3.2.4).
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_VERSION: Final = "ff"
_SAMPLED: Final = 1

Kind: TypeAlias = Literal["internal", "server"]
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A span that has ended."""

    position: Position
    parent: bytes | None  # span id
    name: str
    kind: Kind
    start_ns: int  # since 1970, UTC
    end_ns: int
    attributes: Mapping[str, str]
    failed: str  # code of what ended it; "" where nothing did


class Span:
    """One that is under way. `position` is what is inside of it."""

    __slots__ = ("_began", "_start_ns", "attributes", "kind", "name", "parent", "position")

    def __init__(
        self, position: Position, parent: bytes | None, name: str, kind: Kind, attributes: Mapping[str, str]
    ) -> None:
        self.position = position
        self.parent = parent
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self._start_ns = 0
        self._began = 0.0

    def began(self, clock: Clock) -> "Span":
        """Take the time."""
        self._start_ns = int(clock.now().timestamp() * _NS_PER_SECOND)
        self._began = clock.monotonic()
        return self

    def ended(self, clock: Clock, failed: str) -> Ended:
        """Return it as it ends now."""
        took_ns = int((clock.monotonic() - self._began) * _NS_PER_SECOND)
        return Ended(
            position=self.position,
            parent=self.parent,
            name=self.name,
            kind=self.kind,
            start_ns=self._start_ns,
            end_ns=self._start_ns + max(0, took_ns),
            attributes=self.attributes,
            failed=failed,
        )


class Tracer:
    """Begins spans, and keeps those that have ended until they are taken; the oldest go where too many wait."""

    def __init__(
        self, clock: Clock, entropy: Callable[[int], bytes], *, ratio: float, queue_max: int = QUEUE_MAX
    ) -> None:
        """Prepare.

        Args:
            clock: of starts and lengths.
            entropy: n random bytes, for ids.
            ratio: 0 to 1, how many of the traces that begin here are sampled; one that a caller brings is as the
                caller says.
            queue_max: ended spans that are kept.
        """
        self._clock = clock
        self._entropy = entropy
        self.adopt(ratio)
        self._queue: deque[Ended] = deque(maxlen=queue_max)
        self.dropped = 0
        self.ended = 0

    def adopt(self, ratio: float) -> None:
        """From now on sample so many of the traces that begin here; what is under way stays as it is."""
        self._bound = round(ratio * 256**_RATIO_BYTES)

    def begin(
        self, name: str, parent: Position | None, kind: Kind = "internal", attributes: Mapping[str, str] = NOTHING
    ) -> tuple[Position, Span | None]:
        """Return where in its trace something is that begins now, and its span where the trace is sampled."""
        if parent is not None and not parent.sampled:
            return parent, None
        span_id = self._id(SPAN_ID_BYTES)
        if parent is None:
            trace_id = self._id(TRACE_ID_BYTES)
            position = Position(trace_id, span_id, int.from_bytes(trace_id[-_RATIO_BYTES:]) < self._bound)
            if not position.sampled:
                return position, None
        else:
            position = Position(parent.trace_id, span_id, sampled=True)
        span = Span(position, None if parent is None else parent.span_id, name, kind, attributes)
        return position, span.began(self._clock)

    def end(self, span: Span, failed: str = "") -> None:
        """Keep a span that ends now; `failed` is the code of what ended it."""
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self.ended += 1
        self._queue.append(span.ended(self._clock, failed))

    def take(self, count_max: int) -> list[Ended]:
        """Return, and forget, the oldest spans that wait."""
        queue = self._queue
        return [queue.popleft() for _ in range(min(count_max, len(queue)))]

    @property
    def waiting(self) -> int:
        """Ended spans that nobody has taken."""
        return len(self._queue)

    def _id(self, count: int) -> bytes:
        while not any(found := self._entropy(count)):
            continue
        return found


def parsed(header: str) -> Position | None:
    """Return what a `traceparent` says; None: it is none, and a new trace begins (W3C Trace Context, 3.2.2.5)."""
    found = _TRACEPARENT.fullmatch(header)
    if found is None or found[1] == _NO_VERSION or (found[5] and found[1] == "00"):
        return None
    trace_id, span_id = bytes.fromhex(found[2]), bytes.fromhex(found[3])
    if not any(trace_id) or not any(span_id):
        return None
    return Position(trace_id, span_id, sampled=bool(int(found[4], 16) & _SAMPLED))
