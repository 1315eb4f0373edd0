"""What running things at once brings and costs: many waiting steps, many missions, levels, and steps of 10 ms.

Run it: `python -m benchmarks.bench_concurrency`
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from statistics import median
from typing import Final

from benchmarks.command import main
from benchmarks.missions import (
    NoOp,
    Sleeps,
    Step,
    Waits,
    execute,
    peak_bytes,
    plan_of,
    run_of,
    tasks_with_timeouts,
)
from benchmarks.shapes import independent, layered
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, Work, costs_in_turn, in_turn_async
from engine.attempt import StepAttempt
from engine.mission import MissionStep, Strategy
from engine.plan import Plan
from engine.values import JsonValue

TITLE: Final = "concurrency: many steps and missions at once"
WAITING: Final = 100_000
MISSIONS: Final = 1_000
MISSION_STEPS: Final = 10
AT_ONCE: Final = 64
IO_STEPS: Final = 256
STEP_SECONDS: Final = 0.010
LEVELS: Final = 10
LEVEL_WIDTH: Final = 1_000
TASK: Final = "a task with asyncio.timeout"


async def answered_by_engine(plan: Plan) -> None:
    """Begin every step, let all wait at once, answer them, and wait for the mission's end."""
    waits = Waits(len(plan.mission.steps))
    run = asyncio.create_task(run_of(plan, waits).execute())
    await waits.all_waiting.wait()
    waits.answer()
    await run


async def answered_by_tasks() -> None:
    """Do the same with bare tasks."""
    waits = Waits(WAITING)
    run = asyncio.create_task(tasks_with_timeouts(WAITING, waits.run_step))
    await waits.all_waiting.wait()
    waits.answer()
    await run


async def missions(plan: Plan) -> list[object]:
    """Run as many missions at once as there are."""
    return list(await asyncio.gather(*(execute(plan) for _ in range(MISSIONS))))


async def count_rows(effort: Effort) -> AsyncIterator[Row]:
    """Measure many waiting steps of one mission, and many missions."""
    plan = plan_of(independent(WAITING), parallel_limit=WAITING)
    engine, tasks = await in_turn_async(
        effort, Work(partial(answered_by_engine, plan), WAITING), Work(answered_by_tasks, WAITING)
    )
    what = f"{WAITING:,} steps that wait at once, begun to ended"
    yield timed_row(what, "µs/step", engine, against=TASK, peer=tasks)
    plan, count = plan_of(layered(MISSION_STEPS, 2), parallel_limit=16), MISSIONS * MISSION_STEPS
    floor = partial(tasks_with_timeouts, count, NoOp().run_step)
    engine, tasks = await in_turn_async(effort, Work(partial(missions, plan), count), Work(floor, count))
    what = f"{MISSIONS:,} missions of {MISSION_STEPS} steps at once"
    yield timed_row(what, "µs/step", engine, against=TASK, peer=tasks)
    yield Row(
        what=f"{what}, at most",
        ours=await peak_bytes(partial(missions, plan), count),
        unit="bytes/step",
        peer_name=TASK,
        peer=await peak_bytes(floor, count),
    )


async def limited(count: int, step: Step) -> None:
    """Run bare tasks, so many at once as the mission has."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(_step: object, _attempt: object) -> JsonValue:
        async with places:
            return await step(None, None)  # type: ignore[arg-type]

    await tasks_with_timeouts(count, one)


async def io_rows(effort: Effort) -> AsyncIterator[Row]:
    """Measure steps of 10 ms that wait: how much faster than one by one, and how much of a CPU they cost."""
    sleeps, shape = Sleeps(STEP_SECONDS), independent(IO_STEPS)
    parallel = plan_of(shape, parallel_limit=AT_ONCE)
    one_by_one = plan_of(shape, parallel_limit=AT_ONCE, strategy=Strategy.SEQUENTIAL)
    engine, tasks = await costs_in_turn(
        effort,
        Work(partial(execute, parallel, sleeps), IO_STEPS),
        Work(partial(limited, IO_STEPS, sleeps.run_step), IO_STEPS),
    )
    [sequential] = await in_turn_async(
        Effort("sequential", min(effort.rounds, 2)), Work(partial(execute, one_by_one, sleeps), IO_STEPS)
    )
    yield Row(
        what=f"{IO_STEPS} steps of 10 ms I/O, {AT_ONCE} at once: times faster than one by one",
        ours=sequential.best / engine.wall.best,
        median=sequential.median / engine.wall.median,
        unit="times",
        peer_name=f"bare tasks, {AT_ONCE} at once",
        peer=sequential.best / tasks.wall.best,
        better="more",
        target=10,
    )
    percent = 100 / STEP_SECONDS
    yield Row(
        what="CPU of a step of 10 ms that waits, of its 10 ms",
        ours=engine.cpu.best * percent,
        median=engine.cpu.median * percent,
        unit="%",
        peer_name=f"bare tasks, {AT_ONCE} at once",
        peer=tasks.cpu.best * percent,
        target=5,
    )


class Moments:
    """Notes when each level's first step begins, and when its last one has ended."""

    def __init__(self) -> None:
        self._began = [float("inf")] * LEVELS
        self._ended = [0.0] * LEVELS

    async def run_step(self, step: MissionStep, _attempt: StepAttempt) -> JsonValue:
        """Note, and let the others of the level have their turn."""
        await self.turn(int(step.id.removeprefix("step-")) // LEVEL_WIDTH)
        return None

    async def turn(self, level: int) -> None:
        """Do the same for whoever has no step."""
        self._began[level] = min(self._began[level], time.perf_counter())
        await asyncio.sleep(0)
        self._ended[level] = time.perf_counter()

    def gaps(self) -> list[float]:
        """Return the seconds from each level's last step to the next one's first."""
        return [began - ended for began, ended in zip(self._began[1:], self._ended, strict=False)]


async def gathered() -> list[float]:
    """Do as plain asyncio does: gather a level, then the next; return the gaps."""
    moments = Moments()
    for level in range(LEVELS):
        await asyncio.gather(*(moments.turn(level) for _ in range(LEVEL_WIDTH)))
    return moments.gaps()


async def level_row(effort: Effort) -> Row:
    """Measure how long it takes from one level to the next."""
    shape = layered(LEVELS * LEVEL_WIDTH, LEVELS)
    plan = plan_of(shape, parallel_limit=LEVEL_WIDTH, strategy=Strategy.LEVELS)
    ours: list[float] = []
    floor: list[float] = []
    for _ in range(effort.rounds):
        moments = Moments()
        await execute(plan, moments)
        ours.append(median(moments.gaps()))
        floor.append(median(await gathered()))
    what = f"between two levels of {LEVEL_WIDTH:,} steps"
    return timed_row(what, "ms", Timing.of(ours), against="asyncio.gather, twice", peer=Timing.of(floor), target=10)


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    async for row in count_rows(effort):
        yield row
    async for row in io_rows(effort):
        yield row
    yield await level_row(effort)


if __name__ == "__main__":
    raise SystemExit(main(only="concurrency"))
