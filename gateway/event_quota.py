"""How many events of the audit log one principal may cause by calls: a bucket each, which fills again with time."""

from dataclasses import dataclass
from typing import Final

from engine.clock import Clock

PRINCIPALS_MAX: Final = 65_536
PER_MINUTE_DEFAULT: Final = 600
_MINUTE_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Bucket:
    """What is left, as of a moment."""

    left: float
    at: float


class EventQuota:
    """Asked before an event is appended. Missions' own events are not counted here: what runs has limits of its own."""

    def __init__(
        self, clock: Clock, per_minute: int = PER_MINUTE_DEFAULT, *, principals_max: int = PRINCIPALS_MAX
    ) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._principals_max = principals_max
        self._buckets: dict[str, _Bucket] = {}

    def adopt(self, per_minute: int) -> None:
        """From now on let everybody cause so many a minute, and as many at once."""
        self._per_minute = per_minute

    def has(self, who: str) -> bool:
        """Return whether `who`, an actor of the log, may cause an event."""
        found = self._bucket(who)
        return found is not None and found.left >= 1

    def take(self, who: str) -> bool:
        """Take one event of what `who` has left, and say whether there was one; False: it must not be appended."""
        found = self._bucket(who)
        if found is None or found.left < 1:
            return False
        found.left -= 1
        return True

    def _bucket(self, who: str) -> _Bucket | None:
        """Return the bucket of `who` as of now; None: there are too many others who have just taken something."""
        now = self._clock.monotonic()
        found = self._buckets.get(who)
        if found is None:
            if len(self._buckets) >= self._principals_max and not self._drop_full(now):
                return None
            found = self._buckets[who] = _Bucket(left=self._per_minute, at=now)
        self._fill(found, now)
        return found

    def _fill(self, bucket: _Bucket, now: float) -> None:
        gained = max(0.0, now - bucket.at) * self._per_minute / _MINUTE_SECONDS
        bucket.left = min(self._per_minute, bucket.left + gained)
        bucket.at = now

    def _drop_full(self, now: float) -> bool:
        """Forget who has taken nothing for a while: a full bucket is as good as none. Say whether that made room."""
        for bucket in self._buckets.values():
            self._fill(bucket, now)
        self._buckets = {who: bucket for who, bucket in self._buckets.items() if bucket.left < self._per_minute}
        return len(self._buckets) < self._principals_max
