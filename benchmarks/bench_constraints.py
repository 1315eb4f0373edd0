"""What holding a rule to its constraints costs, in reads of the clock that were made in the same run.

Run it: `python -m benchmarks.bench_constraints`
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from secrets import SystemRandom
from typing import Final

from benchmarks.command import main
from benchmarks.table import Row
from benchmarks.timing import FULL, Effort, Timing, Work, calls, in_turn, in_turn_async
from engine.clock import SystemClock
from engine.constraints import ExecutionConstraints
from engine.constraints.budget import ExecutionBudget
from engine.constraints.enforcer import ConstraintEnforcer
from engine.constraints.quotas import Quota, Quotas
from engine.constraints.rules import Rule, RuleType

TITLE: Final = "constraints: held, counted, judged"
CALLS: Final = 200_000
CHECK_READS_MAX: Final = 3.0

PATIENT: Final = ExecutionConstraints.of_shares(wall_ms_max=60_000, memory_bytes_max=1024 * 1024, cpu_shares=None)
RULE: Final = Rule("bench", RuleType.FAST, PATIENT)


def in_reads(what: str, ours: Timing, read: Timing, target: float | None = None) -> Row:
    """Return a figure in reads of the clock: the machine's own measure of what is little."""
    return Row(
        what=what,
        ours=ours.best / read.best,
        unit="clock reads",
        median=ours.median / read.median,
        peer_name=f"{ours.best * 1e9:,.0f} ns, a read {read.best * 1e9:,.0f} ns",
        target=target,
    )


def nothing(_budget: ExecutionBudget) -> None:
    """Do nothing, as a rule."""


async def nothing_async(_budget: ExecutionBudget) -> None:
    """Do nothing, as a rule on a loop."""


def bare(clock: SystemClock) -> list[tuple[str, Callable[[], object], float | None]]:
    """Return what is measured, and how many reads of the clock it may cost."""
    budget, sampled = ExecutionBudget(PATIENT, clock), ExecutionConstraints.observational(0.5)
    always, chance = ExecutionConstraints.observational(1.0), SystemRandom().random
    quotas = Quotas[str](Quota(), clock)
    quotas.charge("ann", cpu_us=1)
    narrower = ExecutionConstraints.fast_rule()
    return [
        ("a check of a budget", budget.check, CHECK_READS_MAX),
        ("a budget made", lambda: ExecutionBudget(PATIENT, clock), None),
        ("a sample decided, rate 1", lambda: always.should_sample(chance), None),
        ("a sample decided, rate 0.5, the kernel's chance", lambda: sampled.should_sample(chance), None),
        ("two constraints narrowed", lambda: PATIENT.narrow(narrower), None),
        ("a quota looked at", lambda: quotas.require("ann"), None),
        ("a quota charged", lambda: quotas.charge("ann", cpu_us=1), None),
    ]


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    clock = SystemClock()
    read = calls(clock.monotonic, CALLS)
    for what, call, reads_max in bare(clock):
        ours, peer = in_turn(effort, calls(call, CALLS), read)
        yield in_reads(what, ours, peer, reads_max)
    enforcer = ConstraintEnforcer(clock, chance=SystemRandom().random)
    ours, peer = in_turn(
        effort, calls(lambda: enforcer.execute_with_constraints(RULE, nothing, wall=False), CALLS // 10), read
    )
    yield in_reads("a function held, by its CPU time", ours, peer)

    async def held() -> None:
        for _ in range(CALLS // 10):
            await enforcer.execute_async(RULE, nothing_async, wall=False)

    async def reads() -> None:
        for _ in range(CALLS):
            clock.monotonic()
        await asyncio.sleep(0)

    cost, peer = await in_turn_async(effort, Work(held, CALLS // 10), Work(reads, CALLS))
    yield in_reads("a coroutine held", cost, peer)


if __name__ == "__main__":
    raise SystemExit(main(only="constraints"))
