"""What the gateway answers, as plain JSON values in the words of the data-model document."""

from datetime import UTC
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from engine.clock import rfc3339
from engine.result import MissionState, OverallStatus, StepState
from gateway.v1 import audit_pb2, hook_pb2, mission_pb2, policy_pb2, privacy_pb2


def view_document(view: mission_pb2.MissionView) -> dict[str, Any]:
    """Return a view as JSON, in the words of the data-model document."""
    out = {
        "mission_id": view.mission_id,
        "name": view.name,
        "state": _name(mission_pb2.MissionState.Name(view.state), MissionState),
        "digest": view.digest,
        "submitter": view.submitter,
        "tenant": view.tenant,
        "created_at": _time(view.created_at),
        "ended_at": _time(view.ended_at) if view.HasField("ended_at") else None,
        "steps_total": view.steps_total,
        "paused": view.paused,
        "run": view.run,
        "parent_id": view.parent_id or None,
        "waits_for": view.waits_for or None,
        "decision_labels": dict(view.decision_labels),
        "erased_at": _time(view.erased_at) if view.HasField("erased_at") else None,
        "result": _result(view.result) if view.HasField("result") else None,
    }
    if view.mission:
        out["mission"] = orjson.loads(view.mission)
    return out


def erasure_document(answer: privacy_pb2.EraseMissionResponse) -> dict[str, Any]:
    """Return what an erasure came to as JSON."""
    return {
        "mission_id": answer.mission_id,
        "erased_at": _time(answer.erased_at),
        "missions": answer.missions,
        "decisions": answer.decisions,
    }


def event_document(event: mission_pb2.MissionEvent) -> dict[str, Any]:
    """Return an event as JSON."""
    return {
        "index": event.index,
        "timestamp": _time(event.timestamp),
        "kind": event.kind,
        "step_id": event.step_id,
        "details": orjson.loads(event.details),
    }


def replay_document(step: audit_pb2.StepReplay) -> dict[str, Any]:
    """Return what came of a replayed step as JSON; `reason` is null but in a difference, `item` but in a fan-out."""
    return {
        "step_id": step.step_id,
        "verdict": audit_pb2.ReplayVerdict.Name(step.verdict).removeprefix("REPLAY_VERDICT_").lower(),
        "reason": step.reason or None,
        "message": step.message,
        "recorded": step.recorded,
        "replayed": step.replayed,
        "item": step.item if step.HasField("item") else None,
        "rounds": step.rounds,
    }


def approval_document(approval: mission_pb2.Approval) -> dict[str, Any]:
    """Return an approval as JSON; `item` is null where the step is no fan-out, `entrypoint` where a step asks."""
    return {
        "approval_id": approval.approval_id,
        "mission_id": approval.mission_id,
        "step_id": approval.step_id,
        "item": approval.item if approval.HasField("item") else None,
        "digest": approval.digest,
        "message": approval.message,
        "approvers": list(approval.approvers),
        "state": mission_pb2.ApprovalState.Name(approval.state).removeprefix("APPROVAL_STATE_").lower(),
        "requested_at": _time(approval.requested_at),
        "expires_at": _time(approval.expires_at),
        "decided_at": _time(approval.decided_at) if approval.HasField("decided_at") else None,
        "decided_by": approval.decided_by,
        "comment": approval.comment,
        "entrypoint": approval.entrypoint or None,
        "decided_roles": list(approval.decided_roles),
    }


def hook_document(hook: hook_pb2.Hook) -> dict[str, Any]:
    """Return a version of a hook as JSON; `placement` is null for a step, and where it is not in force."""
    return {
        "name": hook.name,
        "version": hook.version,
        "kind": hook.kind,
        "publisher": hook.publisher,
        "sha256": hook.sha256,
        "enabled": hook.enabled,
        "placement": _placement(hook.placement) if hook.HasField("placement") else None,
        "published_at": _time(hook.published_at) if hook.HasField("published_at") else None,
        "published_by": hook.published_by or None,
    }


def activation_document(activation: hook_pb2.HookActivation) -> dict[str, Any]:
    """Return what was in force of a name as JSON; `version` is null where nothing was."""
    return {
        "version": activation.version or None,
        "placement": _placement(activation.placement) if activation.HasField("placement") else None,
        "activated_at": _time(activation.activated_at),
        "activated_by": activation.activated_by,
        "undone_at": _time(activation.undone_at) if activation.HasField("undone_at") else None,
        "undone_by": activation.undone_by or None,
    }


def _placement(placement: hook_pb2.HookPlacement) -> dict[str, Any]:
    return {"order": placement.order, "step_types": list(placement.step_types), "labels": dict(placement.labels)}


def _result(result: mission_pb2.MissionResult) -> dict[str, Any]:
    out: dict[str, Any] = {
        "mission_id": result.mission_id,
        "overall_status": _name(mission_pb2.OverallStatus.Name(result.overall_status), OverallStatus),
        "start_time": _time(result.start_time),
        "end_time": _time(result.end_time),
        "total_duration_ms": result.total_duration_ms,
        "steps_completed": result.steps_completed,
        "steps_failed": result.steps_failed,
        "steps_skipped": result.steps_skipped,
        "step_results": {
            step_id: step_document(step) for step_id, step in sorted(result.step_results.items(), key=_completion)
        },
        "audit_summary": {
            "events_logged": result.audit_summary.events_logged,
            "integrity_verified": result.audit_summary.integrity_verified,
        },
    }
    if result.HasField("error"):
        out["error"] = {"code": result.error.code, "message": result.error.message}
    return out


