"""Decisions on their way to the disk: a bounded queue on the loop, written in batches by one thread.

Nobody waits for the disk, but for room in the queue. Where the disk refuses, nothing is dropped and nothing is decided
until it takes the decisions again: `broken` says so, and `gateway.decisions.recorded` denies. What is lost is the queue
of a process that is killed, some hundredths of a second of decisions, and that of one that is stopped while its disk
refuses, which the log is told.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from engine.clock import Clock, rfc3339
from engine.errors import EngineError
from gateway.decisions.drops import Drops
from gateway.decisions.entry import Entry
from gateway.decisions.keeping import ROWS_MAX, Bounds, erase_mission_some, erase_one, erase_subject_some, prune_some
from gateway.decisions.ledger import Batch, Ledger
from gateway.store.connection import truncate_log
from gateway.store.writer import GroupCommitWriter

T = TypeVar("T")

WAITING_MAX: Final = 4_096  # decisions
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
BATCH_MAX: Final = 512
_GATHER_SECONDS: Final = 0.02  # a transaction costs as much as a dozen decisions
_RETRY_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 60.0
_ENTRY_BYTES: Final = 2_048  # of a decision, its document not counted

_LOG: Final = logging.getLogger(__name__)


class Recorder:
    """The queue. Used on one event loop."""

    def __init__(
        self,
        writer: GroupCommitWriter,
        ledger: Ledger,
        drops: Drops,
        clock: Clock,
        *,
        kept_days: int,
        kept_max: int,
        waiting_max: int = WAITING_MAX,
        waiting_bytes_max: int = WAITING_BYTES_MAX,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            writer: of the records' file, which this one closes.
            ledger: what the writer's thread does.
            drops: hears of events that the outbox had no room for.
            clock: tells what is old.
            kept_days: after which a decision is deleted.
            kept_max: decisions that are kept.
            waiting_max: decisions that wait for the disk; more of them wait to be taken.
            waiting_bytes_max: what those may take.
        """
        self._writer = writer
        self._ledger = ledger
        self._drops = drops
        self._clock = clock
        self._kept_days = timedelta(days=kept_days)
        self._kept_max = kept_max
        self._waiting_max = waiting_max
        self._waiting_bytes_max = waiting_bytes_max
        self._queue: deque[Entry] = deque()
        self._taken = 0  # places: decisions that are asked for, that wait, or that are being written
        self._taken_bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._turn = asyncio.Lock()  # the ledger takes one call at a time
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.broken = ""  # why nothing can be recorded now
        self.recorded = 0

    def start(self) -> None:
        """Begin to write and to prune."""
        self._tasks = [asyncio.create_task(self._write_all()), asyncio.create_task(self._prune_always())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def place(self, document: bytes) -> None:
        """Take a place for a decision, which `put` or `give_back` ends; wait while there is none.

        What is put into it needs no further wait, so a caller who is cancelled cannot have a decision that nobody
        records. Returns at once while `broken`.
        """
        size = len(document) + _ENTRY_BYTES
        while self._taken and not self.broken and not self._has_room(size):
            self._room.clear()
            await self._room.wait()
        self._taken += 1
        self._taken_bytes += size

    def put(self, entry: Entry) -> None:
        """Have a decision recorded."""
        self._queue.append(entry)
        self._filled.set()
        if not self.broken:
            self._settled.clear()

    def give_back(self, document: bytes) -> None:
        """End a place: its decision is recorded, or there is none."""
        self._taken -= 1
        self._taken_bytes -= len(document) + _ENTRY_BYTES
        self._room.set()

    async def settled(self) -> None:
        """Return once everything that was put is recorded, or nothing can be."""
        await self._settled.wait()

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        self._closing = True
        self._filled.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1])
            self._tasks[1].cancel()
            await asyncio.wait(self._tasks[1:])
        await asyncio.to_thread(self._writer.close)

    def _has_room(self, size: int) -> bool:
        return self._taken < self._waiting_max and self._taken_bytes + size <= self._waiting_bytes_max

    async def _write_all(self) -> None:
        while not self._closing or self._queue:
            await self._filled.wait()
            if not self._closing and self._taken < self._waiting_max / 2:
                await asyncio.sleep(_GATHER_SECONDS)
            entries = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
            if not self._queue and not self._closing:
                self._filled.clear()
            if entries:
                await self._write(Batch(entries))
                for entry in entries:
                    self.give_back(entry.document)
            if not self._queue:
                self._settled.set()

    async def _write(self, batch: Batch) -> None:
        """Write a batch, however long it takes; give up only where the gateway stops."""
        while True:
            try:
                dropped = await self.run(partial(self._ledger.write, batch=batch))
            except EngineError as error:
                if not self.broken:
                    _LOG.error("decisions cannot be recorded, so none is taken: %s [%s]", error.message, error.code)
                self._break(error.code)
                if self._closing:
                    _LOG.error("%d decisions were not recorded: the gateway stops", len(batch.entries))
                    return
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                if self.broken:
                    _LOG.warning("decisions can be recorded again")
                self.broken = ""
                self.recorded += len(batch.entries)
                self._drops.count(dropped)
                return

    async def _prune_always(self) -> None:
        while True:
            with suppress(EngineError):  # a disk that refuses is told of where decisions are written
                await self.prune()
            await asyncio.sleep(_PRUNE_SECONDS)

    async def prune(self) -> int:
        """Delete what is old or too much, and return how many decisions that were.

        Raises:
            StoreError: the file does not take it.
        """
        bounds = Bounds(before=rfc3339(self._clock.now() - self._kept_days), kept_max=self._kept_max)
        return await self._delete_all(partial(prune_some, bounds=bounds))

    async def erase_mission(self, mission_id: str) -> int:
        """Delete what is recorded of a mission, and return how many decisions that were.

        Raises:
            StoreError: the file does not take it; some may be deleted.
        """
        return await self._delete_all(partial(erase_mission_some, mission_id=mission_id))

    async def erase_subject(self, tenant: str, subject: str) -> int:
        """Delete what is recorded of what a person asked for; as `erase_mission`."""
        return await self._delete_all(partial(erase_subject_some, tag=self._ledger.tag(tenant, subject)))

    async def erase(self, decision_id: str) -> int:
        """Delete one decision; as `erase_mission`."""
        return await self._delete_all(partial(erase_one, decision_id=decision_id))

    async def scrub(self) -> None:
        """Leave nothing of what was deleted in the write-ahead log.

        Raises:
            StoreError: `store.busy`, somebody has been reading for seconds.
        """
        await self._writer.between(truncate_log)

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `operation` returns once it is written; it has the ledger to itself.

        Raises:
            EngineError: it failed, and nothing of it was written.
        """
        async with self._turn:
            try:
                return await self._writer.submit(operation)
            except EngineError:
                self._ledger.forget()
                raise

    async def _delete_all(self, operation: Callable[[sqlite3.Connection], int]) -> int:
        count = 0
        while True:
            found = await self.run(operation)
            self._ledger.forget()  # a document that it knows may be gone
            count += found
            if found < ROWS_MAX:
                return count

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let nothing be decided any more where the queue's own task has failed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("decisions are recorded no longer", exc_info=error)
            self._break("decisions.failed")

    def _break(self, code: str) -> None:
        """Let nobody wait for what cannot be."""
        self.broken = code
        self._room.set()
        self._settled.set()
