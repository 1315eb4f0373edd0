"""One sink of the audit log: each event that its filter takes is delivered at least once, in order, from the log.

The cursor moves after the sink has acknowledged, never before: a process that is killed in between tells the batch
again. What retention has pruned in the meantime is a gap, which the log is told of before the cursor passes it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import orjson

from engine.errors import EngineError
from engine.values import JsonObject
from gateway.delivery.pump import Pump, Stopped
from gateway.errors import StoreError
from gateway.events import EventType
from gateway.exporting.batches import Batch, BrokenChainError, read_batch
from gateway.exporting.cursors import Cursor, CursorFile
from gateway.exporting.log_port import ReadableLog
from gateway.exporting.ocsf import Projector
from gateway.exporting.sinks import Sink, TooLargeError
from gateway.exporting.type_filter import TypeFilter

_GATEWAY: Final = "gateway"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportState:
    """How an export does, for whoever asks after its health."""

    name: str
    next_seq: int  # the first event that is not delivered
    lag_events: int  # that the log covers and the sink has not acknowledged
    delivered: int  # events, since the start
    last_error: str  # "" while all is well
    stopped: bool  # its cursor is not of this log: somebody has to look


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportParts:
    """What an export stands on. `events_max` is of one batch."""

    name: str
    log: ReadableLog
    sink: Sink
    cursors: CursorFile
    wanted: TypeFilter
    projector: Projector
    chance: Callable[[], float]
    events_max: int
    first_seconds: float = 1.0  # to wait after a first failure
    linger_seconds: float = 1.0  # for company: a batch costs the disk that the log writes to some syncs


class Export:
    """One task for one sink. The log never waits for it."""

    def __init__(self, parts: ExportParts) -> None:
        """Prepare; `start` begins."""
        self._parts = parts
        self._log = parts.log
        self._cursor: Cursor | None = None
        self._checked = False
        self._stopped = ""  # why, for good
        self._events_max = parts.events_max
        self._delivered = 0
        self._pump = Pump(
            f"the export {parts.name!r} of the audit log",
            self._deliver,
            self._rest,
            chance=parts.chance,
            first_seconds=parts.first_seconds,
        )

    @property
    def next_seq(self) -> int:
        """The first event that is not delivered; 0 before the cursor is read."""
        return 0 if self._cursor is None else self._cursor.seq + 1

    @property
    def state(self) -> ExportState:
        """How it does."""
        return ExportState(
            name=self._parts.name,
            next_seq=self.next_seq,
            lag_events=max(0, self._log.size - max(self.next_seq, self._log.first)),
            delivered=self._delivered,
            last_error=self._stopped or self._pump.failing,
            stopped=bool(self._stopped),
        )

    def start(self) -> None:
        """Begin, where the cursor says."""
        self._pump.start()

    async def close(self, drain_seconds: float) -> None:
        """Deliver what the log has by now, for at most so long, and let go of the sink."""
        await self._pump.stop(drain_seconds)
        await self._parts.sink.close()

    async def _deliver(self) -> bool:
        """Deliver one batch and move the cursor behind it; return whether there may be more.

        Raises:
            Stopped: the cursor is not of this log.
            Exception: log, sink or disk fail.
        """
        if not self._checked:
            await self._check()
        try:
            batch = await self._next_batch()
        except BrokenChainError as error:
            raise await self._alarm("audit.cursor_mismatch", str(error)) from error
        if batch is None:
            return False
        try:
            if batch.events:
                await self._parts.sink.deliver(batch.events)
        except TooLargeError:
            await self._too_large(batch)
            return True
        await self._move(batch.cursor)
        self._delivered += len(batch.events)
        self._events_max = min(2 * self._events_max, self._parts.events_max)
        return True

    async def _next_batch(self) -> Batch | None:
        """Read on; past a gap, if retention has made one."""
        first = self._log.first
        if self._cursor is not None and self._cursor.seq + 1 < first:
            await self._pass_gap(first)
        start = self._cursor.seq + 1 if self._cursor is not None else first
        read = partial(
            read_batch,
            self._log,
            start,
            self._cursor.hash if self._cursor is not None else None,
            self._parts.wanted,
            self._parts.projector,
            events_max=self._events_max,
        )
        try:
            return await asyncio.to_thread(read)
        except BrokenChainError:
            if self._log.first > start:  # pruned while it was read
                raise StoreError("the log was pruned", code="audit.pruned") from None
            raise

    async def _check(self) -> None:
        """Hold the cursor to the log: the line that it names has its hash.

        Raises:
            Stopped: it is not of this log, or cannot be read.
        """
        try:
            cursor = await asyncio.to_thread(self._parts.cursors.read)
        except StoreError as error:
            raise await self._alarm(error.code, error.message) from error
        if cursor is not None and cursor.seq >= self._log.size:
            message = f"the cursor is at event {cursor.seq}, and the log has {self._log.size}"
            raise await self._alarm("audit.cursor_mismatch", message)
        if cursor is not None and cursor.seq >= self._log.first:
            line = await self._line(cursor.seq)
            if line["hash"] != cursor.hash:
                raise await self._alarm("audit.cursor_mismatch", f"event {cursor.seq} is another one")
        self._cursor = cursor
        self._checked = True

    async def _line(self, seq: int) -> dict[str, str]:
        """Return the event of a seq, parsed.

        Raises:
            StoreError: it is not there any more.
        """
        lines = await asyncio.to_thread(lambda: list(islice(self._log.read(seq, 1), 1)))
        if not lines:
            raise StoreError(f"event {seq} is not there", code="audit.pruned")
        event: dict[str, str] = orjson.loads(lines[0])
        return event

    async def _pass_gap(self, first: int) -> None:
        """Tell the log of events that were pruned before they were delivered, then go on behind them."""
        hash_before = (await self._line(first))["previous_hash"]
        await self._tell_gap(self.next_seq, first - 1, "pruned")
        await self._move(Cursor(first - 1, hash_before))

    async def _too_large(self, batch: Batch) -> None:
        """Take less the next time; an event that is too large alone is a gap."""
        if len(batch.events) > 1:
            self._events_max = max(1, len(batch.events) // 2)
            return
        await self._tell_gap(batch.seqs[0], batch.seqs[0], "too_large")
        await self._move(batch.cursor)

    async def _tell_gap(self, first: int, last: int, reason: str) -> None:
        _LOG.error("the export %r of the audit log will never have events %d to %d", self._parts.name, first, last)
        details: JsonObject = {"export": self._parts.name, "first": first, "last": last, "reason": reason}
        await self._record(EventType.EXPORT_GAP, details)

    async def _move(self, cursor: Cursor) -> None:
        await asyncio.to_thread(self._parts.cursors.write, cursor)
        self._cursor = cursor

    async def _alarm(self, code: str, message: str) -> Stopped:
        """Say, loudly and once, that this sink is told nothing until somebody has looked; the log goes on."""
        self._stopped = f"{code}: {message}"
        _LOG.critical("the export %r of the audit log stops: %s", self._parts.name, message)
        try:
            await self._record(EventType.EXPORT_STOPPED, {"export": self._parts.name, "code": code})
        except EngineError:
            _LOG.exception("and the audit log does not take it")
        return Stopped(self._stopped)

    async def _record(self, event: EventType, details: JsonObject) -> None:
        target = f"exports/{self._parts.name}"
        await self._log.durable(self._log.append(event, actor=_GATEWAY, target=target, details=details))

    async def _rest(self) -> None:
        """Wait for an event, and for more of them; a stop cuts this short."""
        await self._log.covered(self._cursor.seq + 1 if self._cursor is not None else self._log.first)
        await asyncio.sleep(self._parts.linger_seconds)
