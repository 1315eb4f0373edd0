"""The gate: every call is decided by `data.gateway.rpc.decision`; a refusal is recorded before it is told."""

from typing import Any, Final

from engine.audit.log import AuditLog
from engine.clock import Clock, SystemClock
from engine.values import JsonObject
from gateway.commitments import Evidence, Hidden
from gateway.decided import note
from gateway.errors import PolicyDeniedError
from gateway.events import EventType, reasons_document
from gateway.identity import Principal, known_as
from gateway.policy import document
from gateway.policy.engine import PolicyEngine

_READS_OF_THE_LOG: Final = frozenset({"gateway.v1.AuditService"})
_READS_OF_DECISIONS: Final = frozenset({("gateway.v1.PolicyService", "ReplayDecisions")})


_IN_LOG: Final = ("mission_id", "audit_scope")  # of what a call is about; not what others are or did


class PolicyGate:
    """Asks Rego about each call; reads of the audit log are recorded too."""

    def __init__(self, policy: PolicyEngine, audit: AuditLog, clock: Clock | None = None) -> None:
        """Ask `policy`; `clock` says when a decision is taken, and is the machine's where none is given."""
        self._policy = policy
        self._audit = audit
        self._clock = clock or SystemClock()

    @property
    def bundle(self) -> str:
        """Digest of the bundle that decides now."""
        return self._policy.digest

    async def authorize(
        self, principal: Principal, service: str, method: str, resource: JsonObject, reading: Evidence | None = None
    ) -> None:
        """Return if the call is allowed; `reading` is what the log is told of a call that reads it.

        Raises:
            PolicyDeniedError: it is not, or no decision could be had.
            FaultError: what had to be recorded could not be.
        """
        now = self._clock.now()
        asked = document.rpc_document(principal, service=service, method=method, resource=resource, now=now)
        decision = await self._policy.decide("rpc", asked)
        try:
            decision.require()
        except PolicyDeniedError as refusal:
            if not principal.anonymous:  # a stranger must not be able to fill the log
                evidence: Evidence = {"document": Hidden(asked)}
                note(decision, evidence)
                told = {"reasons": reasons_document(refusal.reasons), **_named(resource), "tenant": principal.tenant}
                details = {**evidence, **told}
                await self._record(EventType.RPC_DENIED, principal, f"{service}/{method}", details)
            raise
        if service in _READS_OF_THE_LOG or (service, method) in _READS_OF_DECISIONS:
            details = {"tenant": principal.tenant, **(reading or {})}
            await self._record(EventType.LOG_READ, principal, f"{service}/{method}", details)

    async def _record(self, event: EventType, principal: Principal, target: str, details: Evidence) -> None:
        known = known_as(principal)
        committed = known.commitments.commit(details)
        await self._audit.durable(self._audit.append(event, actor=known.pseudonym, target=target, details=committed))


def _named(resource: JsonObject) -> Evidence:
    """Return what a call is about; what a caller has taken for the id of a mission may be anything."""
    named: dict[str, Any] = {name: resource[name] for name in _IN_LOG if name in resource}
    if "mission_id" in named and "tenant" not in resource:
        named["mission_id"] = Hidden(named["mission_id"])
    return named
