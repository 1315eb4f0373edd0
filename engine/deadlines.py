"""Many deadlines behind one armed timer of the event loop.

`asyncio.timeout` makes a context manager, a loop handle and two heap operations for each step (about 3 µs);
nearly all of them never fire. Here a deadline is one entry of a dictionary, most are forgotten before the timer fires
even once, and only those that are left then go into a heap. A deadline is still met exactly: the timer is never armed
for later than the earliest of all.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

_STALE_ENTRIES_MIN: Final = 64  # below that, forgotten entries of the heap are not worth a sweep


class Deadlines:
    """Calls `expired(key)` when the deadline of a key has come, in the order of the deadlines, then of the keys.

    Time is the loop's own. A key has at most one deadline. `expired` must not raise; it may set, forget and close.
    """

    __slots__ = ("_armed_for", "_expired", "_fresh", "_handle", "_heap", "_loop", "_sorted", "_time")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[int], None]) -> None:
        self._loop = loop
        self._time = loop.time
        self._expired = expired
        self._fresh: dict[int, float] = {}  # key → when, of those set since the timer fired
        self._sorted: dict[int, float] = {}  # of those in the heap, where an entry that differs is stale
        self._heap: list[tuple[float, int]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")

    def __len__(self) -> int:
        return len(self._fresh) + len(self._sorted)

    def set(self, key: int, seconds: float) -> None:
        """Let the deadline of `key` be `seconds` from now, in place of any that it had."""
        when = self._time() + seconds
        self._fresh[key] = when
        if self._sorted:
            self._sorted.pop(key, None)
        if when < self._armed_for:
            self._arm(when)

    def forget(self, key: int) -> bool:
        """Let `key` have no deadline; return whether the one it had was over, the timer being late."""
        when = self._fresh.pop(key, None)
        if when is None:
            when = self._sorted.pop(key, None)
        return when is not None and when <= self._time()

    def close(self) -> None:
        """Forget every deadline and release the timer."""
        self._fresh.clear()
        self._sorted.clear()
        self._heap.clear()
        self._disarm()

    def _fire(self) -> None:
        self._disarm()
        self._sort()
        now = self._time()
        while (key := self._pop_due(now)) is not None:
            self._expired(key)
        if self._heap and self._heap[0][0] < self._armed_for:  # a handler may have set an earlier one
            self._arm(self._heap[0][0])

    def _sort(self) -> None:
        """Put what was set since the last time into the heap, which stays within twice what is live."""
        for key, when in self._fresh.items():
            heappush(self._heap, (when, key))
        self._sorted.update(self._fresh)
        self._fresh.clear()
        if len(self._heap) > 2 * len(self._sorted) + _STALE_ENTRIES_MIN:
            self._heap = [(when, key) for when, key in self._heap if self._sorted.get(key) == when]
            heapify(self._heap)

    def _pop_due(self, now: float) -> int | None:
        """Take the earliest deadline off the heap if it has come; stale entries before it go as well."""
        heap, due = self._heap, self._sorted
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

    def _arm(self, when: float) -> None:
        self._disarm()
        self._handle = self._loop.call_at(when, self._fire)
        self._armed_for = when

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = float("inf")
