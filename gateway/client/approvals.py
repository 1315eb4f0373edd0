"""Approvals: what steps and policy ask people, and what they said."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from gateway.client.documented import Documented
from gateway.client.wire import moment, word
from gateway.v1 import mission_pb2


class ApprovalState(StrEnum):
    """Pending, and then one of the others for good."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"  # nobody decided in time
    WITHDRAWN = "withdrawn"  # the mission ended without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval(Documented):
    """What people are asked for, by a step or by policy."""

    approval_id: str
    mission_id: str
    step_id: str  # "" where it is about the whole mission
    item: int | None  # of a fan-out: from 0
    digest: str  # "sha256:<hex>" of what is approved: a decision names it
    message: str
    approvers: tuple[str, ...]  # roles, one of which whoever decides must have
    state: ApprovalState
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str
    comment: str
    entrypoint: str | None  # what policy was asked about; None: the step itself asks
    decided_roles: tuple[str, ...]

    @classmethod
    def of(cls, message: mission_pb2.Approval) -> Self:
        """Read the message."""
        return cls(
            approval_id=message.approval_id,
            mission_id=message.mission_id,
            step_id=message.step_id,
            item=message.item if message.HasField("item") else None,
            digest=message.digest,
            message=message.message,
            approvers=tuple(message.approvers),
            state=word(ApprovalState, mission_pb2.ApprovalState.Name(message.state)),
            requested_at=moment(message.requested_at),
            expires_at=moment(message.expires_at),
            decided_at=moment(message.decided_at) if message.HasField("decided_at") else None,
            decided_by=message.decided_by,
            comment=message.comment,
            entrypoint=message.entrypoint or None,
            decided_roles=tuple(message.decided_roles),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage(Documented):
    """Approvals, oldest first."""

    approvals: tuple[Approval, ...]
    omitted: int  # younger ones that there was no room for

    @classmethod
    def of(cls, message: mission_pb2.ListApprovalsResponse) -> Self:
        """Read the message."""
        return cls(approvals=tuple(map(Approval.of, message.approvals)), omitted=message.omitted)
