"""Repeats the cases of a hook, and says how the times of their runs are distributed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gateway.cli.hook.cases import Case
from gateway.cli.hook.trial import Trial, Tried

RUNS_MAX: Final = 100_000
BINS: Final = 8
_WARM_RUNS: Final = 5  # not counted: the first ones fault pages in


@dataclass(frozen=True, slots=True)
class Distribution:
    """The times of one case, in microseconds, shortest first; fuel and memory are the same in every run."""

    case: Case
    first: Tried
    wall_us: tuple[int, ...]  # empty where the case does not pass
    differs: bool  # some run took other fuel or memory than the first: the module is no pure function

    def quantile(self, share: float) -> int:
        """Return the least time that this share of the runs did not exceed."""
        return self.wall_us[min(int(share * len(self.wall_us)), len(self.wall_us) - 1)]

    def bins(self) -> list[tuple[int, int, int]]:
        """Return (from µs, below µs, runs) of bins of one width up to the 99th percentile, and one for what is above.

        A single run that the host had delayed would else make one bin of all the others.
        """
        least, most = self.wall_us[0], self.quantile(0.99)
        width = max(-(-(most - least + 1) // BINS), 1)
        edges = [least + width * at for at in range(BINS + 1) if at == 0 or least + width * (at - 1) <= most]
        counts = [(low, high, _between(self.wall_us, low, high)) for low, high in pairwise(edges)]
        above = _between(self.wall_us, edges[-1], self.wall_us[-1] + 1)
        return [*counts, (edges[-1], self.wall_us[-1] + 1, above)] if above else counts


def _between(times: Sequence[int], low: int, high: int) -> int:
    return sum(low <= time < high for time in times)


async def measure(trial: Trial, case: Case, runs: int) -> Distribution:
    """Run a case `runs` times. One that does not pass is run once, and has no times."""
    first = await trial.run(case)
    if not first.passed:
        return Distribution(case, first, (), differs=False)
    for _ in range(_WARM_RUNS):
        await trial.run(case)
    times, differs = [], False
    for _ in range(runs):
        again = await trial.run(case)
        times.append(again.wall_us)
        differs = differs or (again.fuel_used, again.memory_bytes) != (first.fuel_used, first.memory_bytes)
    return Distribution(case, first, tuple(sorted(times)), differs)
