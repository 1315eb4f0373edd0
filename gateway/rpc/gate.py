"""The gate: every call is decided by `data.gateway.rpc.decision`; a refusal is recorded before it is told.

What has an event of its own is taken from its principal's quota before it is appended; the rest is counted
(`gateway.rpc.accounts`). A denial over the quota is counted and told all the same. A call over it that could not be
recorded does not take place.
"""

from typing import Any, Final

from engine.clock import Clock, SystemClock
from engine.errors import EngineError
from engine.values import JsonObject
from gateway.authn.refusals import Refusals
from gateway.commitments import Evidence, Hidden
from gateway.decided import note
from gateway.errors import OverloadedError, PolicyDeniedError
from gateway.events import Audit, EventType, reasons_document
from gateway.identity import Principal, known_as
from gateway.policy import document
from gateway.policy.engine import PolicyEngine
from gateway.rpc.accounts import Accounts

_READS_OF_THE_LOG: Final = frozenset({"gateway.v1.AuditService"})
_READS_OF_DECISIONS: Final = frozenset({("gateway.v1.PolicyService", "ReplayDecisions")})
_IN_LOG: Final = ("mission_id", "audit_scope")  # of what a call is about; not what others are or did
_OURS: Final = "gateway.v1."
_SILENT: Final = ("Get", "List", "Watch", "Check", "Evaluate")  # what methods begin with that record nothing
_RECORDED_IF_REFUSED: Final = frozenset({"SubmitMission", "PlanMission"})  # what is admitted has limits of its own


class PolicyGate:
    """Asks Rego about each call; reads of the audit log are recorded too."""

    def __init__(
        self, policy: PolicyEngine, audit: Audit, clock: Clock | None = None, accounts: Accounts | None = None
    ) -> None:
        """Ask `policy`; `clock` says when a decision is taken, and is the machine's where none is given."""
        self._policy = policy
        self._audit = audit
        self._clock = clock or SystemClock()
        self._accounts = accounts or Accounts(audit, self._clock, Refusals())

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
            OverloadedError: `rpc.event_quota`, the principal has caused too many events to cause this one.
            FaultError: what had to be recorded could not be.
        """
        now = self._clock.now()
        asked = document.rpc_document(principal, service=service, method=method, resource=resource, now=now)
        decision = await self._policy.decide("rpc", asked)
        target = f"{service}/{method}"
        try:
            decision.require()
        except PolicyDeniedError as refusal:
            if principal.anonymous or not self._accounts.quota.take(known_as(principal).pseudonym):
                self._accounts.denied(principal, target)  # nobody can fill the log with what they may not do
                raise
            evidence: Evidence = {"document": Hidden(asked)}
            note(decision, evidence)
            told = {"reasons": reasons_document(refusal.reasons), **_named(resource), "tenant": principal.tenant}
            await self._record(EventType.RPC_DENIED, principal, target, {**evidence, **told})
            raise
        self._require_quota(principal, service, method)
        if service in _READS_OF_THE_LOG or (service, method) in _READS_OF_DECISIONS:
            details = {"tenant": principal.tenant, **(reading or {})}
            await self._record(EventType.LOG_READ, principal, target, details)
        else:
            self._accounts.allowed(principal, target)

    def failed(self, principal: Principal, service: str, method: str, error: Exception) -> None:
        """Count that a call has failed which was allowed; that of a mission which is refused is an event, too."""
        code = error.code if isinstance(error, EngineError) else "internal"
        self._accounts.failed(principal, f"{service}/{method}", code)
        if method in _RECORDED_IF_REFUSED:
            self._accounts.quota.take(known_as(principal).pseudonym)

    def _require_quota(self, principal: Principal, service: str, method: str) -> None:
        """Return if the principal may cause the event that the call has, or may have."""
        if not service.startswith(_OURS) or (service not in _READS_OF_THE_LOG and method.startswith(_SILENT)):
            return
        quota, who = self._accounts.quota, known_as(principal).pseudonym
        if not (quota.has(who) if method in _RECORDED_IF_REFUSED else quota.take(who)):
            self._accounts.over_quota(principal, f"{service}/{method}")
            message = "you have caused more events of the audit log than one principal may in a minute"
            raise OverloadedError(message, code="rpc.event_quota")

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
