"""What the scheduler adds to a step, in time and memory, beside what asyncio alone costs in the same run.

Run it: `python -m benchmarks.bench_scheduling`
"""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, in_turn_async
from engine.attempt import StepAttempt
from engine.clock import SystemClock
from engine.context import ExecutionContext
from engine.graph import Graph
from engine.mission import Mission, MissionConfig, MissionStep
from engine.plan import Plan
from engine.ports import SilentObserver, StepRunner
from engine.result import MissionResult, StepState
from engine.scheduler import MissionRun
from engine.values import JsonValue

TITLE: Final = "scheduling: what the engine adds to a step"
STEPS = 10_000
LEVELS = 100
LIMITS = (16, 256, STEPS)
STEP_TIMEOUT_SECONDS = 60.0
WAITING_STEPS = 100_000
PENDING_STEPS = 1_000_000


class NoOp:
    """Steps that do nothing."""

    async def run_step(self, _step: MissionStep, _attempt: StepAttempt) -> JsonValue:
        """Return at once."""


class Waits:
    """Steps that wait for an answer from outside, as of the network."""

    def __init__(self, count: int) -> None:
        self.all_waiting = asyncio.Event()
        self._count = count
        self._answers: list[asyncio.Future[None]] = []

    async def run_step(self, _step: MissionStep, _attempt: StepAttempt) -> JsonValue:
        """Wait."""
        answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        if len(self._answers) == self._count:
            self.all_waiting.set()
        await answer
        return None

    def answer(self) -> None:
        """Let all go on."""
        for answer in self._answers:
            answer.set_result(None)


def plan_of(parents: Sequence[Sequence[int]], *, parallel_limit: int) -> Plan:
    """Return a plan of steps with a timeout each; entry i of `parents` says what step i depends on."""
    ids = [f"step-{n}" for n in range(len(parents))]
    steps = tuple(
        MissionStep(
            id=ids[n],
            name=ids[n],
            step_type="noop",
            depends_on=tuple(ids[p] for p in row),
            timeout_seconds=STEP_TIMEOUT_SECONDS,
        )
        for n, row in enumerate(parents)
    )
    mission = Mission(name="bench", steps=steps, config=MissionConfig(parallel_limit=parallel_limit))
    graph = Graph.build(ids, [step.depends_on for step in steps])
    return Plan(mission=mission, graph=graph, templates=(None,) * len(steps))


def fan_out(count: int) -> list[tuple[int, ...]]:
    """One step, and all others after it."""
    return [(), *[(0,)] * (count - 1)]


def layered(count: int, levels: int) -> list[tuple[int, ...]]:
    """Levels of equal width; a step depends on two of the level before."""
    width = count // levels
    return [() if n < width else (n - width, (n // width - 1) * width + (n + 1) % width) for n in range(width * levels)]


def run_of(plan: Plan, runner: StepRunner) -> MissionRun:
    return MissionRun(plan, ExecutionContext.of(plan.mission), runner, SilentObserver(), SystemClock(), "bench")


async def execute(plan: Plan) -> MissionResult:
    return await run_of(plan, NoOp()).execute()


async def tasks_with_timeouts(count: int) -> None:
    """Do the floor: one asyncio task with an `asyncio.timeout` each, all at once, in no order."""
    runner = NoOp()

    async def one() -> None:
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            await runner.run_step(None, None)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    for task in [loop.create_task(one()) for _ in range(count)]:
        await task


async def time_rows(effort: Effort) -> AsyncIterator[Row]:
    """Measure no-op steps with a timeout each."""
    shapes = {f"fan-out of {STEPS:,}": fan_out(STEPS), f"layered {STEPS:,} x {LEVELS}": layered(STEPS, LEVELS)}
    floor = Work(partial(tasks_with_timeouts, STEPS), STEPS)
    for shape, parents in shapes.items():
        for limit in LIMITS:
            plan = plan_of(parents, parallel_limit=limit)
            engine, tasks = await in_turn_async(effort, Work(partial(execute, plan), STEPS), floor)
            what = f"no-op step, {shape}, {limit:,} at once"
            yield timed_row(what, "µs/step", engine, against="a task with asyncio.timeout", peer=tasks, target=8)


@contextmanager
def traced(count: int) -> Iterator[Callable[[], float]]:
    """Give a function that returns the bytes allocated since, per step."""
    gc.collect()
    tracemalloc.start()

    def bytes_each() -> float:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / count

    yield bytes_each
    tracemalloc.stop()


async def waiting_in_engine() -> float:
    """Return the bytes that a run adds for a step that waits on I/O."""
    plan = plan_of([()] * WAITING_STEPS, parallel_limit=WAITING_STEPS)
    with traced(WAITING_STEPS) as bytes_each:
        runner = Waits(WAITING_STEPS)
        task = asyncio.create_task(run_of(plan, runner).execute())
        await runner.all_waiting.wait()
        found = bytes_each()
        runner.answer()
        assert (await task).steps_completed == WAITING_STEPS
    return found


async def waiting_in_tasks() -> float:
    """Return the bytes of a bare asyncio task with a timeout that waits."""
    with traced(WAITING_STEPS) as bytes_each:
        waits = Waits(WAITING_STEPS)

        async def one() -> None:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                await waits.run_step(None, None)  # type: ignore[arg-type]

        tasks = [asyncio.create_task(one()) for _ in range(WAITING_STEPS)]
        await waits.all_waiting.wait()
        found = bytes_each()
        waits.answer()
        await asyncio.gather(*tasks)
    return found


async def pending() -> tuple[float, float]:
    """Return the bytes of a step that waits for others: in its mission and plan, and what the run adds."""
    with traced(WAITING_STEPS) as bytes_each:
        plan = plan_of(fan_out(WAITING_STEPS), parallel_limit=16)
        planned = bytes_each()
    plan = plan_of(fan_out(PENDING_STEPS), parallel_limit=16)
    with traced(PENDING_STEPS) as bytes_each:
        runner = Waits(1)
        mission = run_of(plan, runner)
        task = asyncio.create_task(mission.execute())
        await runner.all_waiting.wait()
        assert mission.step_state("step-1") is StepState.PENDING
        added = bytes_each()
    task.cancel()
    await asyncio.wait([task])
    return planned, added


async def memory_rows() -> AsyncIterator[Row]:
    """Measure memory by tracemalloc: a count, so one round says it all."""
    yield Row(
        what=f"a step waiting on I/O, {WAITING_STEPS:,} at once",
        ours=await waiting_in_engine(),
        unit="bytes/step",
        peer_name="a task with asyncio.timeout",
        peer=await waiting_in_tasks(),
        target=1_500,
    )
    planned, added = await pending()
    yield Row(what=f"a pending step of {PENDING_STEPS:,}: what the run adds", ours=added, unit="bytes/step", target=200)
    yield Row(what=f"a step of {WAITING_STEPS:,}: its mission and plan", ours=planned, unit="bytes/step")


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    async for row in time_rows(effort):
        yield row
    async for row in memory_rows():
        yield row


if __name__ == "__main__":
    raise SystemExit(main(only="scheduling"))
