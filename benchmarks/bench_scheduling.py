"""What the scheduler adds to a step, beside what asyncio alone costs in the same run.

The floor is one bare task with an `asyncio.timeout` a step, all at once, in no order. Beside it stands what a program
does that has no engine and keeps the order: a task a step that awaits the tasks before it.

Run it: `python -m benchmarks.bench_scheduling`
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from benchmarks.command import main
from benchmarks.missions import NoOp, execute, plan_of, tasks_in_order, tasks_with_timeouts
from benchmarks.shapes import LARGEST_REAL, Shape, chain, fan_out, ladder, layered, real
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, ONCE, Effort, Timing, Work, in_turn_async

TITLE: Final = "scheduling: what the engine adds to a step"
AT_ONCE: Final = 16  # as a mission that asks for nothing else
MANY: Final = 1_000_000
MICROSECONDS_MAX: Final = 8.0
RATIO_MAX: Final = 1.6


def shapes() -> dict[str, Shape]:
    """Return what is measured, by its name in the table."""
    return {
        "chain of 1,000": chain(1_000),
        "fan-out of 1,000": fan_out(1_000),
        "fan-out of 10,000": fan_out(10_000),
        "layered 10,000 x 100": layered(10_000, 100),
        "diamond ladder of 3,000": ladder(3_000),
        f"{LARGEST_REAL}, a real graph": real(LARGEST_REAL),
    }


def floor_row(what: str, timings: Sequence[Timing]) -> Row:
    """Return the row of the first, ours, beside the second, a task with a timeout; it has the targets."""
    ours, tasks = timings[:2]
    return timed_row(
        what,
        "µs/step",
        ours,
        against="a task with asyncio.timeout",
        peer=tasks,
        target=MICROSECONDS_MAX,
        ratio_max=RATIO_MAX,
    )


async def shape_rows(name: str, shape: Shape, effort: Effort) -> AsyncIterator[Row]:
    """Measure one shape."""
    count, step = len(shape), NoOp().run_step
    timings = await in_turn_async(
        effort,
        Work(partial(execute, plan_of(shape, parallel_limit=AT_ONCE)), count),
        Work(partial(tasks_with_timeouts, count, step), count),
        Work(partial(tasks_in_order, shape, step), count),
    )
    yield floor_row(name, timings)
    against = "tasks that await those before"
    yield timed_row(f"{name}, in order", "µs/step", timings[0], against=against, peer=timings[2])


async def all_at_once(name: str, shape: Shape, effort: Effort) -> Row:
    """Measure a shape of which everything runs that may."""
    count = len(shape)
    timings = await in_turn_async(
        effort,
        Work(partial(execute, plan_of(shape, parallel_limit=count)), count),
        Work(partial(tasks_with_timeouts, count, NoOp().run_step), count),
    )
    return floor_row(f"{name}, {count:,} at once", timings)


async def many() -> Row:
    """Measure a mission of a million steps, once; a tenth of as many tasks are enough of a floor."""
    timings = await in_turn_async(
        ONCE,
        Work(partial(execute, plan_of(layered(MANY, 1_000), parallel_limit=AT_ONCE)), MANY),
        Work(partial(tasks_with_timeouts, MANY // 10, NoOp().run_step), MANY // 10),
    )
    return floor_row(f"layered {MANY:,} x 1,000", timings)


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    for name, shape in shapes().items():
        async for row in shape_rows(name, shape, effort):
            yield row
    for name in ("fan-out of 10,000", "layered 10,000 x 100"):
        yield await all_at_once(name, shapes()[name], effort)
    yield await many()


if __name__ == "__main__":
    raise SystemExit(main(only="scheduling"))
