"""Who waits for the log to reach a size: futures of any event loop, settled from another thread."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.audit.errors import AuditUnavailableError
from engine.errors import FaultError

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiter:
    """One future, and the event that it waits for."""

    seq: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]


class Waiters:
    """Every method but `answer` is called under the lock of the owner."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []

    def add(self, seq: int) -> asyncio.Future[None]:
        """Return a future of the running loop, which is settled when event `seq` is covered."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(Waiter(seq, loop, future))
        return future

    def forget(self, future: asyncio.Future[None]) -> None:
        """Let go of a future that nobody waits for any more."""
        self._waiting = [waiter for waiter in self._waiting if waiter.future is not future]

    def take(self, size: int | None) -> Sequence[Waiter]:
        """Return, and forget, those whom a log of `size` events serves; None means all."""
        served = [waiter for waiter in self._waiting if size is None or waiter.seq < size]
        if served:
            self._waiting = [] if size is None else [waiter for waiter in self._waiting if waiter.seq >= size]
        return served


def answer(waiters: Sequence[Waiter], failure: str | FaultError | None) -> None:
    """Settle the futures on their loops, with one wake-up of each loop. A text is that of an AuditUnavailableError."""
    for loop in {waiter.loop for waiter in waiters}:
        futures = [waiter.future for waiter in waiters if waiter.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, futures, failure)
        except RuntimeError:  # the loop is closed, and nobody is left to hear it
            _LOG.debug("a waiter's event loop is gone")


def _settle(futures: list[asyncio.Future[None]], failure: str | FaultError | None) -> None:
    for future in futures:
        if future.done():  # cancelled; its event is recorded all the same
            continue
        if failure is None:
            future.set_result(None)
        elif isinstance(failure, str):
            future.set_exception(AuditUnavailableError(failure))
        else:  # each its own: a traceback is added to whatever is raised
            future.set_exception(type(failure)(failure.message, code=failure.code))
