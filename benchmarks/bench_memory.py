"""What a mission takes of memory, in bytes a step, beside plain asyncio in the same run.

Counted by tracemalloc: a count, so that one round says it all. *At most* is the peak of a whole run, results included,
without the mission and its plan, which have rows of their own.

Run it: `python -m benchmarks.bench_memory`
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from benchmarks.bench_scheduling import AT_ONCE, shapes
from benchmarks.command import main
from benchmarks.missions import (
    STEP_TIMEOUT_SECONDS,
    NoOp,
    Waits,
    execute,
    peak_bytes,
    plan_of,
    run_of,
    tasks_in_order,
    traced,
)
from benchmarks.shapes import fan_out, independent
from benchmarks.table import Row
from benchmarks.timing import FULL, Effort
from engine.result import StepState

TITLE: Final = "memory: bytes a step"
WAITING: Final = 100_000
PENDING: Final = 1_000_000
MISSION_STEPS: Final = 1_000
# Of this program alone: `ru_maxrss` would begin with what its parent had when it forked.
_RESIDENT: Final = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
_MISSION: Final = f"""
import asyncio
from benchmarks.missions import execute, plan_of
from benchmarks.shapes import layered
asyncio.run(execute(plan_of(layered({MISSION_STEPS}, 10), parallel_limit={AT_ONCE})))
{_RESIDENT}
"""


async def shape_rows() -> AsyncIterator[Row]:
    """Measure whole runs, beside a task a step that awaits those before it."""
    for name, shape in shapes().items():
        plan = plan_of(shape, parallel_limit=AT_ONCE)
        yield Row(
            what=f"{name}, at most",
            ours=await peak_bytes(partial(execute, plan), len(shape)),
            unit="bytes/step",
            peer_name="tasks that await those before",
            peer=await peak_bytes(partial(tasks_in_order, shape, NoOp().run_step), len(shape)),
        )


async def waiting_in_engine() -> float:
    """Return the bytes that a run adds for a step that waits on I/O."""
    plan = plan_of(independent(WAITING), parallel_limit=WAITING)
    with traced(WAITING) as bytes_each:
        runner = Waits(WAITING)
        task = asyncio.create_task(run_of(plan, runner).execute())
        await runner.all_waiting.wait()
        found = bytes_each()
        runner.answer()
        assert (await task).steps_completed == WAITING
    return found


async def waiting_in_tasks() -> float:
    """Return the bytes of a bare asyncio task with a timeout that waits."""
    with traced(WAITING) as bytes_each:
        waits = Waits(WAITING)

        async def one() -> None:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                await waits.run_step(None, None)  # type: ignore[arg-type]

        tasks = [asyncio.create_task(one()) for _ in range(WAITING)]
        await waits.all_waiting.wait()
        found = bytes_each()
        waits.answer()
        await asyncio.gather(*tasks)
    return found


async def pending() -> tuple[float, float]:
    """Return the bytes of a step that waits for others: in its mission and plan, and what the run adds."""
    with traced(WAITING) as bytes_each:
        plan = plan_of(fan_out(WAITING), parallel_limit=AT_ONCE)
        planned = bytes_each()
    plan = plan_of(fan_out(PENDING), parallel_limit=AT_ONCE)
    with traced(PENDING) as bytes_each:
        runner = Waits(1)
        mission = run_of(plan, runner)
        task = asyncio.create_task(mission.execute())
        await runner.all_waiting.wait()
        assert mission.step_state("step-1") is StepState.PENDING
        added = bytes_each()
    task.cancel()
    await asyncio.wait([task])
    return planned, added


async def resident_mb(code: str) -> float:
    """Return the most memory that a fresh Python had resident while it ran `code`, which prints it in KiB."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return int(out) * 1_024 / 1e6


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    async for row in shape_rows():
        yield row
    yield Row(
        what=f"a step waiting on I/O, {WAITING:,} at once",
        ours=await waiting_in_engine(),
        unit="bytes/step",
        peer_name="a task with asyncio.timeout",
        peer=await waiting_in_tasks(),
        target=1_500,
    )
    planned, added = await pending()
    yield Row(what=f"a pending step of {PENDING:,}: what the run adds", ours=added, unit="bytes/step", target=200)
    yield Row(what=f"a step of {WAITING:,}: its mission and plan", ours=planned, unit="bytes/step")
    yield Row(
        what=f"a mission of {MISSION_STEPS:,} steps: the whole process, resident",
        ours=min([await resident_mb(_MISSION) for _ in range(effort.rounds)]),
        unit="MB",
        peer_name="Python with asyncio alone",
        peer=min([await resident_mb(f"import asyncio\n{_RESIDENT}") for _ in range(effort.rounds)]),
        target=100,
    )


if __name__ == "__main__":
    raise SystemExit(main(only="memory"))
