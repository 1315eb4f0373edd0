"""The audit events of approvals: each request and each decision is in the log before anything follows from it.

The store has them first. Where the gateway was killed between the two, whoever comes next to the record tells the
log: an event may be there twice, under the same approval, and is never missing.
"""

from typing import Final

from engine.clock import rfc3339
from engine.errors import EngineError
from engine.lru import LruCache
from gateway.commitments import Commitments, Evidence, Hidden
from gateway.events import Audit, EventType, refusal_document
from gateway.identity import Principal, actor
from gateway.missions.ports import MissionKeys
from gateway.store.approval_records import ApprovalRecord
from gateway.subjects.subjects import Name, Subjects

GATEWAY: Final = "gateway"  # as an actor
REMEMBERED_MAX: Final = 16_384  # events that are not written twice by one process


class ApprovalLog:
    """Writes them."""

    def __init__(self, audit: Audit, keys: MissionKeys, subjects: Subjects) -> None:
        self._audit = audit
        self._keys = keys
        self._subjects = subjects
        self._seqs: LruCache[tuple[EventType, str], int] = LruCache(REMEMBERED_MAX, REMEMBERED_MAX)

    async def requested(self, approval: ApprovalRecord, by: str) -> None:
        """Return once the log has the request under a checkpoint."""
        details: Evidence = {
            "approval_id": approval.id,
            "digest": Hidden(approval.digest),
            "bundle": approval.bundle,
            "message": Hidden(approval.message),
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
        details: Evidence = {
            "approval_id": approval.id,
            "state": approval.state.value,
            "digest": Hidden(approval.digest),
            "comment": Hidden(approval.comment),
        }
        decider = await self._subjects.decider(Name(tenant, by)) if by else GATEWAY
        await self._once(EventType.APPROVAL_DECIDED, approval, decider, details)

    async def refused(self, approval: ApprovalRecord, principal: Principal, error: EngineError) -> None:
        """Return once the log has it that somebody tried to decide, and may not."""
        details = {"approval_id": approval.id, **refusal_document(error)}
        await self._audit.durable(await self._append(EventType.APPROVAL_REFUSED, approval, actor(principal), details))

    async def _once(self, event_type: EventType, approval: ApprovalRecord, by: str, details: Evidence) -> None:
        seq = self._seqs.get((event_type, approval.id))
        if seq is None:
            seq = await self._append(event_type, approval, by, details)
            self._seqs.put((event_type, approval.id), seq, 1)
        await self._audit.durable(seq)

    async def _append(self, event_type: EventType, approval: ApprovalRecord, by: str, details: Evidence) -> int:
        committed = Commitments(await self._keys.mission_key(approval.mission_id)).commit(details)
        return self._audit.append(event_type, actor=by, target=_target(approval), details=committed)


def _target(approval: ApprovalRecord) -> str:
    return f"{approval.mission_id}/{approval.step_id}" if approval.step_id else approval.mission_id
