"""Statistics are bounded, cumulative, and say the same as what happened."""

import threading

from engine.constraints.statistics import LATENCY_BUCKETS_US, OTHER, LatencyHistogram, Statistics
from engine.constraints.violations import CpuExceeded, MultipleViolations, SampledOut, TimeoutExceeded


def test_a_run_is_in_the_bucket_that_holds_it() -> None:
    """A bound belongs to its bucket, and what is above all bounds is counted too."""
    histogram = LatencyHistogram()
    for us in (0, 10, 11, 60_000_000, 60_000_001):
        histogram.add(us)
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[-2:] == [1, 1]
    document = histogram.document()
    assert document["buckets"][-1] == {"le_us": None, "count": 1}  # type: ignore[index]
    assert (histogram.count, histogram.max_us, histogram.sum_us) == (5, 60_000_001, 120_000_022)


def test_a_quantile_is_never_below_what_it_claims() -> None:
    """At least that share of the runs took no longer; no run is said to have taken longer than the longest."""
    histogram = LatencyHistogram()
    assert histogram.quantile_us(0.99) == 0
    for us in (5, 20, 40, 90, 400):
        histogram.add(us)
    assert histogram.quantile_us(0.5) == 50
    assert histogram.quantile_us(1.0) == 400
    assert sorted(LATENCY_BUCKETS_US) == list(LATENCY_BUCKETS_US)


def test_violations_are_counted_by_kind() -> None:
    """A sample that was left out is no violation; several at once are one of their own kind."""
    kept = Statistics().of("a")
    kept.violated(TimeoutExceeded(1, 2.0))
    kept.violated(TimeoutExceeded(1, 3.0), opened=True)
    kept.violated(MultipleViolations((TimeoutExceeded(1, 2.0), CpuExceeded(1, 2))))
    kept.violated(SampledOut(0.5))
    document = kept.document()
    assert document["violations"] == {"constraint.multiple": 1, "constraint.timeout_exceeded": 2}
    assert (document["opened"], document["sampled_out"]) == (1, 1)


def test_rules_beyond_the_bound_share_an_entry() -> None:
    """However many names there are, the table stays as large as it may be, and no run is lost."""
    statistics = Statistics(rules_max=2)
    for name in ("a", "b", "c", "d", "c"):
        statistics.of(name).ran(1, 1, 1)
    assert len(statistics) == 3
    assert statistics.of(OTHER).runs == 3
    assert sorted(statistics.document()) == ["a", "b", OTHER]


def test_threads_count_together() -> None:
    """Nothing is lost where the sanitizer runs in several threads."""
    kept = Statistics().of("a")

    def count() -> None:
        for _ in range(2_000):
            kept.ran(1, 1, 7)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (kept.runs, kept.cpu_us, kept.latency.count, kept.memory_bytes_peak) == (8_000, 8_000, 8_000, 7)
