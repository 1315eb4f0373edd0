"""What is told of an approval: to watchers while it waits and when it has ended, to the step, and to policy."""

from engine.clock import rfc3339
from engine.values import JsonObject
from gateway.errors import HOST_RULE, EffectError, Reason
from gateway.store.approval_records import ApprovalRecord, ApprovalState


def asked_document(approval: ApprovalRecord) -> JsonObject:
    """Return what watchers are told, which is what a decision needs."""
    return {
        "for": "approval",
        "approval_id": approval.id,
        "digest": approval.digest,
        "message": approval.message,
        "approvers": list(approval.approvers),
        "expires_at": rfc3339(approval.expires_at),
        **({"entrypoint": approval.entrypoint} if approval.entrypoint else {}),
        **({} if approval.item is None else {"item": approval.item}),
    }


def ended_document(approval: ApprovalRecord) -> JsonObject:
    """Return what watchers are told when somebody has decided, or nobody in time."""
    return {
        "for": "approval",
        "approval_id": approval.id,
        "state": approval.state.value,
        **({} if approval.item is None else {"item": approval.item}),
    }


def outcome_of(approval: ApprovalRecord) -> JsonObject:
    """Return the outcome of a yes.

    Raises:
        EffectError: it was none.
    """
    by = approval.decided_by or ""
    match approval.state:
        case ApprovalState.APPROVED if approval.decided_at is not None:
            return {
                "approved": True,
                "approval_id": approval.id,
                "by": by,
                "comment": approval.comment,
                "decided_at": rfc3339(approval.decided_at),
            }
        case ApprovalState.DENIED:
            why = f": {approval.comment}" if approval.comment else ""
            raise EffectError(f"denied by {by}{why}", code="effect.approval_denied")
        case ApprovalState.EXPIRED:
            raise EffectError("nobody decided in time", code="effect.approval_expired")
        case _:
            raise EffectError("the approval was withdrawn", code="effect.approval_withdrawn")


def refusal_of(approval: ApprovalRecord) -> Reason:
    """Return why policy's yes is none: what people, or nobody, said."""
    why = f": {approval.comment}" if approval.comment else ""
    match approval.state:
        case ApprovalState.DENIED:
            return Reason("approval.denied", f"denied by {approval.decided_by}{why}", HOST_RULE)
        case ApprovalState.EXPIRED:
            return Reason("approval.expired", "nobody decided in time", HOST_RULE)
        case _:
            return Reason("approval.withdrawn", "the approval was withdrawn", HOST_RULE)
