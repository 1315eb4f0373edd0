"""Counts of what rules have used and how they ended, by rule: bounded, cumulative, cheap to keep."""

import threading
from bisect import bisect_left
from typing import Final

from engine.constraints.violations import ConstraintViolation, SampledOut
from engine.values import JsonValue

RULES_MAX: Final = 4_096
OTHER: Final = "other"  # what all rules beyond that are counted under

LATENCY_BUCKETS_US: Final = (
    10, 25, 50, 100, 250, 500,
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 60_000_000,
)  # fmt: skip
"""Upper bounds, included; what is longer is counted behind the last."""


class LatencyHistogram:
    """How many runs took how long, in fixed buckets."""

    __slots__ = ("counts", "max_us", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BUCKETS_US) + 1)
        self.sum_us = 0
        self.max_us = 0

    def add(self, us: int) -> None:
        """Count one run."""
        self.counts[bisect_left(LATENCY_BUCKETS_US, us)] += 1
        self.sum_us += us
        if us > self.max_us:  # noqa: PLR1730 - the builtin costs three times as much, for every run
            self.max_us = us

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def quantile_us(self, share: float) -> int:
        """Return a time that at least `share` (0 to 1) of the runs did not pass: a bucket's bound, or the longest."""
        wanted, seen = share * self.count, 0
        for bound, count in zip(LATENCY_BUCKETS_US, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound, self.max_us)
        return self.max_us

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON; buckets that are empty are left out, and `le_us` null is the last, without a bound."""
        bounds: tuple[int | None, ...] = (*LATENCY_BUCKETS_US, None)
        filled = zip(bounds, self.counts, strict=True)
        return {
            "buckets": [{"le_us": bound, "count": count} for bound, count in filled if count],
            "sum_us": self.sum_us,
            "max_us": self.max_us,
            "p50_us": self.quantile_us(0.5),
            "p99_us": self.quantile_us(0.99),
        }


class RuleStatistics:
    """What one rule has come to. Threads may count at the same time."""

    __slots__ = (
        "_lock",
        "cpu_us",
        "faults",
        "latency",
        "memory_bytes_peak",
        "opened",
        "runs",
        "sampled_out",
        "violations",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs = 0  # that took place, however they ended
        self.faults = 0  # of them, those that ended in an error that is no violation
        self.opened = 0  # of them, those whose violation was passed over
        self.sampled_out = 0  # runs that did not take place
        self.violations: dict[str, int] = {}  # by code
        self.cpu_us = 0
        self.memory_bytes_peak = 0
        self.latency = LatencyHistogram()

    def ran(self, wall_us: int, cpu_us: int, memory_bytes: int) -> None:
        """Count a run that took place, and what it used."""
        with self._lock:
            self.runs += 1
            self.cpu_us += cpu_us
            if memory_bytes > self.memory_bytes_peak:  # noqa: PLR1730 - as in the histogram
                self.memory_bytes_peak = memory_bytes
            self.latency.add(wall_us)

    def violated(self, violation: ConstraintViolation, *, opened: bool = False) -> None:
        """Count a violation; one that left a run out is not among `violations`."""
        with self._lock:
            if isinstance(violation, SampledOut):
                self.sampled_out += 1
                return
            self.violations[violation.code] = self.violations.get(violation.code, 0) + 1
            self.opened += opened

    def failed(self) -> None:
        """Count a run that ended in an error which is no violation."""
        with self._lock:
            self.faults += 1

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        with self._lock:
            violations: dict[str, JsonValue] = dict(sorted(self.violations.items()))
            return {
                "runs": self.runs,
                "faults": self.faults,
                "violations": violations,
                "opened": self.opened,
                "sampled_out": self.sampled_out,
                "cpu_us": self.cpu_us,
                "memory_bytes_peak": self.memory_bytes_peak,
                "latency": self.latency.document(),
            }


class Statistics:
    """The statistics of all rules, by name; at most `RULES_MAX` of them have an entry of their own."""

    def __init__(self, rules_max: int = RULES_MAX) -> None:
        self._rules_max = rules_max
        self._rules: dict[str, RuleStatistics] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def of(self, rule: str) -> RuleStatistics:
        """Return the entry of a rule; where there are too many, the one that those share."""
        found = self._rules.get(rule)
        if found is None:
            name = rule if len(self._rules) < self._rules_max else OTHER
            found = self._rules.setdefault(name, RuleStatistics())
        return found

    def rules(self) -> dict[str, RuleStatistics]:
        """Return all entries, by rule."""
        return {name: self._rules[name] for name in sorted(self._rules)}

    def document(self) -> dict[str, JsonValue]:
        """Return all of it as JSON, by rule."""
        return {name: self._rules[name].document() for name in sorted(self._rules)}
