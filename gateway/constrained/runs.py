"""Modules under their constraints: quotas before a run, breakers around it, and an account of it in the end.

The limits of a run themselves are held in the worker (`gateway.sandbox`), to the instruction and to the millisecond.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

from engine.breaker import Breakers, Passage
from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer, Report
from engine.constraints.errors import ConstraintViolationError
from engine.constraints.limits import FUEL_PER_US
from engine.constraints.quotas import Quotas
from engine.constraints.rules import Breach
from engine.constraints.violations import (
    CPU_CODE,
    MEMORY_CODE,
    TIMEOUT_CODE,
    CpuExceeded,
    MemoryExceeded,
    Single,
    TimeoutExceeded,
)
from engine.errors import StepError
from gateway.constrained.record import in_trail
from gateway.errors import SandboxError
from gateway.identity import Principal
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import RunGiven, RunReport, Sandbox
from gateway.stages import ReadyStep

PrincipalQuotas: TypeAlias = Quotas[tuple[str, str]]  # by tenant and subject

_HOOK: Final = "hook"
_UNBEGUN: Final = frozenset({"sandbox.unavailable", "sandbox.overloaded"})  # there was no run, and nothing is charged


class ConstrainedRuns:
    """Runs modules, of steps and of other hooks, for one gateway."""

    def __init__(self, enforcer: ConstraintEnforcer, quotas: PrincipalQuotas, breakers: Breakers) -> None:
        """Prepare; `breakers` are of hooks, by tenant: what one tenant feeds to a hook takes it from nobody else."""
        self._enforcer = enforcer
        self._now = enforcer.clock.monotonic
        self._quotas = quotas
        self._breakers = breakers

    def require(self, caller: Principal, hook: Hook) -> None:
        """Return if a module may be run for a principal now; asked before the verdict about a step.

        Raises:
            ResourceExhaustedError: `quota.exceeded`.
            SandboxError: `hook.disabled`, it has broken its constraints too often of late.
        """
        self._quotas.require((caller.tenant, caller.subject))
        breaker = self._breakers.known(caller.tenant, _HOOK, hook.key)
        if breaker is not None:
            try:
                breaker.require()
            except StepError as error:
                raise _disabled(error) from error

    async def run_step(
        self, sandbox: Sandbox, ready: ReadyStep, document: bytes, constraints: ExecutionConstraints, given: RunGiven
    ) -> RunReport:
        """Run the module of a step, and charge its principal. A step never fails open, and is never left out.

        Raises:
            ConstraintViolationError: it broke its constraints; the mission's trail has it.
            SandboxError: as `Sandbox.run`, and `hook.disabled`.
        """
        caller, trail = ready.admitted.caller, ready.admitted.trail
        run = _Run(ready.kind.hook, constraints)
        try:
            return await self._held(sandbox, run, document, given, caller.tenant, in_trail(trail, ready.target))
        finally:
            self._quotas.charge((caller.tenant, caller.subject), cpu_us=run.used_us, runs=int(run.begun))

    def reused(self, caller: Principal) -> None:
        """Charge a principal for a run that was spared: one run, and no time. A quota does not tell what was kept."""
        self._quotas.charge((caller.tenant, caller.subject), cpu_us=0)

    async def run_hook(
        self,
        sandbox: Sandbox,
        hook: Hook,
        document: bytes,
        constraints: ExecutionConstraints,
        given: RunGiven,
        *,
        tenant: str,
        report: Report | None,
    ) -> RunReport:
        """Run the module of a screen, a rewrite or an observer, which costs its site and not the principal.

        Args:
            sandbox: where.
            hook: whose module.
            document: its input.
            constraints: what it gets; a violation that they pass over is raised all the same, and passed over by the
                caller.
            given: its clock and chance.
            tenant: whose breaker of the hook it is.
            report: hears of a violation; None: its caller counts them.

        Raises:
            ConstraintViolationError: it broke its constraints.
            SandboxError: as `Sandbox.run`, and `hook.disabled`.
        """
        return await self._held(sandbox, _Run(hook, constraints), document, given, tenant, report)

    def left_out(self, hook: Hook, constraints: ExecutionConstraints) -> bool:
        """Return whether a run of an observer is left out as a sample, and count it."""
        return self._enforcer.left_out(hook.key, constraints)

    async def _held(
        self, sandbox: Sandbox, run: "_Run", document: bytes, given: RunGiven, tenant: str, report: Report | None
    ) -> RunReport:
        """Run a module behind its breaker, and account for it."""
        passage: Passage | None = None
        breaker = self._breakers.known(tenant, _HOOK, run.hook.key) if run.may_be_disabled else None
        if breaker is not None:
            try:
                passage = breaker.admit()
            except StepError as error:
                raise _disabled(error) from error
        run.since = self._now()
        run.begun = True
        try:
            run.report = await _answer(sandbox, run, document, given)
        except SandboxError as error:
            run.begun = error.code not in _UNBEGUN
            run.violation = violation_of(error.code, run.constraints)
            if run.violation is None:
                raise
            self._enforcer.breached(Breach(run.hook.key, run.violation, run.opens), report)
            raise ConstraintViolationError(run.violation, error.message) from error
        finally:
            self._account(run, tenant, passage)
        return run.report

    def _account(self, run: "_Run", tenant: str, passage: Passage | None) -> None:
        """Count a run that has ended, and tell its breaker, if it has one.

        A run that does not say what it used has used all that it was granted. A hook gets a breaker with its first
        violation: most never need any.
        """
        kept, report = self._enforcer.statistics.of(run.hook.key), run.report
        if report is not None:
            run.used_us = report.fuel_used // FUEL_PER_US
            kept.ran(report.wall_us, run.used_us, report.memory_bytes)
        else:
            run.used_us = run.constraints.cpu_us_max if run.begun else 0
            kept.ran(int((self._now() - run.since) * 1e6), run.used_us, 0)
            if run.violation is None:
                kept.failed()
        if passage is None and run.violation is not None and run.may_be_disabled:
            with suppress(StepError):  # others have opened it meanwhile
                passage = self._breakers.of(tenant, _HOOK, run.hook.key).admit()
        if passage is None:
            return
        if run.violation is not None:
            passage.failed()
        elif report is not None:
            passage.succeeded()
        else:
            passage.abandoned()

    def spend(self, ready: ReadyStep, constraints: ExecutionConstraints, fuel_used: int) -> ExecutionConstraints:
        """Return what is left of a step's fuel for the rounds to come.

        Raises:
            ConstraintViolationError: nothing is; the mission's trail has it.
        """
        left = constraints.fuel_max - max(fuel_used, 0)
        if left >= 1:
            return replace(constraints, fuel_max=left)
        violation = CpuExceeded(constraints.cpu_us_max, fuel_used // FUEL_PER_US)
        breach = Breach(ready.kind.hook.key, violation, opened=False)
        self._enforcer.breached(breach, in_trail(ready.admitted.trail, ready.target))
        raise ConstraintViolationError(violation, "the step used up its CPU allocation")


class _Run:
    """One run of a module, and how it came out."""

    __slots__ = ("begun", "constraints", "hook", "report", "since", "used_us", "violation")

    def __init__(self, hook: Hook, constraints: ExecutionConstraints) -> None:
        self.hook = hook
        self.constraints = constraints
        self.since = 0.0
        self.begun = False
        self.used_us = 0  # CPU time
        self.report: RunReport | None = None
        self.violation: Single | None = None

    @property
    def opens(self) -> bool:
        """Whether a violation is passed over, as `PlacedHook.fails_open` says; never of a step."""
        kind = self.hook.kind
        return kind == "observe" or (kind == "screen" and not self.constraints.fail_closed)

    @property
    def may_be_disabled(self) -> bool:
        """Whether it has a breaker: not a screen whose violations are passed over.

        With a few documents that are too much for it, a tenant could switch it off, and then bring what it would deny.
        """
        return not (self.hook.kind == "screen" and self.opens)


def _answer(sandbox: Sandbox, run: _Run, document: bytes, given: RunGiven) -> Coroutine[Any, Any, RunReport]:
    """Run it, again where there was no worker and the constraints say so."""
    constraints = run.constraints
    if not constraints.retries_max:
        return sandbox.run(run.hook.key, document, constraints, given)
    once = partial(sandbox.run, run.hook.key, document, constraints, given)
    return constraints.retry_policy.execute_async(once, sleep=asyncio.sleep, retryable=_is_transient)


def violation_of(code: str, constraints: ExecutionConstraints) -> Single | None:
    """Return the violation that a sandbox's code stands for; None: it is none.

    A run that is stopped at its limit does not say by how much it would have passed it: `used` is the limit.
    """
    if code == CPU_CODE:
        return CpuExceeded(constraints.cpu_us_max, constraints.cpu_us_max)
    if code == TIMEOUT_CODE:
        return TimeoutExceeded(constraints.wall_ms_max, float(constraints.wall_ms_max))
    if code == MEMORY_CODE:
        return MemoryExceeded(constraints.memory_bytes_max, constraints.memory_bytes_max)
    return None


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, SandboxError) and error.code in _UNBEGUN


def _disabled(error: StepError) -> SandboxError:
    return SandboxError(error.message, code="hook.disabled")
