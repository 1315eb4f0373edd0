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
from engine.constraints.enforcer import ConstraintEnforcer
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
    SampledOut,
    Single,
    TimeoutExceeded,
)
from engine.errors import StepError
from gateway.constrained.record import in_trail
from gateway.errors import SandboxError
from gateway.events import Trail
from gateway.identity import Principal
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import RunReport, Sandbox
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
        breaker = self._breakers.known(caller.tenant, _HOOK, rule_name(hook))
        if breaker is not None:
            try:
                breaker.require()
            except StepError as error:
                raise _disabled(error) from error

    def run_step(
        self, sandbox: Sandbox, ready: ReadyStep, document: bytes, constraints: ExecutionConstraints
    ) -> Coroutine[Any, Any, RunReport]:
        """Run the module of a step. A step never fails open, and is never left out as a sample.

        Raises:
            ConstraintViolationError: it broke its constraints; the mission's trail has it.
            SandboxError: as `Sandbox.run`, and `hook.disabled`.
        """
        if constraints.sampling_rate < 1:
            constraints = replace(constraints, sampling_rate=1.0)
        admitted = ready.admitted
        return self.run_hook(
            sandbox,
            ready.kind.hook,
            document,
            constraints,
            caller=admitted.caller,
            trail=admitted.trail,
            target=ready.target,
        )

    async def run_hook(
        self,
        sandbox: Sandbox,
        hook: Hook,
        document: bytes,
        constraints: ExecutionConstraints,
        *,
        caller: Principal,
        trail: Trail,
        target: str,
        default: RunReport | None = None,
    ) -> RunReport:
        """Run a module once and account for it.

        Args:
            sandbox: where.
            hook: whose module.
            document: its input.
            constraints: what it gets; with a `default` they may fail open, and leave runs out.
            caller: who is charged.
            trail: where a violation is recorded.
            target: what the event names.
            default: what is returned for a run that broke its constraints, or was left out, where those fail open.

        Raises:
            ConstraintViolationError: it broke its constraints, and they fail closed.
            SandboxError: as `Sandbox.run`; `hook.disabled`, unless it fails open: then the default is returned.
        """
        name = rule_name(hook)
        if self._enforcer.left_out(name, constraints):
            if default is None:
                raise ConstraintViolationError(SampledOut(constraints.sampling_rate))
            return default
        passage: Passage | None = None
        if (breaker := self._breakers.known(caller.tenant, _HOOK, name)) is not None:
            try:
                passage = breaker.admit()
            except StepError as error:
                if default is not None and not constraints.fail_closed:
                    return default
                raise _disabled(error) from error
        run = _Run(name, constraints, self._now())
        try:
            run.report = await _answer(sandbox, hook, document, constraints)
        except SandboxError as error:
            run.begun = error.code not in _UNBEGUN
            run.violation = violation_of(error.code, constraints)
            if run.violation is None:
                raise
            opened = default is not None and not constraints.fail_closed
            self._enforcer.breached(Breach(name, run.violation, opened), in_trail(trail, target))
            if default is None or not opened:
                raise ConstraintViolationError(run.violation, error.message) from error
            return default
        finally:
            self._account(run, caller, passage)
        return run.report

    def _account(self, run: "_Run", caller: Principal, passage: Passage | None) -> None:
        """Charge and count a run that has ended, and tell its breaker, if it has one.

        A run that does not say what it used is charged all that it was granted. A hook gets a breaker with its first
        violation: most never need any.
        """
        kept, report = self._enforcer.statistics.of(run.name), run.report
        if report is not None:
            used_us = report.fuel_used // FUEL_PER_US
            kept.ran(report.wall_us, used_us, report.memory_bytes)
        else:
            used_us = run.constraints.cpu_us_max if run.begun else 0
            kept.ran(int((self._now() - run.since) * 1e6), used_us, 0)
            if run.violation is None:
                kept.failed()
        self._quotas.charge((caller.tenant, caller.subject), cpu_us=used_us, runs=int(run.begun))
        if passage is None and run.violation is not None:
            with suppress(StepError):  # others have opened it meanwhile
                passage = self._breakers.of(caller.tenant, _HOOK, run.name).admit()
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
        breach = Breach(rule_name(ready.kind.hook), violation, opened=False)
        self._enforcer.breached(breach, in_trail(ready.admitted.trail, ready.target))
        raise ConstraintViolationError(violation, "the step used up its CPU allocation")


class _Run:
    """One run of a module, and how it came out."""

    __slots__ = ("begun", "constraints", "name", "report", "since", "violation")

    def __init__(self, name: str, constraints: ExecutionConstraints, since: float) -> None:
        self.name = name
        self.constraints = constraints
        self.since = since
        self.begun = True
        self.report: RunReport | None = None
        self.violation: Single | None = None


def _answer(
    sandbox: Sandbox, hook: Hook, document: bytes, constraints: ExecutionConstraints
) -> Coroutine[Any, Any, RunReport]:
    """Run it, again where there was no worker and the constraints say so."""
    if not constraints.retries_max:
        return sandbox.run(hook.name, document, constraints)
    run = partial(sandbox.run, hook.name, document, constraints)
    return constraints.retry_policy.execute_async(run, sleep=asyncio.sleep, retryable=_is_transient)


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


def rule_name(hook: Hook) -> str:
    """Return what statistics, events and messages call a hook; versions of one are different rules."""
    return f"{hook.name}@{hook.version}"


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, SandboxError) and error.code in _UNBEGUN


def _disabled(error: StepError) -> SandboxError:
    return SandboxError(error.message, code="hook.disabled")
