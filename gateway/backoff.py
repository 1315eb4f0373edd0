"""How long who was not served waits before the next try."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Doubles from `first_seconds` to `seconds_max`; each wait is 50 to 100 % of that, so that no two keep step."""

    first_seconds: float
    seconds_max: float
    chance: Callable[[], float]  # from 0 to 1
    failures: int = 0

    def next_seconds(self) -> float:
        """Count a failure, and return how long to wait."""
        whole = min(self.first_seconds * 2.0 ** min(self.failures, 32), self.seconds_max)
        self.failures += 1
        return whole * (0.5 + self.chance() / 2)

    def reset(self) -> None:
        """Forget the failures."""
        self.failures = 0
