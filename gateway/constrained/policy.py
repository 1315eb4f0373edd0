"""Policy under its constraints: each decision is counted, and one that came too late is a violation beside its deny."""

from collections.abc import Mapping

from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer, Report
from engine.constraints.rules import Breach
from engine.constraints.violations import TimeoutExceeded
from gateway.constrained.data import policy_rule
from gateway.errors import HOST_RULE
from gateway.policy.decision import Decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, PolicyEngine

_LATE = "policy.timeout"
_US = 1e6


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
        self._now = enforcer.clock.monotonic
        self._kept = {name: enforcer.statistics.of(policy_rule(name)) for name in ENTRYPOINTS}
        self._report = report
        self.adopt(rules)

    def adopt(self, rules: Mapping[str, ExecutionConstraints]) -> None:
        """From now on report decisions as late by these; the engine that gives them holds the deadlines."""
        self._walls_ms = {name: rules[policy_rule(name)].wall_ms_max for name in ENTRYPOINTS}

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._inner.digest

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; whatever goes wrong is a deny (`PolicyEngine.decide`).

        Raises:
            FaultError: a late decision could not be recorded.
        """
        began = self._now()
        decision = await self._inner.decide(entrypoint, document)
        wall_us = int((self._now() - began) * _US)
        self._kept[entrypoint].ran(wall_us, 0, 0)
        if not decision.allow and any(r.code == _LATE and r.rule == HOST_RULE for r in decision.reasons):
            limit_ms = self._walls_ms[entrypoint]
            violation = TimeoutExceeded(limit_ms, max(wall_us / 1e3, float(limit_ms)))
            self._enforcer.breached(Breach(policy_rule(entrypoint), violation, opened=False), self._report)
        return decision