def _completion(item: tuple[str, mission_pb2.StepResult]) -> tuple[int, int, str]:
    """Order step results as they came: a protobuf map has no order of its own."""
    step_id, step = item
    return step.timestamp.seconds, step.timestamp.nanos, step_id


def step_document(step: mission_pb2.StepResult) -> dict[str, Any]:
    """Return the outcome of a step as JSON, without its id."""
    out: dict[str, Any] = {
        "status": _name(mission_pb2.StepState.Name(step.status), StepState),
        "output": orjson.loads(step.output),
    }
    if step.HasField("error"):
        out["error"] = {"code": step.error.code, "message": step.error.message}
    out["duration_ms"] = step.duration_ms
    out["timestamp"] = _time(step.timestamp)
    out["attempts"] = step.attempts
    return out


def draft_document(draft: mission_pb2.CheckDraftResponse) -> dict[str, Any]:
    """Return what is said of a draft as JSON."""
    wrong, missing = ([_finding(finding) for finding in findings] for findings in (draft.wrong, draft.missing))
    return {"complete": not wrong and not missing, "wrong": wrong, "missing": missing}


def _finding(finding: mission_pb2.Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "message": finding.message,
        "field": finding.field,
        "line": finding.line or None,
        "column": finding.column or None,
    }


def decision_document(decision: mission_pb2.Decision) -> dict[str, Any]:
    """Return a decision as JSON, in the form of `gateway.policy.decision.Decision.document`."""
    out: dict[str, Any] = {
        "entrypoint": decision.entrypoint,
        "allow": decision.allow,
        "reasons": [{"code": r.code, "message": r.message, "rule": r.rule} for r in decision.reasons],
        "bundle": decision.bundle,
    }
    if decision.constraints:
        out["constraints"] = dict(decision.constraints)
    if decision.profile:
        out["profile"] = decision.profile
    if decision.HasField("require_approval"):
        out["require_approval"] = _demand(decision.require_approval)
    if decision.labels:
        out["labels"] = dict(decision.labels)
    return out


def _demand(demand: mission_pb2.ApprovalDemand) -> dict[str, Any] | bool:
    out: dict[str, Any] = {}
    if demand.approvers:
        out["approvers"] = list(demand.approvers)
    if demand.message:
        out["message"] = demand.message
    if demand.HasField("expires_in_seconds"):
        out["expires_in_seconds"] = demand.expires_in_seconds
    return out or True


def _name(number_name: str, words: type[MissionState] | type[StepState] | type[OverallStatus]) -> str:
    """Return `MISSION_STATE_COMPLETED` as `Completed`."""
    return next(word.value for word in words if number_name.endswith("_" + word.name))


def _time(stamp: Timestamp) -> str:
    return rfc3339(stamp.ToDatetime(tzinfo=UTC))


def bundle_document(bundle: policy_pb2.Bundle) -> dict[str, Any]:
    """Return a bundle as JSON; `sequence` is null where its manifest has none."""
    return {
        "digest": bundle.digest,
        "revision": bundle.revision,
        "sequence": bundle.sequence if bundle.HasField("sequence") else None,
        "origin": bundle.origin,
        "by": bundle.by,
        "signed_by": bundle.signed_by or None,
        "kept_at": _time(bundle.kept_at),
        "active": bundle.active,
        "previous": bundle.previous,
    }


def policy_status_document(status: policy_pb2.GetPolicyStatusResponse) -> dict[str, Any]:
    """Return what is in force as JSON; `shadow` is null where there is none."""
    source = status.source
    return {
        "active": bundle_document(status.active),
        "engine": status.engine,
        "mode": status.mode,
        "pinned": status.pinned,
        "source": {
            "location": source.location,
            "confirmed_at": _time(source.confirmed_at) if source.HasField("confirmed_at") else None,
            "stale": source.stale,
            "failure": _failure(source) if source.failure_code else None,
        },
        "shadow": _shadow(status.shadow) if status.HasField("shadow") else None,
        "cache": {"hits": status.cache.hits, "misses": status.cache.misses},
    }


def _failure(source: policy_pb2.BundleSource) -> dict[str, Any]:
    return {"code": source.failure_code, "message": source.failure_message, "at": _time(source.failed_at)}


def _shadow(shadow: policy_pb2.ShadowBundle) -> dict[str, Any]:
    return {
        "digest": shadow.digest,
        "compared": shadow.compared,
        "disagreed": shadow.disagreed,
        "missed": shadow.missed,
        "latest": [
            {
                "entrypoint": each.entrypoint,
                "document": each.document,
                "decided": orjson.loads(each.decided),
                "shadow": orjson.loads(each.shadow),
                "at": _time(each.at),
            }
            for each in shadow.latest
        ],
    }


def decision_change_document(change: policy_pb2.DecisionChange) -> dict[str, Any]:
    """Return a decision that another bundle would not give as JSON; one that is not known is null, and a time empty."""
    return {
        "kind": change.kind,
        "decision_id": change.decision_id,
        "at": _time(change.decided_at) if change.HasField("decided_at") else "",
        "entrypoint": change.entrypoint,
        "document": change.document,
        "who": change.who,
        "what": change.what,
        "mission_id": change.mission_id,
        "before": orjson.loads(change.before) if change.before else None,
        "after": orjson.loads(change.after) if change.after else None,
        "why": change.why,
    }
