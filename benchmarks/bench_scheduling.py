"""What the scheduler adds to a step, in time and memory, beside what asyncio alone costs in the same run.

Run it: `python -m benchmarks.bench_scheduling`
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from engine.clock import SystemClock
from engine.context import ExecutionContext
from engine.graph import Graph
from engine.mission import Mission, MissionConfig, MissionStep
from engine.plan import Plan
from engine.ports import SilentObserver, StepRunner
from engine.result import MissionResult, StepState
from engine.scheduler import MissionRun
from engine.values import JsonValue

STEPS = 10_000
LEVELS = 100
ROUNDS = 7  # of each; the best counts: the machine may be busy with other things
STEP_TIMEOUT_SECONDS = 60.0
WAITING_STEPS = 100_000
PENDING_STEPS = 1_000_000


class NoOp:
    """Steps that do nothing."""

    async def run_step(self, _step: MissionStep, _context: ExecutionContext) -> JsonValue:
        """Return at once."""


class Waits:
    """Steps that wait for an answer from outside, as of the network."""

    def __init__(self, count: int) -> None:
        self.all_waiting = asyncio.Event()
        self._count = count
        self._answers: list[asyncio.Future[None]] = []

    async def run_step(self, _step: MissionStep, _context: ExecutionContext) -> JsonValue:
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


async def microseconds(act: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the time of one `act`, per step."""
    gc.collect()
    start = time.perf_counter()
    await act()
    return (time.perf_counter() - start) / count * 1e6


async def bench_time() -> None:
    print(f"scheduling, no-op steps with a timeout each, best of {ROUNDS}; floor: a task with asyncio.timeout each")
    print(f"{'shape':<24}{'parallel_limit':>15}{'engine':>10}{'floor':>10}{'ratio':>8}{'steps/s':>12}")
    shapes = {f"fan-out {STEPS:,}": fan_out(STEPS), f"layered {STEPS:,} x {LEVELS}": layered(STEPS, LEVELS)}
    for shape, parents in shapes.items():
        for limit in (16, 256, STEPS):
            plan = plan_of(parents, parallel_limit=limit)
            engine, floor = float("inf"), float("inf")
            for _ in range(ROUNDS):
                engine = min(engine, await microseconds(partial(execute, plan), STEPS))
                floor = min(floor, await microseconds(partial(tasks_with_timeouts, STEPS), STEPS))
            print(
                f"{shape:<24}{limit:>15,}{engine:>7.2f} µs{floor:>7.2f} µs{engine / floor:>7.2f}x{1e6 / engine:>12,.0f}"
            )


@contextmanager
def traced(label: str, count: int) -> Iterator[Callable[[], None]]:
    """Give a function that prints the bytes allocated since, per step."""
    gc.collect()
    tracemalloc.start()

    def report() -> None:
        gc.collect()
        print(f"{label:<64}{tracemalloc.get_traced_memory()[0] / count:>10,.0f} bytes")

    yield report
    tracemalloc.stop()


async def bench_pending() -> None:
    """Measure a step that waits for others: a run whose first step is executing and whose rest is behind it."""
    with traced(f"a pending step of {PENDING_STEPS:,}: its mission and plan", PENDING_STEPS) as report:
        plan = plan_of(fan_out(PENDING_STEPS), parallel_limit=16)
        report()
    with traced(f"a pending step of {PENDING_STEPS:,}: what the run adds", PENDING_STEPS) as report:
        runner = Waits(1)
        mission = run_of(plan, runner)
        task = asyncio.create_task(mission.execute())
        await runner.all_waiting.wait()
        assert mission.step_state("step-1") is StepState.PENDING
        report()
    task.cancel()
    await asyncio.wait([task])


async def bench_waiting() -> None:
    """Measure a step that waits on I/O, all at once, beside a bare asyncio task that does."""
    plan = plan_of([()] * WAITING_STEPS, parallel_limit=WAITING_STEPS)
    with traced(f"a step waiting on I/O, {WAITING_STEPS:,} at once: engine", WAITING_STEPS) as report:
        runner = Waits(WAITING_STEPS)
        task = asyncio.create_task(run_of(plan, runner).execute())
        await runner.all_waiting.wait()
        report()
        runner.answer()
        assert (await task).steps_completed == WAITING_STEPS
    del runner, task
    with traced("  floor: an asyncio task with asyncio.timeout", WAITING_STEPS) as report:
        waits = Waits(WAITING_STEPS)

        async def one() -> None:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                await waits.run_step(None, None)  # type: ignore[arg-type]

        tasks = [asyncio.create_task(one()) for _ in range(WAITING_STEPS)]
        await waits.all_waiting.wait()
        report()
        waits.answer()
        await asyncio.gather(*tasks)


async def bench() -> None:
    await bench_time()
    print("\nmemory, by tracemalloc")
    await bench_waiting()
    await bench_pending()


def main() -> None:
    """Print every figure."""
    asyncio.run(bench())


if __name__ == "__main__":
    main()
