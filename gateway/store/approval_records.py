"""Approvals as the store takes and gives them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ApprovalState(StrEnum):
    """Pending, and then one of the others for good."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # its mission ended without it


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApproval:
    """A request for an approval, not yet recorded; it is pending."""

    id: str
    mission_id: str
    step_id: str  # empty: it is about the mission as a whole
    item: int | None  # of a fan-out
    digest: str  # of what is approved: the policy document of the effect
    bundle: str  # of the decision that allowed the request
    message: str
    approvers: tuple[str, ...]  # roles
    requested_at: datetime
    expires_at: datetime
    effect_key: str  # unique: asking twice finds the first request
    entrypoint: str = ""  # of the decision that wants it: "mission", "step", "effect"; empty: the step itself asks


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """A request as recorded; `decided_*` and `comment` have a meaning once it is no longer pending."""

    id: str
    mission_id: str
    step_id: str
    item: int | None
    digest: str
    bundle: str
    message: str
    approvers: tuple[str, ...]
    state: ApprovalState
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None  # the subject; None where nobody decided
    comment: str
    effect_key: str
    entrypoint: str = ""
    decided_roles: tuple[str, ...] = ()  # of who decided, as they were then
