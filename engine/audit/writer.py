"""The writer's thread: a bounded queue of lines, group commit, rotation, and the waiters that a checkpoint wakes."""

import asyncio
import contextlib
import logging
import math
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from engine.audit.commit import BATCH_EVENTS_MAX, Committer, Covered
from engine.audit.errors import AuditOverloadedError, AuditUnavailableError
from engine.audit.waiters import Waiter, Waiters, answer
from engine.clock import Clock

_LOG: Final = logging.getLogger(__name__)
_FULL: Final = "the disk of the audit log is full; make room, and open it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLimits:
    """How much the log holds back, and for how long. Every field is a maximum."""

    linger_ms_max: int = 80  # wait for company; leaves 20 of the 100 ms between checkpoints to the disk
    batch_events_max: int = BATCH_EVENTS_MAX  # lines under one checkpoint; at most BATCH_EVENTS_MAX
    queue_events_max: int = 65_536  # lines in memory, not yet with the disk
    queue_bytes_max: int = 64 * 1024 * 1024
    segment_bytes_max: int = 64 * 1024 * 1024  # a segment that has as many is closed, and the next begins
    segment_seconds_max: float = 24 * 3_600.0  # likewise one whose first event is as old
    heartbeat_seconds: float = 300.0  # without an event; then the log writes one of its own
    quiet: bool = False  # no event of the log's own beside those of opening: what is appended last stays the last
    witness_seconds_max: float = 10.0  # that an acknowledgement of level `witnessed` waits for witnesses


class OwnEvents(Protocol):
    """The events that the log writes of itself, as lines that follow the chain. Called under the writer's lock."""

    def heartbeat(self) -> bytes:
        """Return the line that says: nothing has happened."""

    def disk_full(self, last: bytes, dropped: int) -> bytes:
        """Return the line that ends the log after the line `last`; `dropped` lines were queued, and are lost."""


