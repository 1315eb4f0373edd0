"""One timer for everything that expires: it rings for what is due, and costs nothing while nothing is watched."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime
from typing import Final

from engine.clock import Clock

LOOK_SECONDS_MAX: Final = 60.0  # wall time may step: the next moment is worked out anew at least this often
_SLACK: Final = 64  # entries of what is no longer watched that may stay


class Expiry:
    """Calls `due` with each name whose moment has come, once."""

    def __init__(self, clock: Clock, due: Callable[[str], None]) -> None:
        self._clock = clock
        self._due = due
        self._moments: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []  # also what is forgotten, until it comes up
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, name: str, moment: datetime) -> None:
        """Ring for `name` at `moment`, or as soon as can be where that is past."""
        self._moments[name] = moment
        heapq.heappush(self._heap, (moment, name))
        self._arm()

    def forget(self, name: str) -> None:
        """Do not ring for `name`."""
        self._moments.pop(name, None)
        if len(self._heap) > 2 * len(self._moments) + _SLACK:
            self._heap = [(moment, each) for each, moment in self._moments.items()]
            heapq.heapify(self._heap)
        if not self._moments:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._moments:
            seconds = (self._heap[0][0] - self._clock.now()).total_seconds()
            delay = min(max(seconds, 0.0), LOOK_SECONDS_MAX)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        now = self._clock.now()
        while self._heap and (self._heap[0][0] <= now or self._moments.get(self._heap[0][1]) != self._heap[0][0]):
            moment, name = heapq.heappop(self._heap)
            if self._moments.get(name) == moment:
                del self._moments[name]
                self._due(name)
        self._arm()
