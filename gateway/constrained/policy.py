"""Policy under its constraints: each decision is counted, and one that came too late is a violation beside its deny."""

from collections.abc import Mapping
from functools import partial

from engine.constraints import ExecutionConstraints
from engine.constraints.budget import ExecutionBudget
from engine.constraints.enforcer import ConstraintEnforcer, Report
from engine.constraints.errors import ConstraintViolationError
from engine.constraints.rules import Rule, RuleType
from engine.constraints.violations import TimeoutExceeded
from gateway.constrained.data import policy_rule
from gateway.policy.decision import Decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, PolicyEngine

_HOST_RULE = "host"
_LATE = "policy.timeout"


class _LateError(ConstraintViolationError):
    """A decision that was not there in time, with the deny that stands for it."""

    def __init__(self, violation: TimeoutExceeded, decision: Decision) -> None:
        super().__init__(violation)
        self.decision = decision


class ConstrainedPolicy:
    """Implements `gateway.policy.engine.PolicyEngine` around another one, which holds its own deadlines."""

    def __init__(
        self,
        inner: PolicyEngine,
        enforcer: ConstraintEnforcer,
        rules: Mapping[str, ExecutionConstraints],
        report: Report,
    ) -> None:
        """Prepare.

        Args:
            inner: decides, within the wall of `rules`.
            enforcer: counts.
            rules: as `gateway.constrained.data.rules_from`.
            report: hears of decisions that came too late.
        """
        self._inner = inner
        self._enforcer = enforcer
        self._rules = {
            entrypoint: Rule(policy_rule(entrypoint), RuleType.SEMANTIC, rules[policy_rule(entrypoint)])
            for entrypoint in ENTRYPOINTS
        }
        self._report = report

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._inner.digest

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; whatever goes wrong is a deny (`PolicyEngine.decide`).

        Raises:
            FaultError: a late decision could not be recorded.
        """
        rule = self._rules[entrypoint]
        decide = partial(self._decide, entrypoint, document)
        try:
            return await self._enforcer.execute_async(rule, decide, wall=False, report=self._report)
        except _LateError as late:
            return late.decision

    async def _decide(self, entrypoint: Entrypoint, document: bytes, budget: ExecutionBudget) -> Decision:
        decision = await self._inner.decide(entrypoint, document)
        if not decision.allow and any(r.code == _LATE and r.rule == _HOST_RULE for r in decision.reasons):
            limit_ms = budget.constraints.wall_ms_max
            raise _LateError(TimeoutExceeded(limit_ms, max(budget.elapsed_ms(), float(limit_ms))), decision)
        return decision
