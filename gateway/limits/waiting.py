"""How long work waits on its way, as a task that runs beside the calls finds."""

import asyncio
from collections.abc import Callable
from typing import Final

from engine.clock import Clock
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import BOUNDED, Shedder, Waited

LOOK_SECONDS: Final = 0.05


class WaitMeter:
    """Tells a shedder, twenty times a second, how late a timer was, or how long calls wait where that is more."""

    def __init__(self, shedder: Shedder, clock: Clock, waits: Callable[[CallKind], Waited]) -> None:
        self._shedder = shedder
        self._now = clock.monotonic
        self._waits = waits

    async def run(self) -> None:
        """Look until cancelled; then nothing is shed any more."""
        try:
            while True:
                due = self._now() + LOOK_SECONDS
                await asyncio.sleep(LOOK_SECONDS)
                now = self._now()
                self._shedder.look(now, {kind: _at_least(now - due, self._waits(kind)) for kind in BOUNDED})
        finally:
            self._shedder.widen()


def _at_least(late: float, waited: Waited) -> Waited:
    return Waited(whole=max(late, waited.whole), inside=max(late, waited.inside))
