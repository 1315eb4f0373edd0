"""Modules under their constraints: quotas before a run, breakers around it, and an account of it in the end.

The limits of a run themselves are held in the worker (`gateway.sandbox`), to the instruction and to the millisecond.
"""

from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

from engine.breaker import Breakers, Passage
from engine.constraints import ExecutionConstraints
from engine.constraints.budget import ExecutionBudget
from engine.constraints.enforcer import CLOSED, ConstraintEnforcer
from engine.constraints.errors import ConstraintViolationError
from engine.constraints.limits import FUEL_PER_US
from engine.constraints.quotas import Quotas
from engine.constraints.rules import Breach, Rule, RuleType
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
from gateway.events import EventType, Trail
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
        rule_type: RuleType = RuleType.WASM,
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
            rule_type: which kind of rule it is.
            default: what is returned for a run that broke its constraints, or was left out, where those fail open.

        Raises:
            ConstraintViolationError: it broke its constraints, and they fail closed.
            SandboxError: as `Sandbox.run`; `hook.disabled`, unless it fails open: then the default is returned.
        """
        name = rule_name(hook)
        passage: Passage | None = None
        if (breaker := self._breakers.known(caller.tenant, _HOOK, name)) is not None:
            try:
                passage = breaker.admit()
            except StepError as error:
                if default is not None and not constraints.fail_closed:
                    return default
                raise _disabled(error) from error
        run = _Run(sandbox, hook, document, trail, target)
        try:
            return await self._enforcer.execute_async(
                Rule(name, rule_type, constraints),
                partial(self._once, run, caller),
                default=CLOSED if default is None else default,
                wall=False,
                transient=_is_transient,
                report=run.broke,
            )
        finally:
            if passage is not None or run.broken:
                self._settle(passage, run, caller.tenant, name)

    def _settle(self, passage: Passage | None, run: "_Run", tenant: str, name: str) -> None:
        """Tell the breaker how a run ended. A hook gets one with its first violation: most never need any."""
        if passage is None:
            with suppress(StepError):  # others have opened it meanwhile
                passage = self._breakers.of(tenant, _HOOK, name).admit()
        if passage is None:
            return
        if run.broken:
            passage.failed()
        elif run.returned:
            passage.succeeded()
        else:
            passage.abandoned()

    async def _once(self, run: "_Run", caller: Principal, budget: ExecutionBudget) -> RunReport:
        """Run it, and charge it; a run that does not say what it used is charged all that it was granted."""
        used_us, begun = budget.constraints.cpu_us_max, 1
        try:
            report = await run.sandbox.run(run.hook.name, run.document, budget.constraints)
            used_us = report.fuel_used // FUEL_PER_US
        except SandboxError as error:
            if error.code in _UNBEGUN:
                used_us = begun = 0
            if (violation := violation_of(error.code, budget.constraints)) is not None:
                raise ConstraintViolationError(violation, error.message) from error
            raise
        finally:
            budget.record_cpu(used_us)
            self._quotas.charge((caller.tenant, caller.subject), cpu_us=used_us, runs=begun)
        budget.record_memory(report.memory_bytes)
        budget.record_wall(report.wall_us / 1e3)
        run.returned = True
        return report

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
        self._enforcer.statistics.of(breach.rule).violated(violation)
        in_trail(ready.admitted.trail, ready.target)(breach)
        raise ConstraintViolationError(violation, "the step used up its CPU allocation")


class _Run:
    """One run of a module: what is run, and how it came out."""

    __slots__ = ("_target", "_trail", "broken", "document", "hook", "returned", "sandbox")

    def __init__(self, sandbox: Sandbox, hook: Hook, document: bytes, trail: Trail, target: str) -> None:
        self.sandbox = sandbox
        self.hook = hook
        self.document = document
        self.returned = False
        self.broken = False
        self._trail = trail
        self._target = target

    def broke(self, breach: Breach) -> None:
        """Hear of a violation, and record it."""
        self.broken = True
        self._trail.record(EventType.CONSTRAINT_VIOLATED, self._target, breach.document())


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
