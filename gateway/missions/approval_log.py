"""The audit events of approvals: each request and each decision is in the log before anything follows from it.

The store has them first. Where the gateway was killed between the two, whoever comes next to the record tells the
log: an event may be there twice, under the same approval, and is never missing.
"""

from typing import Final

from engine.clock import rfc3339
from engine.errors import EngineError
from engine.lru import LruCache
from engine.values import JsonValue
from gateway.events import Audit, EventType, digest, refusal_document
from gateway.identity import Principal, actor
from gateway.store.approval_records import ApprovalRecord

GATEWAY: Final = "gateway"  # as an actor
REMEMBERED_MAX: Final = 16_384  # events that are not written twice by one process


class ApprovalLog:
    """Writes them."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._seqs: LruCache[tuple[EventType, str], int] = LruCache(REMEMBERED_MAX, REMEMBERED_MAX)

    async def requested(self, approval: ApprovalRecord, by: str) -> None:
        """Return once the log has the request under a checkpoint."""
        details: dict[str, JsonValue] = {
            "approval_id": approval.id,
            "digest": approval.digest,
            "bundle": approval.bundle,
            "message": digest(approval.message),
            "approvers": list(approval.approvers),
            "expires_at": rfc3339(approval.expires_at),
        }
        if approval.entrypoint:  # policy asks, and no step
            details["entrypoint"] = approval.entrypoint
        if approval.item is not None:
            details["item"] = approval.item
        await self._once(EventType.APPROVAL_REQUESTED, approval, by, details)

    async def decided(self, approval: ApprovalRecord, tenant: str) -> None:
        """Return once the log has the end of a request under a checkpoint; nobody's decision is the gateway's."""
        by = approval.decided_by
        details: dict[str, JsonValue] = {
            "approval_id": approval.id,
            "state": approval.state.value,
            "digest": approval.digest,
            "comment": digest(approval.comment),
        }
        decider = actor(Principal(subject=by, tenant=tenant)) if by else GATEWAY
        await self._once(EventType.APPROVAL_DECIDED, approval, decider, details)

    async def refused(self, approval: ApprovalRecord, principal: Principal, error: EngineError) -> None:
        """Return once the log has it that somebody tried to decide, and may not."""
        details = {"approval_id": approval.id, **refusal_document(error)}
        seq = self._audit.append(
            EventType.APPROVAL_REFUSED, actor=actor(principal), target=_target(approval), details=details
        )
        await self._audit.durable(seq)

    async def _once(
        self, event_type: EventType, approval: ApprovalRecord, by: str, details: dict[str, JsonValue]
    ) -> None:
        seq = self._seqs.get((event_type, approval.id))
        if seq is None:
            seq = self._audit.append(event_type, actor=by, target=_target(approval), details=details)
            self._seqs.put((event_type, approval.id), seq, 1)
        await self._audit.durable(seq)


def _target(approval: ApprovalRecord) -> str:
    return f"{approval.mission_id}/{approval.step_id}" if approval.step_id else approval.mission_id
