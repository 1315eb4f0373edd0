"""The clock of all benchmarks: rounds of some works, each in its turn, and the best and the median of each.

Works that are compared alternate, round by round, so that a moment in which the machine was busy strikes both.
"""

import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)

_PER_SECOND: Final = {"µs": 1e6, "ms": 1e3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Effort:
    """How many rounds a figure gets. Sizes never depend on it, so that quick figures compare with full ones."""

    name: str
    rounds: int


FULL: Final = Effort("full", 5)
QUICK: Final = Effort("quick", 2)
ONCE: Final = Effort("once", 1)  # what takes too long to be measured more often
EFFORTS: Final = {effort.name: effort for effort in (FULL, QUICK)}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one operation: of the best round, and of the median round."""

    best: float
    median: float

    @classmethod
    def of(cls, rounds: Iterable[float], operations: int = 1) -> "Timing":
        """Return the timing of rounds that took so many seconds for `operations` operations each."""
        each = [seconds / operations for seconds in rounds]
        return cls(min(each), median(each))

    def within(self, unit: str) -> "Timing":
        """Return the same in `unit`: `µs`, `ms` or `s`, perhaps of something (`µs/step`), or a rate (`events/s`).

        Raises:
            ValueError: no such unit.
        """
        if unit.endswith("/s"):
            return Timing(1 / self.best, 1 / self.median)
        scale = _PER_SECOND.get(unit.partition("/")[0])
        if scale is None:
            raise ValueError(f"no unit of time: {unit}")
        return Timing(self.best * scale, self.median * scale)


@dataclass(slots=True)
class Lap:
    """Seconds that a `lap` took: of the clock, and of this process's CPUs."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def lap() -> Iterator[Lap]:
    """Measure the block."""
    taken = Lap()
    wall, cpu = time.perf_counter(), time.process_time()
    yield taken
    taken.wall, taken.cpu = time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True, slots=True)
class Work(Generic[T_co]):
    """What is measured: `act` does `operations` operations."""

    act: Callable[[], T_co]
    operations: int


def calls(call: Callable[[], object], times: int) -> Work[None]:
    """Return the work of calling `call` so many times."""

    def act() -> None:
        for _ in range(times):
            call()

    return Work(act, times)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operation of a work took, of the clock and of this process's CPUs."""

    wall: Timing
    cpu: Timing

    @classmethod
    def of(cls, laps: Sequence[Lap], operations: int) -> "Cost":
        """Return the cost of rounds of `operations` operations each."""
        return cls(
            Timing.of((this.wall for this in laps), operations), Timing.of((this.cpu for this in laps), operations)
        )


def in_turn(effort: Effort, *works: Work[object]) -> list[Timing]:
    """Return the timing of each work."""
    laps: list[list[Lap]] = [[] for _ in works]
    for _ in range(effort.rounds):
        for work, found in zip(works, laps, strict=True):
            gc.collect()
            with lap() as this:
                work.act()
            found.append(this)
    return [Cost.of(found, work.operations).wall for work, found in zip(works, laps, strict=True)]


async def costs_in_turn(effort: Effort, *works: Work[Awaitable[object]]) -> list[Cost]:
    """Return the cost of each work, on the running event loop."""
    laps: list[list[Lap]] = [[] for _ in works]
    for _ in range(effort.rounds):
        for work, found in zip(works, laps, strict=True):
            gc.collect()
            with lap() as this:
                await work.act()
            found.append(this)
    return [Cost.of(found, work.operations) for work, found in zip(works, laps, strict=True)]


async def in_turn_async(effort: Effort, *works: Work[Awaitable[object]]) -> list[Timing]:
    """Return the timing of each work, on the running event loop."""
    return [cost.wall for cost in await costs_in_turn(effort, *works)]
