"""How long ago the source was last heard of, across restarts, and what it said last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from engine.clock import Clock
from engine.errors import EngineError
from gateway.bundles.entry import SourceFailure, archive_digest
from gateway.bundles.sources import Fetched
from gateway.errors import PolicyInvalidError

JITTER: Final = 0.2  # of a wait, either way
_RETRY_SECONDS_MIN: Final = 1.0
_DOUBLINGS_MAX: Final = 20


class Freshness:
    """The age of what the source gave. It is counted by a clock that only grows; from wall time only over a restart."""

    def __init__(self, clock: Clock, *, confirmed: datetime | None, stale_seconds_max: float | None) -> None:
        """Begin; `confirmed` is what an earlier process has written down, None where nobody knows."""
        self._clock = clock
        self._stale_seconds_max = stale_seconds_max
        self._since = clock.monotonic()
        self._age_then: float | None = None  # when `_since` was
        self.confirmed_at = confirmed
        self.failure: SourceFailure | None = None
        self._failures = 0  # in a row
        if confirmed is not None:
            self._age_then = max(0.0, (clock.now() - confirmed).total_seconds())

    def confirm(self) -> datetime:
        """Take note that the source has given, or confirmed, what may be in force; return the moment."""
        self._since, self._age_then = self._clock.monotonic(), 0.0
        self.failure, self._failures = None, 0
        self.confirmed_at = self._clock.now()
        return self.confirmed_at

    def fail(self, error: EngineError) -> None:
        """Take note that it did not."""
        self._failures += 1
        self.failure = SourceFailure(code=error.code, message=error.message, at=self._clock.now())

    def wait_seconds(self, poll_seconds: float, chance: float) -> float:
        """Return how long until the source is asked again: sooner after a failure, at first, and never in step.

        Args:
            poll_seconds: where all is well.
            chance: from 0 to 1.
        """
        seconds = poll_seconds
        if self._failures:
            seconds = min(seconds, _RETRY_SECONDS_MIN * 2.0 ** min(self._failures - 1, _DOUBLINGS_MAX))
        return seconds * (1 - JITTER + 2 * JITTER * chance)

    @property
    def age_seconds(self) -> float | None:
        """Seconds since the source was last confirmed; None where nobody knows."""
        return None if self._age_then is None else self._age_then + self._clock.monotonic() - self._since

    @property
    def stale(self) -> bool:
        """Whether that is too long; what nobody knows is."""
        age = self.age_seconds
        return self._stale_seconds_max is not None and (age is None or age > self._stale_seconds_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the source gave last, and why it was refused, if it was."""

    etag: str = ""
    archive: str = ""  # sha256:<hex>
    refused: PolicyInvalidError | None = None

    @classmethod
    def of(cls, fetched: Fetched) -> "Seen":
        """Return what was fetched as seen, and not refused."""
        return cls(etag=fetched.etag, archive=archive_digest(fetched.archive))
