"""What one gateway holds its rules with, put together; and where its statistics are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from engine.breaker import Breakers, BreakerSettings
from engine.clock import Clock, thread_cpu_us
from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer
from engine.constraints.quotas import Quota, Quotas
from engine.values import JsonValue
from gateway.constrained.policy import ConstrainedPolicy
from gateway.constrained.record import in_log
from gateway.constrained.runs import ConstrainedRuns, PrincipalQuotas
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.events import Audit
from gateway.policy.engine import PolicyEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The enforcer of a gateway and what uses it."""

    enforcer: ConstraintEnforcer
    quotas: PrincipalQuotas
    sanitizer: ConstrainedSanitizer
    policy: ConstrainedPolicy
    runs: ConstrainedRuns

    @classmethod
    def of(
        cls,
        *,
        profiles: Mapping[str, ExecutionConstraints],
        rules: Mapping[str, ExecutionConstraints],
        quota: Quota,
        breakers: BreakerSettings,
        policy: PolicyEngine,
        audit: Audit,
        clock: Clock,
        chance: Callable[[], float],
        cpu_us: Callable[[], int] = thread_cpu_us,
    ) -> Self:
        """Put together.

        Args:
            profiles: of modules; those named as the four types of rules are the enforcer's.
            rules: of sanitizer and policy.
            quota: of every principal.
            breakers: of hooks.
            policy: what decides.
            audit: where violations are recorded.
            clock: measures.
            chance: numbers from 0 to below 1, for samples.
            cpu_us: CPU time of the calling thread so far, in µs.
        """
        enforcer = ConstraintEnforcer(clock, chance=chance, cpu_us=cpu_us)
        _adopt(enforcer, profiles)
        quotas: PrincipalQuotas = Quotas(quota, clock)
        report = in_log(audit)
        return cls(
            enforcer=enforcer,
            quotas=quotas,
            sanitizer=ConstrainedSanitizer(enforcer, rules, report),
            policy=ConstrainedPolicy(policy, enforcer, rules, report),
            runs=ConstrainedRuns(enforcer, quotas, Breakers(breakers, clock)),
        )

    def adopt(
        self, profiles: Mapping[str, ExecutionConstraints], rules: Mapping[str, ExecutionConstraints], quota: Quota
    ) -> None:
        """From now on hold everything to these; what is under way keeps what it began with."""
        _adopt(self.enforcer, profiles)
        self.quotas.adopt(quota)
        self.sanitizer.adopt(rules)
        self.policy.adopt(rules)

    def document(self) -> dict[str, JsonValue]:
        """Return what all rules have used, and how far quotas are used, as JSON."""
        return {"rules": self.enforcer.statistics.document(), "quotas": self.quotas.document()}


def _adopt(enforcer: ConstraintEnforcer, profiles: Mapping[str, ExecutionConstraints]) -> None:
    """Give the enforcer the profiles that are named as types of rules."""
    enforcer.adopt(
        fast=profiles.get("fast"),
        semantic=profiles.get("semantic"),
        wasm=profiles.get("wasm"),
        observational=profiles.get("observational"),
    )
