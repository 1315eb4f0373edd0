"""Many deadlines behind one armed timer of the event loop.

`asyncio.timeout` makes a context manager, a loop handle and two heap operations for each step (about 3 µs, 500 bytes);
nearly all of them never fire. Here a deadline is one heap entry, forgotten ones are skipped when they come up, and the
loop knows of the earliest only. A deadline is still met exactly: the timer is armed for the earliest of all.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

_STALE_ENTRIES_MIN: Final = 64  # below that, forgotten entries are not worth a sweep


class Deadlines:
    """Calls `expired(key)` when the deadline of a key has come, in the order of the deadlines, then of the keys.

    Time is the loop's own. A key has at most one deadline. `expired` must not raise; it may set, forget and close.
    """

    __slots__ = ("_armed_for", "_due", "_expired", "_handle", "_heap", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[int], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._due: dict[int, float] = {}  # key → when; an entry of the heap that differs is stale
        self._heap: list[tuple[float, int]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: int, seconds: float) -> None:
        """Let the deadline of `key` be `seconds` from now, in place of any that it had."""
        when = self._loop.time() + seconds
        self._due[key] = when
        heappush(self._heap, (when, key))
        if when < self._armed_for:
            self._arm(when)
        elif len(self._heap) > 2 * len(self._due) + _STALE_ENTRIES_MIN:
            self._sweep()

    def forget(self, key: int) -> bool:
        """Let `key` have no deadline; return whether the one it had was over, the timer being late."""
        when = self._due.pop(key, None)
        return when is not None and when <= self._loop.time()

    def close(self) -> None:
        """Forget every deadline and release the timer."""
        self._due.clear()
        self._heap.clear()
        self._disarm()

    def _fire(self) -> None:
        self._disarm()
        now = self._loop.time()
        while (key := self._pop_due(now)) is not None:
            self._expired(key)
        if self._heap:
            self._arm(self._heap[0][0])

    def _pop_due(self, now: float) -> int | None:
        """Take the earliest deadline off the heap if it has come; stale entries before it go as well."""
        heap, due = self._heap, self._due
        while heap:
            when, key = heap[0]
            stale = due.get(key) != when
            if when > now and not stale:
                return None
            heappop(heap)
            if not stale:
                del due[key]
                return key
        return None

    def _sweep(self) -> None:
        """Drop stale entries: the heap stays within twice what is live, at O(1) a deadline."""
        self._heap = [(when, key) for when, key in self._heap if self._due.get(key) == when]
        heapify(self._heap)

    def _arm(self, when: float) -> None:
        self._disarm()
        self._handle = self._loop.call_at(when, self._fire)
        self._armed_for = when

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = float("inf")
