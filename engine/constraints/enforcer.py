"""Runs rules under their constraints: samples, measures, retries, judges, counts, and fails closed or open.

A rule is run by one of two methods, in a thread or on an event loop; they differ in how it can be stopped. A function
in a thread cannot be, so it is judged after the fact, by the CPU time of its thread too. A coroutine is cancelled at
its wall; what it used of CPU and memory it has to record in the budget that it is handed, since coroutines of one
thread take turns.

Source: ExecutionConstraints document, 3.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from typing import Final, TypeVar

from engine.clock import Clock, thread_cpu_us
from engine.constraints.budget import ExecutionBudget
from engine.constraints.errors import ConstraintViolationError
from engine.constraints.limits import ExecutionConstraints
from engine.constraints.rules import Breach, Rule, RuleType
from engine.constraints.statistics import Statistics
from engine.constraints.violations import SampledOut, TimeoutExceeded
from engine.retry import is_retryable

_T = TypeVar("_T")


class Closed(Enum):
    """Stands where a default would, and is none."""

    CLOSED = "closed"


CLOSED: Final = Closed.CLOSED
Report = Callable[[Breach], object]


class ConstraintEnforcer:
    """One set of constraints for each type of rule, and the statistics of all rules that it has run.

    It may be used from several threads. `report`, of each call, hears of a violation before the caller does; what it
    raises is what the call raises, so that what cannot be recorded has no consequence either.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        chance: Callable[[], float],
        cpu_us: Callable[[], int] = thread_cpu_us,
        pause: Callable[[float], object] = time.sleep,
        fast: ExecutionConstraints | None = None,
        semantic: ExecutionConstraints | None = None,
        wasm: ExecutionConstraints | None = None,
        observational: ExecutionConstraints | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        """Prepare; a type that is not given has its preset.

        Args:
            clock: measures the wall of each run.
            chance: numbers from 0 to below 1, which decide about samples.
            cpu_us: CPU time of the calling thread so far, in µs.
            pause: waits so many seconds between two tries of a function; a coroutine waits on its loop.
            fast: constraints of `RuleType.FAST`; and so for the other three.
            semantic: of `RuleType.SEMANTIC`.
            wasm: of `RuleType.WASM`.
            observational: of `RuleType.OBSERVATIONAL`.
            statistics: where to count; a new, empty one if it is not given.
        """
        self.clock: Final = clock
        self._chance = chance
        self._cpu_us = cpu_us
        self._pause = pause
        self.adopt(fast=fast, semantic=semantic, wasm=wasm, observational=observational)
        self.statistics: Final = Statistics() if statistics is None else statistics  # an empty one is falsy

    def with_constraints(self, rule_type: RuleType, constraints: ExecutionConstraints) -> "ConstraintEnforcer":
        """Return an enforcer with other constraints for one type; both count in the same statistics."""
        of_type = {**{kind.value: limits for kind, limits in self._of_type.items()}, rule_type.value: constraints}
        return ConstraintEnforcer(
            self.clock,
            chance=self._chance,
            cpu_us=self._cpu_us,
            pause=self._pause,
            statistics=self.statistics,
            **of_type,
        )

    def adopt(
        self,
        *,
        fast: ExecutionConstraints | None = None,
        semantic: ExecutionConstraints | None = None,
        wasm: ExecutionConstraints | None = None,
        observational: ExecutionConstraints | None = None,
    ) -> None:
        """From now on use these for the types of rules; a type that is not given has its preset."""
        self._of_type = {
            RuleType.FAST: fast or ExecutionConstraints.fast_rule(),
            RuleType.SEMANTIC: semantic or ExecutionConstraints.semantic_rule(),
            RuleType.WASM: wasm or ExecutionConstraints.wasm_hook(),
            RuleType.OBSERVATIONAL: observational or ExecutionConstraints.observational(),
        }

    def constraints_of(self, rule: Rule | RuleType) -> ExecutionConstraints:
        """Return what a run of the rule gets."""
        if isinstance(rule, RuleType):
            return self._of_type[rule]
        return rule.constraints or self._of_type[rule.type]

    def execute_with_constraints(
        self,
        rule: Rule | RuleType,
        f: Callable[[ExecutionBudget], _T],
        *,
        default: _T | Closed = CLOSED,
        wall: bool = True,
        transient: Callable[[BaseException], bool] = is_retryable,
        report: Report | None = None,
    ) -> _T:
        """Run `f` and return what it returns.

        Args:
            rule: what it is called, and which constraints it gets.
            f: the rule; it is handed its budget, may look at what is left, and may record what it uses of memory.
            default: what is returned where the rule was sampled out, or broke its constraints and they fail open.
            wall: whether time counts; where it does not, CPU time does all the same.
            transient: which faults of `f` are tried again, as often as the constraints say; never a violation.
            report: hears of a violation.

        Raises:
            ConstraintViolationError: the constraints were broken and they fail closed, or there is no default.
            BaseException: what `f` raised. Transient faults are tried again first, within the same budget.
        """
        constraints, kept = self.constraints_of(rule), self.statistics.of(_name(rule))
        if self.left_out(_name(rule), constraints):
            return _default_of(constraints, default)
        budget = ExecutionBudget(constraints, self.clock, cpu_us=self._cpu_us)
        try:
            if constraints.retries_max:
                result = constraints.retry_policy.execute(
                    lambda: budget.enforce(partial(f, budget), wall=wall),
                    sleep=self._pause,
                    retryable=_may_pass(transient),
                )
            else:
                result = budget.enforce(partial(f, budget), wall=wall)
        except BaseException as error:
            if self._passed_over(rule, budget, error, default is not CLOSED, report) and default is not CLOSED:
                return default
            raise
        kept.ran(*budget.spent())
        return result

    async def execute_async(
        self,
        rule: Rule | RuleType,
        f: Callable[[ExecutionBudget], Awaitable[_T]],
        *,
        default: _T | Closed = CLOSED,
        wall: bool = True,
        transient: Callable[[BaseException], bool] = is_retryable,
        report: Report | None = None,
    ) -> _T:
        """Run a coroutine and return what it returns; see `execute_with_constraints`.

        With `wall` it is cancelled once its time is over. Without, whoever runs it for `f` holds it to its wall, as a
        sandbox does, and raises ConstraintViolationError where it has; `f` records what the run has used.
        """
        constraints, kept = self.constraints_of(rule), self.statistics.of(_name(rule))
        if self.left_out(_name(rule), constraints):
            return _default_of(constraints, default)
        budget = ExecutionBudget(constraints, self.clock, cpu_us=self._cpu_us)
        try:
            if wall or constraints.retries_max:
                result = await self._held(budget, f, wall, transient)
            else:
                result = await f(budget)
            budget.require(wall=wall)
        except BaseException as error:
            if self._passed_over(rule, budget, error, default is not CLOSED, report) and default is not CLOSED:
                return default
            raise
        kept.ran(*budget.spent())
        return result

    def _passed_over(
        self,
        rule: Rule | RuleType,
        budget: ExecutionBudget,
        error: BaseException,
        has_default: bool,
        report: Report | None,
    ) -> bool:
        """Count and report how a run failed; return whether that is passed over, as the constraints say."""
        kept = self.statistics.of(_name(rule))
        kept.ran(*budget.spent())
        if not isinstance(error, ConstraintViolationError) or isinstance(error.violation, SampledOut):
            kept.failed()
            return False
        opened = has_default and not budget.constraints.fail_closed
        budget.note(error.violation)
        self.breached(Breach(_name(rule), error.violation, opened), report)
        return opened

    # --- for hosts that hold a rule themselves, as a sandbox and a policy worker do ---

    def left_out(self, rule: str, constraints: ExecutionConstraints) -> bool:
        """Return whether a run is left out as a sample, and count it."""
        if constraints.sampling_rate >= 1 or constraints.should_sample(self._chance):
            return False
        self.statistics.of(rule).violated(SampledOut(constraints.sampling_rate))
        return True

    def breached(self, breach: Breach, report: Report | None) -> None:
        """Count a violation that the host of a rule has found, and report it."""
        self.statistics.of(breach.rule).violated(breach.violation, opened=breach.opened)
        if report is not None:
            report(breach)

    async def _held(
        self,
        budget: ExecutionBudget,
        f: Callable[[ExecutionBudget], Awaitable[_T]],
        wall: bool,
        transient: Callable[[BaseException], bool],
    ) -> _T:
        """Run it with its retries, and cancel it at its wall."""
        limits = budget.constraints
        time_left = asyncio.timeout(budget.remaining_ms() / 1e3 if wall else None)
        try:
            async with time_left:
                return await limits.retry_policy.execute_async(
                    lambda: f(budget), sleep=asyncio.sleep, retryable=_may_pass(transient)
                )
        except TimeoutError as error:
            if not time_left.expired():
                raise  # its own
            late = TimeoutExceeded(limits.wall_ms_max, max(budget.elapsed_ms(), float(limits.wall_ms_max)))
            raise ConstraintViolationError(late) from error


def _name(rule: Rule | RuleType) -> str:
    return rule.value if isinstance(rule, RuleType) else rule.name


def _may_pass(transient: Callable[[BaseException], bool]) -> Callable[[BaseException], bool]:
    """Return which failures may be followed by another try: a violation is not transient, the budget is used."""
    return lambda raised: not isinstance(raised, ConstraintViolationError) and transient(raised)


def _default_of(constraints: ExecutionConstraints, default: _T | Closed) -> _T:
    if default is CLOSED:
        raise ConstraintViolationError(SampledOut(constraints.sampling_rate))
    return default
