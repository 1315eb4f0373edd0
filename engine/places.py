"""The places of a run: how many attempts run at once, of this run and, where they are shared, of all runs together."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from engine.ports import SharedPlaces

_NO_LIMIT: Final = 1 << 62


class Places:
    """At most `limit` places, of which each running attempt holds one.

    An attempt that waits for something outside gives its place back and comes back for one; those that come back go
    before steps that have not begun. `on_free` is called when a place may be free for someone who was refused one.
    """

    def __init__(self, limit: int, shared: SharedPlaces | None, on_free: Callable[[], None]) -> None:
        self._limit = limit
        self._shared = shared
        self._on_free = on_free
        self._held = 0
        self._away: set[int] = set()  # attempts without a place
        self._returning: OrderedDict[int, list[asyncio.Future[None]]] = OrderedDict()  # an attempt may wait twice
        self.open = True  # False: nobody gets a place, for the run is paused

    @property
    def held(self) -> int:
        """How many attempts have a place."""
        return self._held

    def take(self) -> bool:
        """Take a place for an attempt that begins; False: there is none, or others have waited for it."""
        if self._held >= self._limit or not self.open or self._returning:
            return False
        if self._shared is not None and not self._shared.take():
            return False
        self._held += 1
        return True

    def give_back(self, key: int) -> None:
        """Free the place of an attempt that has ended, unless it was away."""
        if key in self._away:
            self._away.discard(key)
            return
        self._held -= 1
        if self._shared is not None:
            self._shared.give_back()

    def leave(self, key: int) -> None:
        """Free the place of an attempt that is going to wait."""
        if key not in self._away:
            self.give_back(key)
            self._away.add(key)
            self._on_free()

    async def come_back(self, key: int) -> None:
        """Return when an attempt that left has a place again."""
        if key not in self._away:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.setdefault(key, []).append(turn)
        self.readmit()
        await turn

    def readmit(self) -> None:
        """Give free places to attempts that come back."""
        while self._returning and self.open and self._held < self._limit:
            key = next(iter(self._returning))
            turns = [turn for turn in self._returning[key] if not turn.done()]  # done: its waiter was cancelled
            if turns and self._shared is not None and not self._shared.take():
                return
            del self._returning[key]
            if turns:
                self._held += 1
                self._away.discard(key)
            for turn in turns:
                turn.set_result(None)

    def woken(self) -> None:
        """Hear that a shared place is ours: use it, or let it go on to another run."""
        held = self._held
        self.readmit()
        self._on_free()
        if self._held <= held and self._shared is not None and self._shared.take():
            self._shared.give_back()

    def close(self) -> None:
        """Give every shared place back, and hold nobody back: the run has ended, whoever ignores that."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        self._limit = _NO_LIMIT
        self.open = True
        self.readmit()
