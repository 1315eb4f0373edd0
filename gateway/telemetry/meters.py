"""Counts and times of one gateway since its start, cheap to keep: plain numbers that are made into text when asked for.

Each table has a maximum of series; what is beyond it is counted under `OTHER`, so that no client makes memory grow.
"""

import threading
from collections.abc import Iterator
from typing import Final, TypeAlias

from engine.constraints.statistics import LatencyHistogram

OTHER: Final = "other"
SERIES_MAX: Final = 1_024  # of one table
_US_PER_SECOND: Final = 1e6

Labels: TypeAlias = tuple[str, ...]


class Times:
    """How often something has ended, and how long it took, by labels. Any thread may count."""

    def __init__(self, *labels: str, series_max: int = SERIES_MAX) -> None:
        """Prepare; `labels` are the names."""
        self.labels: Final = labels
        self._series_max = series_max
        self._other: Labels = (OTHER,) * len(labels)
        self._series: dict[Labels, LatencyHistogram] = {}
        self._lock = threading.Lock()

    def add(self, values: Labels, seconds: float) -> None:
        """Count one that took so long; a clock that was set back counts as nothing."""
        with self._lock:
            series = self._series.get(values)
            if series is None:
                if len(self._series) >= self._series_max:
                    values = self._other
                series = self._series.setdefault(values, LatencyHistogram())
            series.add(max(0, int(seconds * _US_PER_SECOND)))

    def series(self) -> Iterator[tuple[Labels, tuple[int, ...], int]]:
        """Yield the labels of each series, its counts by bucket (`LATENCY_BUCKETS_US`), and its sum in µs."""
        with self._lock:
            found = [(values, tuple(each.counts), each.sum_us) for values, each in self._series.items()]
        yield from found


class Meters:
    """All that is counted as it happens; what is only looked at is in `gateway.telemetry.readings`."""

    def __init__(self) -> None:
        self.stages = Times("stage", "outcome")
        self.runs = Times("profile", "outcome")
        self.calls = Times("method", "type", "code")
        self.steps = Times("kind", "status")
        self.missions = Times("status")
        self.loop_lag = Times()
        self.calls_under_way = 0
