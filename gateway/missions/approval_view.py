"""What callers are told of an approval."""

from dataclasses import dataclass
from datetime import datetime

from engine.clock import rfc3339
from engine.values import JsonValue
from gateway.missions.approval_rules import is_expired
from gateway.store.approval_records import ApprovalRecord, ApprovalState


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """An approval as its readers see it."""

    approval_id: str
    mission_id: str
    step_id: str
    item: int | None
    digest: str
    message: str
    approvers: tuple[str, ...]
    state: str  # "pending", "approved", "denied", "expired", "withdrawn"
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str
    comment: str
    entrypoint: str = ""  # of the decision that wants it; empty: the step itself asks
    decided_roles: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: ApprovalRecord, now: datetime) -> "ApprovalView":
        """Return the view; one whose time is over is expired, though nobody has recorded it yet."""
        state = ApprovalState.EXPIRED if is_expired(record, now) else record.state
        return cls(
            approval_id=record.id,
            mission_id=record.mission_id,
            step_id=record.step_id,
            item=record.item,
            digest=record.digest,
            message=record.message,
            approvers=record.approvers,
            state=state.value,
            requested_at=record.requested_at,
            expires_at=record.expires_at,
            decided_at=record.decided_at,
            decided_by=record.decided_by or "",
            comment=record.comment,
            entrypoint=record.entrypoint,
            decided_roles=record.decided_roles,
        )

    def document(self) -> dict[str, JsonValue]:
        """Return the view as JSON."""
        return {
            "approval_id": self.approval_id,
            "mission_id": self.mission_id,
            "step_id": self.step_id,
            "item": self.item,
            "digest": self.digest,
            "message": self.message,
            "approvers": list(self.approvers),
            "state": self.state,
            "requested_at": rfc3339(self.requested_at),
            "expires_at": rfc3339(self.expires_at),
            "decided_at": rfc3339(self.decided_at) if self.decided_at else None,
            "decided_by": self.decided_by,
            "comment": self.comment,
            "entrypoint": self.entrypoint or None,
            "decided_roles": list(self.decided_roles),
        }
