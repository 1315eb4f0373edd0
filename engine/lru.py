"""A cache that keeps what was used last, within a number of entries and a total cost."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most `entries_max` entries that cost at most `cost_max` together; what was used longest ago goes first.

    None is a value like any other to `put`, and to `get` the same as nothing.
    """

    def __init__(self, entries_max: int, cost_max: int, *, by_use: bool = True) -> None:
        """Prepare an empty cache.

        Args:
            entries_max: of all.
            cost_max: in whatever unit the costs are, bytes for instance.
            by_use: whether what was used longest ago goes first; else what was put there first, used or not.
        """
        if entries_max < 1 or cost_max < 0:
            raise ValueError("entries_max must be at least 1, and cost_max at least 0")
        self.entries_max: Final = entries_max
        self.cost_max: Final = cost_max
        self._by_use: Final = by_use
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()  # the one used last at the end
        self._cost = 0
        self._hits = 0
        self._misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cost(self) -> int:
        """What all entries cost together."""
        return self._cost

    @property
    def hits(self) -> int:
        """How often `get` found its key."""
        return self._hits

    @property
    def misses(self) -> int:
        """How often it did not."""
        return self._misses

    def get(self, key: K) -> V | None:
        """Return the value of `key`, which is now the one used last; None: it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        if self._by_use:
            self._entries.move_to_end(key)
        return entry[0]

    def clear(self) -> None:
        """Let go of everything; what was counted stays counted."""
        self._entries.clear()
        self._cost = 0

    def drop(self, gone: Callable[[K, V], bool]) -> int:
        """Let go of every entry of which `gone` says so, and return how many those were."""
        keys = [key for key, (value, _) in self._entries.items() if gone(key, value)]
        for key in keys:
            self._cost -= self._entries.pop(key)[1]
        return len(keys)

    def put(self, key: K, value: V, cost: int) -> None:
        """Keep `value` in place of what `key` had, and let go of others to make room.

        A value that costs more than `cost_max` by itself is not kept, and nothing else is let go for it.
        """
        if cost < 0:
            raise ValueError("a cost is at least 0")
        if (old := self._entries.pop(key, None)) is not None:
            self._cost -= old[1]
        if cost > self.cost_max:
            return
        self._entries[key] = (value, cost)
        self._cost += cost
        while len(self._entries) > self.entries_max or self._cost > self.cost_max:
            _, (_, freed) = self._entries.popitem(last=False)
            self._cost -= freed
