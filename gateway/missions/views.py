"""What the desk tells its callers: values that any front end can render."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from engine.clock import rfc3339
from engine.result import MissionState, StepResult
from engine.values import JsonObject, JsonValue
from gateway.policy.decision import Decision
from gateway.stages import SanitizedMission
from gateway.store.records import MissionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The answer to a submission. `created` is False where the request id had named the same mission before."""

    mission_id: str
    digest: str
    created: bool
    decision: Decision | None  # None where the mission had been admitted before


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPreview:
    """What a submission would lead to."""

    mission: JsonObject  # canonical
    digest: str
    levels: tuple[tuple[str, ...], ...]
    decision: Decision

    @classmethod
    def of(cls, sanitized: SanitizedMission, decision: Decision) -> "PlanPreview":
        """Return the preview of a mission that stage 1 has passed."""
        return cls(
            mission=sanitized.plan.mission.document(),
            digest=sanitized.digest,
            levels=tuple(tuple(level) for level in sanitized.plan.level_ids()),
            decision=decision,
        )

    def document(self) -> dict[str, object]:
        """Return `{"mission","digest","levels","decisions"}`, as `missiongate plan` prints it."""
        return {
            "mission": self.mission,
            "digest": self.digest,
            "levels": [list(level) for level in self.levels],
            "decisions": [{"entrypoint": "mission", **self.decision.document()}],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionEvent:
    """One transition of a mission or of one of its steps. Indices run from 0 without gaps."""

    index: int
    timestamp: datetime
    kind: str  # "mission.executing", "step.executing", "step.completed", "mission.completed", …
    step_id: str = ""
    details: JsonObject

    def to_bytes(self) -> bytes:
        """Return the event as JSON bytes, as the store keeps it."""
        return orjson.dumps(self.document())

    @classmethod
    def from_bytes(cls, raw: bytes) -> "MissionEvent":
        """Return what `to_bytes` gave."""
        fields = orjson.loads(raw)
        return cls(**{**fields, "timestamp": datetime.fromisoformat(fields["timestamp"])})

    def document(self) -> dict[str, object]:
        """Return the event as JSON."""
        return {
            "index": self.index,
            "timestamp": rfc3339(self.timestamp),
            "kind": self.kind,
            "step_id": self.step_id,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionView:
    """A mission as its readers see it."""

    mission_id: str
    name: str
    state: MissionState
    digest: str
    submitter: str
    tenant: str
    created_at: datetime
    ended_at: datetime | None
    steps_total: int
    result: JsonObject | None  # the documented MissionResult, once the mission has ended
    paused: bool = False
    run: int = 1  # how often it was begun
    parent_id: str | None = None  # the mission of which it is a part
    mission: JsonObject | None = None  # canonical, where it was asked for
    waits_for: str = ""  # before its first step: "approval", "concurrency_key"
    decision_labels: Mapping[str, str] = field(default_factory=dict)
    erased_at: datetime | None = None  # since then what it held is gone

    def document(self) -> dict[str, object]:
        """Return the view as JSON."""
        return {
            "mission_id": self.mission_id,
            "name": self.name,
            "state": self.state.value,
            "digest": self.digest,
            "submitter": self.submitter,
            "tenant": self.tenant,
            "created_at": rfc3339(self.created_at),
            "ended_at": rfc3339(self.ended_at) if self.ended_at else None,
            "steps_total": self.steps_total,
            "result": self.result,
            "paused": self.paused,
            "run": self.run,
            "parent_id": self.parent_id,
            "waits_for": self.waits_for or None,
            "decision_labels": dict(self.decision_labels),
            "erased_at": rfc3339(self.erased_at) if self.erased_at else None,
            "mission": self.mission,
        }


def view_of(
    record: MissionRecord, result: JsonObject | None, mission: JsonObject | None = None, *, waits_for: str = ""
) -> MissionView:
    """Return a stored mission as its readers see it, with its canonical document where that was asked for."""
    return MissionView(
        mission_id=record.id,
        name=record.name,
        state=record.state,
        digest=record.mission_digest,
        submitter=record.submitter,
        tenant=record.tenant,
        created_at=record.created_at,
        ended_at=record.ended_at,
        steps_total=record.steps_total,
        result=result,
        paused=record.paused,
        run=record.run,
        parent_id=record.parent_id,
        mission=mission,
        waits_for=waits_for,
        decision_labels=record.decision_labels,
        erased_at=record.erased_at,
    )


def result_document(record: MissionRecord, results: Iterable[StepResult]) -> JsonObject:
    """Return the documented result of a mission that has ended (data-model document, Execution Result Schema).

    `events_logged` is missing, and 0 for a client, where nobody has counted: it went through several processes.
    """
    out: dict[str, JsonValue] = {
        "mission_id": record.id,
        "state": record.state.value,
        "overall_status": record.overall_status.value if record.overall_status else "Failed",
        "start_time": rfc3339(record.started_at or record.created_at),
        "end_time": rfc3339(record.ended_at) if record.ended_at else None,
        "total_duration_ms": record.total_duration_ms or 0.0,
        "steps_completed": record.steps_completed,
        "steps_failed": record.steps_failed,
        "steps_skipped": record.steps_skipped,
        "step_results": {result.step_id: result.document() for result in results},
        "audit_summary": orjson.loads(record.audit_summary)
        if record.audit_summary
        else {"events_logged": 0, "integrity_verified": False},
    }
    if record.error is not None:
        out["error"] = {"code": record.error.code, "message": record.error.message}
    return out
