"""Keeps the index of an open log up to date: on a thread of its own, in batches, after what was signed."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

from engine.errors import EngineError, FaultError
from gateway.auditing.index import BULK_EVENTS, LogIndex
from gateway.errors import StoreError

LINGER_SECONDS: Final = 0.5  # between batches that nobody waits for
RETRY_SECONDS: Final = 5.0  # after a failure

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class Covered(Protocol):
    """A signed checkpoint; `engine.audit.commit.Covered` is one."""

    @property
    def size(self) -> int:
        """Number of events that it covers."""


class FollowedLog(Protocol):
    """What following needs of a log; `engine.audit.log.AuditLog` is one."""

    async def covered(self, size: int) -> Covered:
        """Wait until the signed checkpoint covers more than `size` events."""


class IndexFollower:
    """The index of one open log, while that is written. All methods are for one event loop."""

    def __init__(
        self,
        directory: Path,
        log: FollowedLog,
        *,
        linger_seconds: float = LINGER_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Index the log in `directory`, once `run` does."""
        self._directory = directory
        self._log = log
        self._linger_seconds = linger_seconds
        self._retry_seconds = retry_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-index")
        self._index: LogIndex | None = None
        self._failure: EngineError | None = None
        self._progress = asyncio.Event()  # replaced each time
        self._wanted = asyncio.Event()
        self.size = 0  # events before this one are in the index
        self.opened = 0  # how often; who reads has to open anew when it changes

    async def run(self) -> None:
        """Follow until cancelled, or until the log is dead. What fails is told to who waits, and tried again."""
        try:
            while True:
                try:
                    await self._follow()
                except StoreError as error:
                    _LOG.exception("the index of the audit log cannot be written; the log itself is not concerned")
                    self._fail(error)
                    await self._close_index()
                    await asyncio.sleep(self._retry_seconds)
        except EngineError as error:  # the log is closed or dead, or no log any more: there is nothing to follow
            self._fail(error)
        finally:
            await self._close_index()
            self._thread.shutdown(wait=False)
            if self._failure is None:
                self._fail(FaultError("the gateway stops", code="audit.unavailable"))

    async def beyond(self, seq: int) -> None:
        """Return once the event `seq`, which a checkpoint covers, is in the index.

        Raises:
            EngineError: the index cannot be had now.
        """
        while self.size <= seq:
            if self._failure is not None:
                raise FaultError("the index of the audit log cannot be had", code="audit.index_unavailable")
            progress = self._progress
            self._wanted.set()
            await progress.wait()

    async def _follow(self) -> None:
        index = self._index = await self._do(lambda: LogIndex.open(self._directory))
        self.opened += 1
        self._failure = None
        self._tell(index.size)
        bulk = False
        while True:
            covered = await self._log.covered(index.size)
            if index.size == 0 and covered.size > BULK_EVENTS:
                bulk = True  # lookups come after the rows
            elif not bulk:
                await self._do(index.make_lookups)
            while index.size < covered.size:
                await self._do(lambda stop=covered.size: index.take(stop))  # type: ignore[misc]
                self._tell(index.size)
            if bulk:
                await self._do(index.make_lookups)
                bulk = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger_seconds):
                    await self._wanted.wait()
            self._wanted.clear()

    def _tell(self, size: int) -> None:
        self.size = size
        self._progress.set()
        self._progress = asyncio.Event()

    def _fail(self, error: EngineError) -> None:
        self._failure = error
        self.size = 0
        self._progress.set()
        self._progress = asyncio.Event()

    async def _close_index(self) -> None:
        if self._index is not None:
            index, self._index = self._index, None
            await self._do(index.close)

    async def _do(self, work: Callable[[], _T]) -> _T:
        """Run `work` on the thread; who is cancelled waits for it, since the index is used by one thread at a time."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
