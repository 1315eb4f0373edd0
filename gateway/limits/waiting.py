"""How long work waits on its way, as a task that runs beside the calls finds."""

import asyncio
from collections.abc import Callable
from typing import Final

from engine.clock import Clock
from gateway.limits.shedding import Shedder

LOOK_SECONDS: Final = 0.05


class WaitMeter:
    """Tells a shedder, twenty times a second, how late a timer was, or how long calls wait where that is more."""

    def __init__(self, shedder: Shedder, clock: Clock) -> None:
        self._shedder = shedder
        self._now = clock.monotonic
        self._waits: list[Callable[[], float]] = []

    def ask(self, wait_seconds: Callable[[], float]) -> None:
        """From now on ask this as well: for how long calls wait."""
        self._waits.append(wait_seconds)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = self._now() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            now = self._now()
            self._shedder.look(now, max(0.0, now - due, *(wait() for wait in self._waits)))
