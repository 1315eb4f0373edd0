"""Missions of no-op and waiting steps, and what plain asyncio does for as many: what several benchmarks measure."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from benchmarks.shapes import Shape
from engine.attempt import StepAttempt
from engine.clock import SystemClock
from engine.context import ExecutionContext
from engine.graph import Graph
from engine.mission import Mission, MissionConfig, MissionStep, Strategy
from engine.plan import Plan
from engine.ports import SilentObserver, StepRunner
from engine.result import MissionResult
from engine.scheduler import MissionRun
from engine.values import JsonValue

STEP_TIMEOUT_SECONDS: Final = 60.0


class NoOp:
    """Steps that do nothing."""

    async def run_step(self, _step: MissionStep, _attempt: StepAttempt) -> JsonValue:
        """Return at once."""


class Sleeps:
    """Steps that wait for a while, as for a network."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run_step(self, _step: MissionStep, _attempt: StepAttempt) -> JsonValue:
        """Sleep."""
        await asyncio.sleep(self._seconds)
        return None


class Waits:
    """Steps that wait for an answer from outside, until so many do."""

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


class Step(Protocol):
    """What a floor runs; a runner's `run_step` is one."""

    async def __call__(self, step: MissionStep, attempt: StepAttempt, /) -> JsonValue:
        """Do it; the floors give it nothing."""


def plan_of(shape: Shape, *, parallel_limit: int, strategy: Strategy = Strategy.PARALLEL) -> Plan:
    """Return a plan of steps with a timeout each."""
    ids = [f"step-{n}" for n in range(len(shape))]
    steps = tuple(
        MissionStep(
            id=ids[n],
            name=ids[n],
            step_type="noop",
            depends_on=tuple(ids[parent] for parent in row),
            timeout_seconds=STEP_TIMEOUT_SECONDS,
        )
        for n, row in enumerate(shape)
    )
    config = MissionConfig(parallel_limit=parallel_limit, strategy=strategy)
    graph = Graph.build(ids, [step.depends_on for step in steps])
    return Plan(mission=Mission(name="bench", steps=steps, config=config), graph=graph, templates=(None,) * len(steps))


def run_of(plan: Plan, runner: StepRunner) -> MissionRun:
    """Return an execution of the engine."""
    return MissionRun(plan, ExecutionContext.of(plan.mission), runner, SilentObserver(), SystemClock(), "bench")


async def execute(plan: Plan, runner: StepRunner | None = None) -> MissionResult:
    """Run a mission of the engine to its end, of no-op steps unless there is a runner."""
    result = await run_of(plan, runner or NoOp()).execute()
    assert result.steps_completed == len(plan.mission.steps)
    return result


async def tasks_with_timeouts(count: int, step: Step) -> None:
    """Do the floor: one asyncio task with an `asyncio.timeout` each, all at once, in no order."""

    async def one() -> None:
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            await step(None, None)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    for task in [loop.create_task(one()) for _ in range(count)]:
        await task


async def tasks_in_order(shape: Shape, step: Step) -> None:
    """Do what a program does without an engine: a task a step, which awaits the tasks before it, then the same."""

    async def one(row: tuple[int, ...]) -> None:
        for parent in row:
            await tasks[parent]
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            await step(None, None)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    for row in shape:
        tasks.append(loop.create_task(one(row)))  # noqa: PERF401 - a task needs those before it
    for task in tasks:
        await task


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


async def peak_bytes(act: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the most bytes that Python holds for `act` at a time, its result included, per step."""
    gc.collect()
    tracemalloc.start()
    kept = await act()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del kept
    return peak / count
