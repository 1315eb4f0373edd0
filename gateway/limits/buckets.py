"""Rates: a leaky bucket for each key, as one number (GCRA), in a table that is bounded and forgets only what is full.

A bucket is the moment at which it will be full again, its *theoretical arrival time*. One call moves it by 1/rate; a
call that would move it further ahead than the burst allows is early. A bucket whose moment has passed is full, and so
the same as one that is not there: to forget it gives nobody anything.

Source: ITU-T I.371, Annex A (virtual scheduling).
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from gateway.limits.amounts import Rate

K = TypeVar("K", bound=Hashable)

KEYS_MAX: Final = 65_536
_FORGOTTEN_AT_ONCE: Final = 64  # keys looked at when one is new: the work of a call stays bounded


class Buckets(Generic[K]):
    """One bucket for each key. Where all places of the table are taken by buckets in use, newcomers share one."""

    def __init__(self, *, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._full_at: OrderedDict[K, float] = OrderedDict()  # the one used longest ago at the front
        self._shared_full_at = 0.0

    def __len__(self) -> int:
        return len(self._full_at)

    def early(self, key: K, rate: Rate, now: float) -> float:
        """Return by how many seconds a call comes too early; 0.0: it may be made. Nothing is taken.

        Args:
            key: whose bucket.
            rate: of the bucket, as it is now: it may be another at each call.
            now: monotonic seconds.
        """
        wait = self._moment(key, rate, now) - now - (rate.burst - 1) / rate.per_second
        return wait if wait > 1e-9 else 0.0  # noqa: PLR2004 - a nanosecond is the rounding of the sum

    def take(self, key: K, rate: Rate, now: float) -> None:
        """Take one call out of the bucket; `early` has said that it may be."""
        full_at = max(self._moment(key, rate, now), now) + 1.0 / rate.per_second
        if not self.has_room(key, now):
            self._shared_full_at = full_at
            return
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)

    def has_room(self, key: K, now: float) -> bool:
        """Return whether a key has a bucket of its own, or could have one."""
        return key in self._full_at or len(self._full_at) < self._keys_max or self._forget_full(now)

    def _moment(self, key: K, rate: Rate, now: float) -> float:
        """Return when the bucket of a key is full.

        A bucket of a rate that was another is at most empty: nobody waits for longer than one of now takes to fill.
        """
        empty = now + rate.burst / rate.per_second
        found = self._full_at.get(key)
        if found is not None:
            if found > empty:
                self._full_at[key] = found = empty
            return found
        if self.has_room(key, now):
            return 0.0
        self._shared_full_at = min(self._shared_full_at, empty)
        return self._shared_full_at

    def _forget_full(self, now: float) -> bool:
        """Forget buckets that are full, of those used longest ago; return whether there is room now."""
        for key in [key for key, _ in zip(self._full_at, range(_FORGOTTEN_AT_ONCE), strict=False)]:
            if self._full_at[key] <= now:
                del self._full_at[key]
            else:
                self._full_at.move_to_end(key)  # so that the next look is at others
        return len(self._full_at) < self._keys_max
