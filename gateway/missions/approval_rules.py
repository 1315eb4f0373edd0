"""Who may decide an approval, and when: the rules, without any I/O."""

from datetime import datetime

from gateway.errors import ConflictError, PolicyDeniedError, Reason
from gateway.identity import Principal
from gateway.missions.ports import MissionFacts
from gateway.store.approval_records import ApprovalRecord, ApprovalState

_RULE = "gateway.missions.approval_rules"  # of a host's own check, where a reason names a rule


def require_decidable(
    approval: ApprovalRecord,
    mission: MissionFacts,
    root: MissionFacts,
    principal: Principal,
    *,
    digest: str,
    now: datetime,
) -> None:
    """Return if `principal` may decide `approval` now. Whoever may not decide hears nothing of its state.

    Raises:
        PolicyDeniedError: `approval.not_yours`, none of the roles; `approval.own_mission`, the submitter.
        ConflictError: `approval.digest_mismatch`, `approval.expired`, `approval.decided`, `approval.mission_ended`.
    """
    _require_approver(approval, principal)  # (1) one of the roles, authenticated
    _require_other(mission, root, principal)  # (2) four eyes
    if digest != approval.digest:  # (3) what was looked at is what is approved
        message = "this is not the digest of what is to be approved; look at it again"
        raise ConflictError(message, code="approval.digest_mismatch")
    if is_expired(approval, now):  # (4) in time
        raise ConflictError("the time to decide is over", code="approval.expired")
    if approval.state is not ApprovalState.PENDING:  # (5) once
        raise ConflictError(f"the approval is {approval.state.value} already", code="approval.decided")
    if mission.ended_at is not None:
        raise ConflictError("the mission has ended, so nothing waits for a decision", code="approval.mission_ended")


def is_expired(approval: ApprovalRecord, now: datetime) -> bool:
    """Return whether nobody has decided in time, be it recorded already or not."""
    late = approval.state is ApprovalState.PENDING and now >= approval.expires_at
    return late or approval.state is ApprovalState.EXPIRED


def _require_approver(approval: ApprovalRecord, principal: Principal) -> None:
    if principal.anonymous or not set(principal.roles) & set(approval.approvers):
        message = f"one of these roles is needed: {', '.join(approval.approvers)}"
        raise PolicyDeniedError([Reason("approval.not_yours", message, _RULE)])


def _require_other(mission: MissionFacts, root: MissionFacts, principal: Principal) -> None:
    for of in (mission, root):
        if (of.tenant, of.submitter) == (principal.tenant, principal.subject):
            message = "whoever submitted a mission does not approve its steps"
            raise PolicyDeniedError([Reason("approval.own_mission", message, _RULE)])
