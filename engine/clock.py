"""The clock as a port: time arrives through constructors, so that tests and replay own it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the system may know of time."""

    def now(self) -> datetime:
        """Wall time, aware, UTC; it may step backwards."""

    def monotonic(self) -> float:
        """Seconds that only grow; for durations and deadlines."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Wall time of this machine, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that may

    def monotonic(self) -> float:
        """Monotonic seconds of this machine."""
        return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 with microseconds and Z: `2026-01-31T12:00:00.000000Z`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"  # -6: isoformat spells UTC as +00:00


def thread_cpu_us() -> int:
    """Return the CPU time of the calling thread in µs: what it has computed, however busy the machine is."""
    return time.thread_time_ns() // 1_000
