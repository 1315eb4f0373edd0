"""Reading beside the writer: one thread with a connection of its own, which sees only what is committed."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from gateway.errors import StoreError
from gateway.store.failures import store_error

T = TypeVar("T")

WAITING_MAX: Final = 4_096  # queries that wait; more are refused


class Reader:
    """Runs queries one after the other, each on one snapshot."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._waiting = 0
        self._closed = False

    async def run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `query` returns.

        Raises:
            StoreError: SQLite failed, too many queries wait, or the store is closed.
            EngineError: what `query` raised.
        """
        if self._closed:
            raise StoreError("the store is closed", code="store.closed")
        if self._waiting >= WAITING_MAX:
            raise StoreError("too many queries wait", code="store.overloaded")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._snapshot, query)
        except sqlite3.Error as err:
            raise store_error(err) from err
        finally:
            self._waiting -= 1

    def _snapshot(self, query: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("BEGIN")
        try:
            return query(self._connection)
        finally:
            self._connection.execute("ROLLBACK")

    @property
    def waiting(self) -> int:
        """Queries that are under way or wait."""
        return self._waiting

    def stop(self) -> None:
        """Take no more queries; on the loop that asks."""
        self._closed = True

    def close(self) -> None:
        """Let the queries end; blocks meanwhile."""
        self._executor.shutdown(wait=True)
        self._connection.close()