class Writer:
    """Commits queued lines in order. `lock` guards every field but `covered`, and whatever makes the lines."""

    def __init__(
        self,
        committer: Committer,
        covered: Covered,
        *,
        clock: Clock,
        limits: AuditLimits,
        own: OwnEvents,
        release: Callable[[], None],
    ) -> None:
        """Prepare; `start` starts the thread.

        Args:
            committer: the open files; the thread closes them.
            covered: what the log holds so far.
            clock: for the linger, the heartbeat and the age of segments.
            limits: of queue, batch and segment.
            own: makes the log's own events.
            release: lets go of the log; called by the thread when it has written its last, and not before.
        """
        self.lock = threading.Lock()
        self.covered = covered  # replaced whole, so that readers need no lock
        self._changed = threading.Condition(self.lock)
        self._committer = committer
        self._clock = clock
        self._limits = limits
        self._own = own
        self._release = release
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._queued_at = 0.0  # monotonic seconds, of the first line in the queue
        self._taken_at = clock.monotonic()  # of the last batch
        self._taken = covered.size  # seq of the first line in the queue, or of the next line
        self._urgent = -1  # the highest seq that somebody waits for
        self._dropped_from = sys.maxsize  # seqs from here on were given to lines that are lost, and may be given again
        self._waiters = Waiters()
        self._closing = False
        self._failure: str | None = None
        # A daemon: a process that ends without close() is a crash, for which the log is made, and must not hang.
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether lines are taken; where not, that is for good. Any thread may ask."""
        return self._failure is None and not self._closing

    def check_open(self) -> None:
        """Raise unless one more line may be queued. Called under `lock`.

        Raises:
            AuditUnavailableError: the writer is dead or closing.
            AuditOverloadedError: the queue is full.
        """
        if self._failure is not None or self._closing:
            raise AuditUnavailableError(self._failure or "the audit log is closed")
        if len(self._queue) >= self._limits.queue_events_max or self._queue_bytes >= self._limits.queue_bytes_max:
            raise AuditOverloadedError("the audit log has more to write than the disk keeps up with")

    def push(self, line: bytes) -> None:
        """Queue a line. Called under `lock`, right after `check_open`."""
        queue = self._queue
        queue.append(line)
        self._queue_bytes += len(line)
        if len(queue) == 1:
            self._queued_at = self._clock.monotonic()
            self._changed.notify()
        elif len(queue) == self._limits.batch_events_max:
            self._changed.notify()

    async def durable(self, seq: int) -> None:
        """Wait for a checkpoint over `seq`, and have it made at once.

        Raises:
            AuditUnavailableError: it will not be made.
            ValueError: no event has that seq.
        """
        if self._is_covered(seq):
            return
        with self.lock:
            if self._is_covered(seq):
                return
            if self._failure is not None:
                raise AuditUnavailableError(self._failure)
            if seq >= self._taken + len(self._queue):
                raise ValueError(f"there is no event {seq}")
            future = self._waiters.add(seq)
            if seq > self._urgent:
                self._urgent = seq
                self._changed.notify()
        await future

    async def beyond(self, size: int) -> Covered:
        """Wait until the checkpoint covers more than `size` events, however long that takes, and return it.

        Raises:
            AuditUnavailableError: the writer is dead or closed, and it covers no more.
        """
        while self.covered.size <= size:
            with self.lock:
                if self._failure is not None or self._closing:
                    raise AuditUnavailableError(self._failure or "the audit log is closed")
                future = self._waiters.add(size)
            try:
                await future
            except AuditUnavailableError:
                if self.covered.size <= size:
                    raise
        return self.covered

    async def close(self) -> None:
        """Commit what is queued, end the thread, close the files.

        Raises:
            AuditUnavailableError: the writer died, now or before.
        """
        with self.lock:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        if self._failure is not None:
            raise AuditUnavailableError(self._failure)

    def _is_covered(self, seq: int) -> bool:
        """Whether the checkpoint covers what was appended as `seq`, and not another line that has its number."""
        return seq < self.covered.size and seq < self._dropped_from

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                if self._committer.reserve.spent_by(_bytes(batch)):
                    self._end_on_full_disk(batch)
                    break
                self._commit(batch)
                self._rotate_if_due()
            self._end("the audit log is closed", self._failure)
        except BaseException as error:  # noqa: BLE001 - also a panic of the signer's library: whatever it is, we stop
            _LOG.critical("the audit log stops: it could not be written", exc_info=error)
            failure = "the audit log cannot be written; it has to be opened, and thereby verified, again"
            self._end(failure, failure)
        finally:
            with contextlib.suppress(OSError):  # what matters is synced
                self._committer.close()
            self._release()

    def _commit(self, batch: list[bytes]) -> None:
        self.covered = self._committer.commit(batch)
        with self.lock:
            served = self._waiters.take(self.covered.size)
        answer(served, None)

    def _rotate_if_due(self) -> None:
        limits = self._limits
        now = self._clock.now()
        if self._committer.is_due(now, bytes_max=limits.segment_bytes_max, seconds_max=limits.segment_seconds_max):
            self._committer.rotate(self.covered)

    def _next_batch(self) -> list[bytes]:
        """Wait until a batch is due and take it; an empty one means closed."""
        limits = self._limits
        with self.lock:
            while not self._due():
                if self._queue:
                    left = self._queued_at + limits.linger_ms_max / 1000 - self._clock.monotonic()
                    if left <= 0:
                        break
                else:
                    silent = math.inf if limits.quiet else limits.heartbeat_seconds
                    left = self._taken_at + silent - self._clock.monotonic()
                    if left <= 0:
                        self.push(self._own.heartbeat())
                        break
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            batch = self._queue[: limits.batch_events_max]
            del self._queue[: len(batch)]
            self._taken += len(batch)
            self._queue_bytes -= sum(map(len, batch))
            self._queued_at = self._taken_at = self._clock.monotonic()
            return batch

    def _due(self) -> bool:
        if not self._queue:
            return self._closing
        return self._closing or self._urgent >= self._taken or len(self._queue) >= self._limits.batch_events_max

    def _end_on_full_disk(self, batch: list[bytes]) -> None:
        """Say in the log why it ends, in the space that was kept for that; what was queued goes first, if it fits."""
        _LOG.critical("the audit log stops: its disk is full")
        with self.lock:
            self._failure = _FULL
            if self._limits.quiet:
                return
            lines = batch + self._queue
            self._queue.clear()
            dropped = 0 if self._committer.reserve.holds(_bytes(lines)) else len(lines)
            sent_away = self._drop() if dropped else ()
        try:
            self._committer.reserve.release()
            del lines[len(lines) - dropped :]
            lines.append(self._own.disk_full(lines[-1] if lines else self._committer.last_line, dropped))
            for start in range(0, len(lines), BATCH_EVENTS_MAX):
                self._commit(lines[start : start + BATCH_EVENTS_MAX])
        finally:
            answer(sent_away, _FULL)

    def _drop(self) -> Sequence[Waiter]:
        """Say that every line that is not covered is lost, and return who waited for one. Called under `lock`.

        The event that tells of it gets the seq of the first of them: who waits for that one must not be served by it.
        """
        self._dropped_from = self.covered.size
        return self._waiters.take(None)

    def _end(self, told: str, failure: str | None) -> None:
        """Refuse everything from now on: what the disk holds is unknown until the log is opened again."""
        with self.lock:
            self._failure = failure
            self._closing = True
            self._queue.clear()
            waiting = self._waiters.take(None)
        answer(waiting, failure or told)


def _bytes(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + len(lines)
