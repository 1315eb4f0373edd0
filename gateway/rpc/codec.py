"""Protobuf to plain values and back. Nothing is decided here: a message becomes the document that it stands for."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, cast

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from engine.document import parse_document
from engine.errors import MissionInvalidError, Violation
from engine.mission import MissionLimits
from engine.result import MissionState, OverallStatus, StepState
from engine.values import JsonObject, JsonValue
from gateway.errors import SanitizationError
from gateway.missions.views import MissionEvent, MissionView, PlanPreview
from gateway.policy.decision import Decision
from gateway.v1 import mission_pb2

_STATES: Final = {state: mission_pb2.MissionState.Value(f"MISSION_STATE_{state.name}") for state in MissionState}
_STEP_STATES: Final = {state: mission_pb2.StepState.Value(f"STEP_STATE_{state.name}") for state in StepState}
_STATUSES: Final = {
    status: mission_pb2.OverallStatus.Value(f"OVERALL_STATUS_{status.name}") for status in OverallStatus
}


def form_of(
    request: mission_pb2.SubmitMissionRequest | mission_pb2.PlanMissionRequest, limits: MissionLimits
) -> bytes | JsonObject:
    """Return the mission of a request: the document's bytes, or the value that a Mission message stands for.

    Raises:
        SanitizationError: neither form is set, or a bytes field holds no JSON object.
        MissionInvalidError: a Mission message over the limits of documents, or JSON that breaks their rules.
    """
    match request.WhichOneof("form"):
        case "document":
            return request.document
        case "mission":
            size = request.mission.ByteSize()
            if size > limits.document_bytes_max:
                text = f"the mission has {size} bytes; {limits.document_bytes_max} are allowed"
                raise _over_limit("document.too_large", "", text)
            return mission_value(request.mission, limits)
        case _:
            raise _refused("request.form_missing", "mission", "set either `mission` or `document`")


def mission_value(message: mission_pb2.Mission, limits: MissionLimits) -> JsonObject:
    """Return the document that a Mission message stands for; unset fields are left out, so that defaults apply once."""
    out: dict[str, JsonValue] = {"version": message.version, "name": message.name}
    if message.description:
        out["description"] = message.description
    if message.labels:
        out["labels"] = dict(message.labels)
    if message.HasField("config"):
        config = message.config
        out["config"] = {
            name: getattr(config, name)
            for name in ("timeout_seconds", "fail_fast", "parallel_limit")
            if config.HasField(name)
        }
    if message.variables:
        out["variables"] = _json_object(message.variables, "variables", limits)
    if len(message.steps) > limits.steps_max:  # an empty step is two bytes, so their size does not bound their number
        text = f"the mission has {len(message.steps)} steps; {limits.steps_max} are allowed"
        raise _over_limit("mission.too_many_steps", "steps", text)
    out["steps"] = [_step_value(step, f"steps[{i}]", limits) for i, step in enumerate(message.steps)]
    return out


def _step_value(step: mission_pb2.MissionStep, field: str, limits: MissionLimits) -> JsonObject:
    out: dict[str, JsonValue] = {"id": step.id, "name": step.name, "step_type": step.step_type}
    if step.depends_on:
        out["depends_on"] = list(step.depends_on)
    if step.HasField("timeout_seconds"):
        out["timeout_seconds"] = step.timeout_seconds
    if step.continue_on_error:
        out["continue_on_error"] = True
    if step.profile:
        out["profile"] = step.profile
    out["parameters"] = _json_object(step.parameters, f"{field}.parameters", limits) if step.parameters else {}
    return out


def _json_object(raw: bytes, field: str, limits: MissionLimits) -> JsonValue:
    """Parse JSON by the rules of mission documents: no duplicate keys, no NaN, bounded."""
    if not raw.lstrip(b" \t\r\n").startswith(b"{"):
        raise _refused("request.not_a_json_object", field, "must hold one JSON object")
    try:
        return parse_document(raw, limits).value
    except MissionInvalidError as error:
        raise MissionInvalidError([_within(field, violation) for violation in error.violations]) from error


def _within(field: str, violation: Violation) -> Violation:
    """Return a violation of a bytes field as one of the message, which has no lines."""
    inner = violation.field
    dot = "." if inner and not inner.startswith("[") else ""
    return replace(violation, field=f"{field}{dot}{inner}", line=None, column=None)


def decision_message(entrypoint: str, decision: Decision) -> mission_pb2.Decision:
    """Return a decision as clients see it."""
    return mission_pb2.Decision(
        entrypoint=entrypoint,
        allow=decision.allow,
        reasons=[mission_pb2.Reason(code=r.code, message=r.message, rule=r.rule) for r in decision.reasons],
        bundle=decision.bundle,
    )


def preview_message(preview: PlanPreview) -> mission_pb2.PlanMissionResponse:
    """Return a plan."""
    return mission_pb2.PlanMissionResponse(
        mission=orjson.dumps(preview.mission, option=orjson.OPT_SORT_KEYS),
        digest=preview.digest,
        levels=[mission_pb2.Level(step_ids=level) for level in preview.levels],
        decisions=[decision_message("mission", preview.decision)],
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
        created_at=_timestamp(view.created_at),
        ended_at=_timestamp(view.ended_at),
        steps_total=view.steps_total,
        result=_result_message(view.result) if view.result is not None else None,
    )


def _result_message(result: JsonObject) -> mission_pb2.MissionResult:
    fields = cast("Mapping[str, Any]", result)  # of `result_document`, so the types are known
    return mission_pb2.MissionResult(
        mission_id=fields["mission_id"],
        overall_status=_STATUSES[OverallStatus(fields["overall_status"])],
        step_results={step_id: _step_message(step) for step_id, step in fields["step_results"].items()},
        start_time=_timestamp(datetime.fromisoformat(fields["start_time"])),
        end_time=_timestamp(datetime.fromisoformat(fields["end_time"])),
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
        timestamp=_timestamp(datetime.fromisoformat(fields["timestamp"])),
    )


def event_message(event: MissionEvent) -> mission_pb2.MissionEvent:
    """Return an event."""
    return mission_pb2.MissionEvent(
        index=event.index,
        timestamp=_timestamp(event.timestamp),
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
    raise _refused("request.unknown_state", "state", "is no state of a mission")


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    out = Timestamp()
    out.FromDatetime(moment)
    return out


def _refused(code: str, field: str, message: str) -> SanitizationError:
    return SanitizationError([Violation(code=code, message=message, field=field)])


def _over_limit(code: str, field: str, message: str) -> MissionInvalidError:
    return MissionInvalidError([Violation(code=code, message=message, field=field, kind="limit")])
