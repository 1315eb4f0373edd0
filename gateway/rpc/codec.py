"""What the desk answers, as protobuf, and the enums of requests as words. Nothing is decided here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

import orjson

from engine.errors import Violation
from engine.result import MissionState, OverallStatus, StepResult, StepState
from engine.values import JsonObject
from gateway.drafts import Draft
from gateway.missions.approval_view import ApprovalView
from gateway.missions.views import MissionEvent, MissionView, PlanPreview
from gateway.policy.decision import Decision
from gateway.policy.obligations import ApprovalDemand
from gateway.rpc.bad_request import bad_request
from gateway.rpc.timestamps import timestamp
from gateway.store.approval_records import ApprovalState
from gateway.v1 import mission_pb2

_STATES: Final = {state: mission_pb2.MissionState.Value(f"MISSION_STATE_{state.name}") for state in MissionState}
_STEP_STATES: Final = {state: mission_pb2.StepState.Value(f"STEP_STATE_{state.name}") for state in StepState}
_STATUSES: Final = {
    status: mission_pb2.OverallStatus.Value(f"OVERALL_STATUS_{status.name}") for status in OverallStatus
}
_APPROVAL_STATES: Final = {
    state.value: mission_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state.name}") for state in ApprovalState
}
_VERDICTS: Final[Mapping[int, bool]] = {
    mission_pb2.APPROVAL_VERDICT_APPROVE: True,
    mission_pb2.APPROVAL_VERDICT_DENY: False,
}


def decision_message(entrypoint: str, decision: Decision) -> mission_pb2.Decision:
    """Return a decision as clients see it."""
    return mission_pb2.Decision(
        entrypoint=entrypoint,
        allow=decision.allow,
        reasons=[mission_pb2.Reason(code=r.code, message=r.message, rule=r.rule) for r in decision.reasons],
        bundle=decision.bundle,
        require_approval=_demand_message(decision.require_approval),
        constraints=decision.constraints,
        profile=decision.profile or "",
        labels=decision.labels,
    )


def _demand_message(demand: ApprovalDemand | None) -> mission_pb2.ApprovalDemand | None:
    if demand is None:
        return None
    return mission_pb2.ApprovalDemand(
        approvers=demand.approvers, message=demand.message, expires_in_seconds=demand.expires_in_seconds
    )


def preview_message(preview: PlanPreview) -> mission_pb2.PlanMissionResponse:
    """Return a plan."""
    return mission_pb2.PlanMissionResponse(
        mission=orjson.dumps(preview.mission, option=orjson.OPT_SORT_KEYS),
        digest=preview.digest,
        levels=[mission_pb2.Level(step_ids=level) for level in preview.levels],
        decisions=[decision_message("mission", preview.decision)],
    )


def draft_message(draft: Draft) -> mission_pb2.CheckDraftResponse:
    """Return what is said of a draft."""
    return mission_pb2.CheckDraftResponse(wrong=map(_finding, draft.wrong), missing=map(_finding, draft.missing))


def _finding(violation: Violation) -> mission_pb2.Finding:
    return mission_pb2.Finding(
        code=violation.code,
        message=violation.message,
        field=violation.field,
        line=violation.line or 0,
        column=violation.column or 0,
    )


def view_message(view: MissionView) -> mission_pb2.MissionView:
    """Return a mission."""
    return mission_pb2.MissionView(
        mission_id=view.mission_id,
        name=view.name,
        state=_STATES[view.state],
        digest=view.digest,
        submitter=view.submitter,
        tenant=view.tenant,
        created_at=timestamp(view.created_at),
        ended_at=timestamp(view.ended_at),
        steps_total=view.steps_total,
        result=_result_message(view.result) if view.result is not None else None,
        paused=view.paused,
        run=view.run,
        parent_id=view.parent_id or "",
        mission=orjson.dumps(view.mission, option=orjson.OPT_SORT_KEYS) if view.mission is not None else b"",
        waits_for=view.waits_for,
        decision_labels=view.decision_labels,
        erased_at=timestamp(view.erased_at),
    )


def _result_message(result: JsonObject) -> mission_pb2.MissionResult:
    fields = cast("Mapping[str, Any]", result)  # of `result_document`, so the types are known
    return mission_pb2.MissionResult(
        mission_id=fields["mission_id"],
        overall_status=_STATUSES[OverallStatus(fields["overall_status"])],
        step_results={step_id: _step_message(step) for step_id, step in fields["step_results"].items()},
        start_time=timestamp(datetime.fromisoformat(fields["start_time"])),
        end_time=timestamp(datetime.fromisoformat(fields["end_time"])),
        total_duration_ms=fields["total_duration_ms"],
        steps_completed=fields["steps_completed"],
        steps_failed=fields["steps_failed"],
        steps_skipped=fields["steps_skipped"],
        audit_summary=mission_pb2.AuditSummary(**fields["audit_summary"]),
        error=mission_pb2.Failure(**fields["error"]) if "error" in fields else None,
    )


def _step_message(fields: Mapping[str, Any]) -> mission_pb2.StepResult:
    return mission_pb2.StepResult(
        step_id=fields["step_id"],
        status=_STEP_STATES[StepState(fields["status"])],
        output=orjson.dumps(fields["output"]),
        error=mission_pb2.Failure(**fields["error"]) if "error" in fields else None,
        duration_ms=fields["duration_ms"],
        timestamp=timestamp(datetime.fromisoformat(fields["timestamp"])),
        attempts=fields["attempts"],
    )


def step_result_message(result: StepResult) -> mission_pb2.StepResult:
    """Return the outcome of a step."""
    return _step_message(result.document())


def approval_message(approval: ApprovalView) -> mission_pb2.Approval:
    """Return an approval."""
    return mission_pb2.Approval(
        approval_id=approval.approval_id,
        mission_id=approval.mission_id,
        step_id=approval.step_id,
        item=approval.item,
        digest=approval.digest,
        message=approval.message,
        approvers=approval.approvers,
        state=_APPROVAL_STATES[approval.state],
        requested_at=timestamp(approval.requested_at),
        expires_at=timestamp(approval.expires_at),
        decided_at=timestamp(approval.decided_at),
        decided_by=approval.decided_by,
        comment=approval.comment,
        entrypoint=approval.entrypoint,
        decided_roles=approval.decided_roles,
    )


def event_message(event: MissionEvent) -> mission_pb2.MissionEvent:
    """Return an event."""
    return mission_pb2.MissionEvent(
        index=event.index,
        timestamp=timestamp(event.timestamp),
        kind=event.kind,
        step_id=event.step_id,
        details=orjson.dumps(event.details),
    )


def state_of(value: "mission_pb2.MissionState.ValueType") -> MissionState | None:
    """Return the state that a filter names, or None for all.

    Raises:
        SanitizationError: a number that is no state.
    """
    if value == mission_pb2.MISSION_STATE_UNSPECIFIED:
        return None
    for state, number in _STATES.items():
        if number == value:
            return state
    raise bad_request("request.unknown_state", "state", "is no state of a mission")


def approves(value: "mission_pb2.ApprovalVerdict.ValueType") -> bool:
    """Return whether a verdict is a yes.

    Raises:
        SanitizationError: it is none; a verdict that was left out is no answer.
    """
    verdict = _VERDICTS.get(value)
    if verdict is None:
        raise bad_request("request.unknown_verdict", "verdict", "say approve or deny")
    return verdict
