"""Clocks that a test moves."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class HandClock:
    """Monotonic seconds and CPU µs, which pass when the test says so; counts its reads."""

    seconds: float = 100.0
    cpu_us: int = 0
    reads: int = 0
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime(2026, 1, 31, tzinfo=UTC)

    def monotonic(self) -> float:
        self.reads += 1
        return self.seconds

    def cpu(self) -> int:
        return self.cpu_us

    def work(self, ms: float, *, cpu: bool = True) -> None:
        """Let time pass, and CPU time with it."""
        self.seconds += ms / 1e3
        if cpu:
            self.cpu_us += int(ms * 1e3)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.slept.append(seconds)
        self.seconds += seconds
