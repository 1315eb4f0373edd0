"""How many events of the audit log one principal may cause by calls."""

from typing import Final

from engine.clock import Clock
from gateway.limits.amounts import Rate
from gateway.limits.buckets import KEYS_MAX, Buckets

PER_MINUTE_DEFAULT: Final = 600
_MINUTE_SECONDS: Final = 60.0


class EventQuota:
    """Asked before an event is appended. Missions' own events are not counted here: what runs has limits of its own."""

    def __init__(self, clock: Clock, per_minute: int = PER_MINUTE_DEFAULT, *, principals_max: int = KEYS_MAX) -> None:
        self._now = clock.monotonic
        self._buckets: Buckets[str] = Buckets(keys_max=principals_max)
        self.adopt(per_minute)

    def adopt(self, per_minute: int) -> None:
        """From now on let everybody cause so many a minute, and as many at once."""
        self._rate = Rate(per_second=per_minute / _MINUTE_SECONDS, burst=per_minute)

    def has(self, who: str) -> bool:
        """Return whether `who`, an actor of the log, may cause an event: nobody new where too many others just have."""
        now = self._now()
        return self._buckets.has_room(who, now) and not self._buckets.early(who, self._rate, now)

    def take(self, who: str) -> bool:
        """Take one event of what `who` has left, and say whether there was one; False: it must not be appended."""
        if not self.has(who):
            return False
        self._buckets.take(who, self._rate, self._now())
        return True
