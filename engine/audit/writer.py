"""The writer's thread: a bounded queue of lines, group commit, and the waiters that a checkpoint wakes."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engine.audit.commit import BATCH_EVENTS_MAX, Committer, Covered
from engine.audit.errors import AuditOverloadedError, AuditUnavailableError
from engine.clock import Clock

_LOG: Final = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class _Waiter:
    seq: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]


class Writer:
    """Commits queued lines in order. `lock` guards every field but `covered`, and whatever makes the lines."""

    def __init__(
        self,
        committer: Committer,
        covered: Covered,
        *,
        clock: Clock,
        limits: AuditLimits,
        release: Callable[[], None],
    ) -> None:
        """Start the thread.

        Args:
            committer: the open files; the thread closes them.
            covered: what the log holds so far.
            clock: for the linger.
            limits: of queue and batch.
            release: lets go of the log; called by the thread when it has written its last, and not before.
        """
        self.lock = threading.Lock()
        self.covered = covered  # replaced whole, so that readers need no lock
        self._changed = threading.Condition(self.lock)
        self._committer = committer
        self._clock = clock
        self._limits = limits
        self._release = release
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._queued_at = 0.0  # monotonic seconds, of the first line in the queue
        self._taken = covered.size  # seq of the first line in the queue, or of the next line
        self._urgent = -1  # the highest seq that somebody waits for
        self._waiters: list[_Waiter] = []
        self._closing = False
        self._failure: str | None = None
        # A daemon: a process that ends without close() is a crash, for which the log is made, and must not hang.
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

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
        if seq < self.covered.size:
            return
        loop = asyncio.get_running_loop()
        with self.lock:
            if seq < self.covered.size:
                return
            if self._failure is not None:
                raise AuditUnavailableError(self._failure)
            if seq >= self._taken + len(self._queue):
                raise ValueError(f"there is no event {seq}")
            future = loop.create_future()
            self._waiters.append(_Waiter(seq, loop, future))
            if seq > self._urgent:
                self._urgent = seq
                self._changed.notify()
        await future

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

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self.covered = self._committer.commit(batch)
                self._wake()
        except BaseException as error:  # noqa: BLE001 - also a panic of the signer's library: whatever it is, we stop
            self._die(error)
        finally:
            with contextlib.suppress(OSError):  # what matters is synced
                self._committer.close()
            self._release()

    def _next_batch(self) -> list[bytes]:
        """Wait until a batch is due and take it; an empty one means closed."""
        with self.lock:
            while not self._due():
                left = None
                if self._queue:
                    left = self._queued_at + self._limits.linger_ms_max / 1000 - self._clock.monotonic()
                    if left <= 0:
                        break
                self._changed.wait(left)
            batch = self._queue[: self._limits.batch_events_max]
            del self._queue[: len(batch)]
            self._taken += len(batch)
            self._queue_bytes -= sum(map(len, batch))
            self._queued_at = self._clock.monotonic()
            return batch

    def _due(self) -> bool:
        if not self._queue:
            return self._closing
        return self._closing or self._urgent >= self._taken or len(self._queue) >= self._limits.batch_events_max

    def _wake(self) -> None:
        """Answer the waiters that the new checkpoint covers."""
        size = self.covered.size
        with self.lock:
            served = [waiter for waiter in self._waiters if waiter.seq < size]
            if served:
                self._waiters = [waiter for waiter in self._waiters if waiter.seq >= size]
        _answer(served, None)

    def _die(self, error: BaseException) -> None:
        """Refuse everything from now on: what the disk holds is unknown until the log is opened again."""
        _LOG.critical("the audit log stops: it could not be written", exc_info=error)
        failure = "the audit log cannot be written; it has to be opened, and thereby verified, again"
        with self.lock:
            self._failure = failure
            self._queue.clear()
            waiters, self._waiters = self._waiters, []
        _answer(waiters, failure)


def _answer(waiters: list[_Waiter], failure: str | None) -> None:
    """Settle the futures on their loops, with one wake-up of each loop."""
    for loop in {waiter.loop for waiter in waiters}:
        futures = [waiter.future for waiter in waiters if waiter.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, futures, failure)
        except RuntimeError:  # the loop is closed, and nobody is left to hear it
            _LOG.debug("a waiter's event loop is gone")


def _settle(futures: list[asyncio.Future[None]], failure: str | None) -> None:
    for future in futures:
        if future.done():  # cancelled; its event is recorded all the same
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(AuditUnavailableError(failure))
