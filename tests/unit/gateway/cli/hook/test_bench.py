"""What is made of the times of many runs."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.hook.bench import BINS, Distribution
from gateway.cli.hook.bench_view import QUANTILES
from gateway.cli.hook.cases import Case
from gateway.cli.hook.trial import Tried
from gateway.cli.hook.trial_view import amount, bar, size


def of(*times: int) -> Distribution:
    case = Case("a", ())
    return Distribution(case, Tried(case, ()), tuple(sorted(times)), differs=False)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300))
def test_every_run_is_in_one_bin(times: list[int]) -> None:
    """The bins stand side by side, few enough to be read, and count each run once; quantiles rise to the longest."""
    one = of(*times)
    bins = one.bins()
    assert sum(count for _, _, count in bins) == len(times)
    assert len(bins) <= BINS + 1
    assert all(low < high for low, high, _ in bins)
    assert all(before[1] == after[0] for before, after in pairwise(bins))
    quantiles = [one.quantile(share) for _, share in QUANTILES]
    assert quantiles == sorted(quantiles)
    assert quantiles[-1] == max(times)


def test_one_late_run_does_not_hide_the_others() -> None:
    """What is above the 99th percentile is one bin of its own, so the others keep their shape."""
    bins = of(*range(100, 300), 1_000_000).bins()
    assert bins[-1] == (300, 1_000_001, 1)
    assert [count for _, _, count in bins[:-1]] == [25] * 8


def test_bars_and_figures_fit_their_columns() -> None:
    """A bar has its width whatever the share, and shows that something is there; figures are short."""
    for share in (0, 1e-9, 0.01, 0.5, 0.999, 1, 7):
        assert len(bar(share, 6)) == 6
    assert bar(0, 6).strip() == ""
    assert bar(1e-9, 6).strip() == "▏"
    assert bar(1, 6) == bar(7, 6) == "█" * 6
    assert [amount(n) for n in (0, 999, 1_000, 12_345, 4_000_000, 120_000_000_000)] == [
        *("0", "999", "1 k", "12.3 k", "4 M", "120 G")
    ]
    assert [size(n) for n in (65_536, 524_288, 5 * 1024 * 1024)] == ["64 KiB", "512 KiB", "5 MiB"]
