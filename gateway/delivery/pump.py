"""One task that delivers again and again: at once while there is something, later and later while nobody takes it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from gateway.backoff import Backoff

BACKOFF_SECONDS_MAX: Final = 60.0
RETRY_AFTER_SECONDS_MAX: Final = 3_600.0  # what a collector may ask for

_LOG: Final = logging.getLogger(__name__)


class NotTakenError(Exception):
    """The other side has not taken it; `retry_after_seconds`: it wants to be left alone for so long."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Stopped(Exception):  # noqa: N818 - no error of the pump's: the delivery has ended for good, and has told why
    """Delivery ends for good."""


class Pump:
    """Calls `deliver` until it is stopped. What it raises is told once, and what it was about is tried again."""

    def __init__(
        self,
        what: str,
        deliver: Callable[[], Awaitable[bool]],
        rest: Callable[[], Awaitable[object]],
        *,
        chance: Callable[[], float],
        first_seconds: float = 1.0,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            what: delivers, for the operator's log.
            deliver: delivers something, and returns whether there may be more; `Stopped` ends it for good.
            rest: returns when there may be something again.
            chance: a number from 0 to 1, so that many gateways do not come back together.
            first_seconds: to wait after a first failure; doubled with each further one.
        """
        self._what = what
        self._deliver = deliver
        self._rest = rest
        self._waits = Backoff(first_seconds=first_seconds, seconds_max=BACKOFF_SECONDS_MAX, chance=chance)
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failing = ""  # why the last delivery did not work

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Deliver what there is, for so long, then end; one failure ends it as well. A second call does nothing."""
        if self._task is None:
            return
        self._closing.set()
        if drain_seconds:
            await asyncio.wait([self._task], timeout=drain_seconds)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                more = await self._deliver()
            except Stopped as error:
                self.failing = str(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it was, what waits is tried again
                self._failed(f"{type(error).__name__}: {error}")
                if self._closing.is_set():
                    return
                await self._wait_or_close(self._backoff(error))
                continue
            if more:
                self._went_well()
                continue
            if self._closing.is_set():
                return
            await self._rest_or_close()

    def _backoff(self, error: Exception) -> float:
        """Return how long to wait: at least as long as the other side asks for, within a bound."""
        wait = self._waits.next_seconds()
        asked = error.retry_after_seconds if isinstance(error, NotTakenError) else None
        return wait if asked is None else max(wait, min(asked, RETRY_AFTER_SECONDS_MAX))

    async def _wait_or_close(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _rest_or_close(self) -> None:
        """Rest until there is something, or until it closes. What `rest` raises is a failure like any other."""
        resting, closing = asyncio.ensure_future(self._resting()), asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait([resting, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (resting, closing):
                task.cancel()
            await asyncio.wait([resting, closing])

    async def _resting(self) -> None:
        try:
            await self._rest()
        except Exception as error:  # noqa: BLE001 - likewise; a log that is dead, say
            self._failed(f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._backoff(error))

    def _failed(self, why: str) -> None:
        if why != self.failing:
            _LOG.warning("%s: nothing is taken, and events wait: %s", self._what, why)
        self.failing = why

    def _went_well(self) -> None:
        self._waits.reset()
        if self.failing:
            _LOG.warning("%s: events are taken again", self._what)
            self.failing = ""
