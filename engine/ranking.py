"""A queue by rank whose entries may be moved or withdrawn: the lowest rank first, of equal ranks the first come."""

from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K")

_STALE_MAX: Final = 32  # beside as many as there are keys


class Ranking(Generic[K]):
    """Keys with ranks. Every operation is O(log n), amortised, and memory follows the number of keys.

    What is moved or withdrawn stays in the heap until it comes up, or until such entries are the greater part.
    """

    __slots__ = ("_entries", "_heap", "_serial")

    def __init__(self) -> None:
        self._entries: dict[K, tuple[tuple[int, ...], int, K]] = {}  # the one entry of each key that counts
        self._heap: list[tuple[tuple[int, ...], int, K]] = []
        self._serial = 0  # unique, so that keys are never compared

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def put(self, key: K, *rank: int) -> None:
        """Enter `key`, or move it, behind those of the same rank. Ranks of one queue have one length."""
        self._serial += 1
        self._entries[key] = entry = (rank, self._serial, key)
        heappush(self._heap, entry)
        self._shrink()

    def discard(self, key: K) -> None:
        """Withdraw `key`, if it is there."""
        if self._entries.pop(key, None) is not None:
            self._shrink()

    def pop(self) -> K:
        """Take the first key out.

        Raises:
            IndexError: there is none.
        """
        while True:
            entry = heappop(self._heap)
            if self._entries.get(entry[2]) is entry:
                del self._entries[entry[2]]
                return entry[2]

    def _shrink(self) -> None:
        if len(self._heap) > 2 * len(self._entries) + _STALE_MAX:
            self._heap = list(self._entries.values())
            heapify(self._heap)
