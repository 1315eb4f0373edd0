"""Missions as their readers see them: the view, the result, the results of steps, and the events in between."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from engine.result import MissionState, OverallStatus, StepState
from engine.values import JsonObject, JsonValue
from gateway.client.documented import LEFT_OUT, Documented
from gateway.client.wire import json_of, moment, word
from gateway.v1 import mission_pb2

_ENDS: Final = frozenset({"mission.completed", "mission.failed", "mission.cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Documented):
    """Why a step or a mission did not complete; `code` is stable."""

    code: str
    message: str

    @classmethod
    def of(cls, message: mission_pb2.Failure) -> Self:
        """Read the message."""
        return cls(code=message.code, message=message.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult(Documented):
    """The outcome of one step. `status` is Completed, Failed or Skipped."""

    step_id: str
    status: StepState
    output: JsonValue = field(repr=False)
    error: Failure | None = field(default=None, metadata=LEFT_OUT)
    duration_ms: float
    timestamp: datetime  # completion
    attempts: int  # how often it was begun; of a fan-out, by the item that needed most

    @classmethod
    def of(cls, message: mission_pb2.StepResult) -> Self:
        """Read the message."""
        return cls(
            step_id=message.step_id,
            status=word(StepState, mission_pb2.StepState.Name(message.status)),
            output=json_of(message.output),
            error=Failure.of(message.error) if message.HasField("error") else None,
            duration_ms=message.duration_ms,
            timestamp=moment(message.timestamp),
            attempts=message.attempts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary(Documented):
    """What the audit log has of a mission."""

    events_logged: int  # 0 where they were not counted: it went through more than one process
    integrity_verified: bool  # every event is covered by a signed checkpoint

    @classmethod
    def of(cls, message: mission_pb2.AuditSummary) -> Self:
        """Read the message."""
        return cls(events_logged=message.events_logged, integrity_verified=message.integrity_verified)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionResult(Documented):
    """The outcome of a mission: its status, and every step's result in the order in which they came."""

    mission_id: str
    overall_status: OverallStatus
    start_time: datetime
    end_time: datetime
    total_duration_ms: float
    steps_completed: int
    steps_failed: int
    steps_skipped: int
    step_results: Mapping[str, StepResult] = field(repr=False)
    audit_summary: AuditSummary
    error: Failure | None = field(default=None, metadata=LEFT_OUT)  # where no step is to blame

    @property
    def succeeded(self) -> bool:
        """Whether all of it went well."""
        return self.overall_status is OverallStatus.SUCCESS

    @classmethod
    def of(cls, message: mission_pb2.MissionResult) -> Self:
        """Read the message; a protobuf map has no order of its own."""
        steps = map(StepResult.of, message.step_results.values())
        return cls(
            mission_id=message.mission_id,
            overall_status=word(OverallStatus, mission_pb2.OverallStatus.Name(message.overall_status)),
            start_time=moment(message.start_time),
            end_time=moment(message.end_time),
            total_duration_ms=message.total_duration_ms,
            steps_completed=message.steps_completed,
            steps_failed=message.steps_failed,
            steps_skipped=message.steps_skipped,
            step_results={
                step.step_id: step for step in sorted(steps, key=lambda step: (step.timestamp, step.step_id))
            },
            audit_summary=AuditSummary.of(message.audit_summary),
            error=Failure.of(message.error) if message.HasField("error") else None,
        )

    def document(self) -> dict[str, Any]:
        """Return the documented result; a step's id is its name there, and not in it."""
        out = Documented.document(self)
        for step in out["step_results"].values():
            del step["step_id"]
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Mission(Documented):
    """A mission as its readers see it."""

    mission_id: str
    name: str
    state: MissionState
    digest: str  # "sha256:<hex>" of the canonical mission
    submitter: str
    tenant: str
    created_at: datetime
    ended_at: datetime | None
    steps_total: int
    paused: bool
    run: int  # how often it was begun, from 1
    parent_id: str | None  # the mission of which it is a part
    waits_for: str | None  # before its first step: "approval", "concurrency_key"
    decision_labels: Mapping[str, str]  # what policy called it when it was decided last
    erased_at: datetime | None  # since then what it held is gone
    result: MissionResult | None  # once it has ended; lists leave it out
    mission: JsonObject | None = field(default=None, repr=False, metadata=LEFT_OUT)  # canonical, where asked for

    @classmethod
    def of(cls, message: mission_pb2.MissionView) -> Self:
        """Read the message."""
        return cls(
            mission_id=message.mission_id,
            name=message.name,
            state=word(MissionState, mission_pb2.MissionState.Name(message.state)),
            digest=message.digest,
            submitter=message.submitter,
            tenant=message.tenant,
            created_at=moment(message.created_at),
            ended_at=moment(message.ended_at) if message.HasField("ended_at") else None,
            steps_total=message.steps_total,
            paused=message.paused,
            run=message.run,
            parent_id=message.parent_id or None,
            waits_for=message.waits_for or None,
            decision_labels=dict(message.decision_labels),
            erased_at=moment(message.erased_at) if message.HasField("erased_at") else None,
            result=MissionResult.of(message.result) if message.HasField("result") else None,
            mission=json_of(message.mission),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionPage(Documented):
    """Some missions, newest first, without their results."""

    missions: tuple[Mission, ...]
    next_page_token: str  # "" where there are no more

    @property
    def items(self) -> tuple[Mission, ...]:
        """The missions."""
        return self.missions

    @classmethod
    def of(cls, message: mission_pb2.ListMissionsResponse) -> Self:
        """Read the message."""
        return cls(missions=tuple(map(Mission.of, message.missions)), next_page_token=message.next_page_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionEvent(Documented):
    """One transition of a mission or of one of its steps. Indices run from 0 without gaps."""

    index: int
    timestamp: datetime
    kind: str  # "mission.executing", "step.executing", "step.completed", "mission.completed", …
    step_id: str  # "" where it is about the mission
    details: JsonObject

    @property
    def ends(self) -> bool:
        """Whether the mission has ended with it."""
        return self.kind in _ENDS

    @classmethod
    def of(cls, message: mission_pb2.MissionEvent) -> Self:
        """Read the message."""
        return cls(
            index=message.index,
            timestamp=moment(message.timestamp),
            kind=message.kind,
            step_id=message.step_id,
            details=json_of(message.details) or {},
        )
