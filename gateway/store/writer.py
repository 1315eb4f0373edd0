"""The one writer: a thread that puts the operations of many callers into one transaction, one fsync for all.

While a commit waits for the disk, the next operations gather, so batches grow with load and a lone caller never
waits for company. Operations run in the order in which they were submitted, each in a savepoint: one that fails
takes only itself back. No caller hears anything, a refusal included, before the transaction is on the disk: what a
refusal was based on might otherwise vanish.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from engine.errors import EngineError
from gateway.errors import StoreError
from gateway.store.failures import ends_the_store, store_error

T = TypeVar("T")

BATCH_MAX: Final = 256  # operations in one transaction
PENDING_MAX: Final = 16_384  # operations that wait; more are refused

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Task:
    """One operation and its answer, on the way from the loop to the thread and back."""

    operation: Callable[[sqlite3.Connection], Any]
    future: "asyncio.Future[Any]"
    between: bool = False  # transactions, and in none
    result: Any = None
    error: EngineError | None = None

    def settle(self) -> None:
        """Give the answer; on the future's loop. A caller that was cancelled wants none: its operation stands."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupCommitWriter:
    """Owns the writing connection. Once an error leaves doubt about the file, every later operation is refused."""

    def __init__(self, connection: sqlite3.Connection, *, pending_max: int = PENDING_MAX) -> None:
        self._connection = connection
        self._pending_max = pending_max
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._door = threading.Lock()  # nothing is queued behind the end
        self._closed = False
        self._dead = False
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def dead(self) -> bool:
        """Whether every operation is refused, because of an error after which the file has to be opened anew."""
        return self._dead

    def submit(self, operation: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Queue `operation`; the future gives its result once it is durable.

        Raises:
            StoreError: `store.closed`, or `store.overloaded`, too many operations wait. The future raises what the
                operation raised, or a StoreError where it could not be made durable.
        """
        return self._queued(operation, between=False)

    def between(self, operation: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Queue `operation`, which runs in no transaction once everything before it is durable; as `submit`."""
        return self._queued(operation, between=True)

    def _queued(self, operation: Callable[[sqlite3.Connection], T], *, between: bool) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._door:
            if self._closed:
                raise StoreError("the store is closed", code="store.closed")
            if self._queue.qsize() >= self._pending_max:
                raise StoreError("too many operations wait for the disk", code="store.overloaded")
            self._queue.put(_Task(operation, future, between))
        return future

    @property
    def waiting(self) -> int:
        """Operations that wait for the thread."""
        return self._queue.qsize()

    def close(self) -> None:
        """Commit what was submitted, then end; blocks meanwhile."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        going = True
        while going:
            batch, going = self._gather()
            if inside := [task for task in batch if not task.between]:
                self._commit(inside)
                _settle(inside)
            for task in batch:
                if task.between:
                    self._run_between(task)
                    _settle([task])
        self._connection.close()

    def _gather(self) -> tuple[list[_Task], bool]:
        """Return what waits, at least one task, and whether there is more to come."""
        batch: list[_Task] = []
        task = self._queue.get()
        while task is not None:
            batch.append(task)
            if len(batch) >= BATCH_MAX:
                return batch, True
            try:
                task = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Task]) -> None:
        """Run the batch as one transaction; where that fails, the whole batch has failed."""
        if self._dead:
            self._fail(batch, StoreError("the store had an error and must be opened anew"), None)
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for task in batch:
                self._run(task)
            self._connection.execute("COMMIT")
        except sqlite3.Error as err:
            self._dead = ends_the_store(err)
            _log.error("a transaction of %d operations failed: %s", len(batch), err)
            self._fail(batch, store_error(err), err)

    def _run(self, task: _Task) -> None:
        """Run one operation in a savepoint.

        Raises:
            sqlite3.Error: the transaction is lost, and with it everything before.
        """
        self._connection.execute("SAVEPOINT operation")
        try:
            task.result = task.operation(self._connection)
        except EngineError as err:
            task.error = err
        except sqlite3.Error as err:
            if ends_the_store(err) or not self._connection.in_transaction:  # SQLITE_FULL may have rolled back
                raise
            task.error = store_error(err)
            task.error.__cause__ = err
        except Exception as err:  # noqa: BLE001 - a bug in one operation must not end the thread that all wait for
            _log.exception("an operation of the store failed unexpectedly")
            task.error = StoreError("the store failed", code="store.internal")
            task.error.__cause__ = err
        if task.error is not None:
            self._connection.execute("ROLLBACK TO operation")
        self._connection.execute("RELEASE operation")

    def _run_between(self, task: _Task) -> None:
        """Run one operation in no transaction; nothing of another can be lost by it."""
        if self._dead:
            self._fail([task], StoreError("the store had an error and must be opened anew"), None)
            return
        try:
            task.result = task.operation(self._connection)
        except EngineError as err:
            task.error = err
        except sqlite3.Error as err:
            self._dead = ends_the_store(err)
            self._fail([task], store_error(err), err)

    def _fail(self, batch: list[_Task], error: StoreError, cause: sqlite3.Error | None) -> None:
        """Take the transaction back and give every caller an error of its own."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        for task in batch:
            task.error = StoreError(error.message, code=error.code)
            task.error.__cause__ = cause


def _settle(batch: list[_Task]) -> None:
    """Wake each caller's loop once for all its tasks."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Task]] = {}
    for task in batch:
        by_loop.setdefault(task.future.get_loop(), []).append(task)
    for loop, tasks in by_loop.items():
        with contextlib.suppress(RuntimeError):  # a loop that is closed has nobody who waits
            loop.call_soon_threadsafe(_settle_all, tasks)


def _settle_all(tasks: list[_Task]) -> None:
    for task in tasks:
        task.settle()
