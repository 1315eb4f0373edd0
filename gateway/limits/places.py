"""Counts of what is held at once, by key; a key that holds nothing takes no room."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Places(Generic[K]):
    """How many each key holds. Whoever adds takes away again: the sum can only come back to nothing."""

    def __init__(self) -> None:
        self._held: dict[K, int] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._held)

    def held(self, key: K) -> int:
        """Return how many a key holds."""
        return self._held.get(key, 0)

    def add(self, key: K, count: int = 1) -> None:
        """Count so many more."""
        if count:
            self._held[key] = self._held.get(key, 0) + count
            self.total += count

    def remove(self, key: K, count: int = 1) -> None:
        """Count so many less.

        Raises:
            ValueError: the key does not hold as many.
        """
        if not count:
            return
        left = self._held.get(key, 0) - count
        if left < 0:
            raise ValueError("more is given back than was taken")
        if left:
            self._held[key] = left
        else:
            del self._held[key]
        self.total -= count
