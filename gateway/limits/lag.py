"""How late the event loop is, as a task that runs beside the calls finds."""

import asyncio
from typing import Final

from engine.clock import Clock
from gateway.limits.shedding import Shedder

LOOK_SECONDS: Final = 0.05


class LagMeter:
    """Tells a shedder how late a timer was, twenty times a second."""

    def __init__(self, shedder: Shedder, clock: Clock) -> None:
        self._shedder = shedder
        self._now = clock.monotonic

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = self._now() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            now = self._now()
            self._shedder.look(now, max(0.0, now - due))
