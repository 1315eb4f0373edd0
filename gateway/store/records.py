"""What the store takes and gives, as frozen values, and how rows become them."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from engine.clock import rfc3339
from engine.result import MissionState, OverallStatus, StepFailure, StepResult, StepState
from gateway.store.sealing import Box, new_key


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMission:
    """An admitted mission, not yet recorded; it is Validated."""

    id: str
    tenant: str
    submitter: str
    request_id: str | None  # chosen by the client, unique per tenant and submitter
    request_digest: str  # of the request that carried it: a second request with this id must be the same
    mission_digest: str
    name: str
    document: bytes  # JSON, members in the client's order: what a later execution is made of
    steps_total: int
    roles: tuple[str, ...] = ()  # of the submitter, so that a gateway that restarts can go on in its name
    anonymous: bool = False
    taint: frozenset[str] = frozenset()  # labels of the data that came in by the step that runs it
    parent_id: str | None = None  # the mission of which it is a part
    root_id: str | None = None  # the outermost one; None: itself
    depth: int = 0  # how many missions it is inside of
    key: bytes = field(default_factory=new_key, repr=False)  # 32 random bytes, of which all its other keys come


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionRecord:
    """A mission as recorded, without its document, events and step results, which may be large."""

    id: str
    tenant: str
    submitter: str
    request_id: str | None
    request_digest: str
    mission_digest: str
    name: str
    state: MissionState
    overall_status: OverallStatus | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    total_duration_ms: float | None
    steps_total: int
    steps_completed: int
    steps_failed: int
    steps_skipped: int
    error: StepFailure | None
    audit_summary: bytes | None  # JSON
    run: int  # how often it was begun, retries of the whole mission included; from 1
    paused: bool  # False once it has ended
    roles: tuple[str, ...]
    anonymous: bool
    taint: frozenset[str]
    parent_id: str | None
    root_id: str  # its own id where it is no part of another
    depth: int
    decision_labels: Mapping[str, str] = field(default_factory=dict)  # of the decision under which it runs
    erased_at: datetime | None = None  # since then name, digests, request id, labels and error text are empty


@dataclass(frozen=True, slots=True)
class Creation:
    """The mission of a request id; `created` is False where an earlier, equal request had made it."""

    mission: MissionRecord
    created: bool


@dataclass(frozen=True, slots=True)
class MissionPage:
    """Missions, newest first; an empty token means that there are no more."""

    missions: tuple[MissionRecord, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a mission; indexes count from 0 without gaps, so that a watcher resumes where it stopped."""

    index: int
    body: bytes  # JSON


def sealed_head(box: Box, mission: NewMission) -> bytes:
    """Return what a row of `missions` has of a mission that may say something."""
    head = [mission.name, mission.request_id, mission.request_digest, mission.mission_digest]
    return box.seal(orjson.dumps(head), "missions.head")


def mission_of(row: sqlite3.Row, box: Box | None) -> MissionRecord:
    """Return a row of `missions` as a record; `box` is None where the mission was erased."""
    status = row["overall_status"]
    name, request_id, request_digest, mission_digest = ("", None, "", "")
    labels: Mapping[str, str] = {}
    error = None if row["error_code"] is None else StepFailure(code=row["error_code"], message="")
    if box is not None:
        name, request_id, request_digest, mission_digest = orjson.loads(box.open(row["head"], "missions.head"))
        if row["labels"] is not None:
            labels = orjson.loads(box.open(row["labels"], "missions.labels"))
        if error is not None:
            error = StepFailure(code=error.code, message=box.open(row["ending"], "missions.ending").decode())
    return MissionRecord(
        id=row["id"],
        tenant=row["tenant"],
        submitter=row["submitter"],
        request_id=request_id,
        request_digest=request_digest,
        mission_digest=mission_digest,
        name=name,
        state=MissionState(row["state"]),
        overall_status=None if status is None else OverallStatus(status),
        created_at=datetime.fromisoformat(row["created_at"]),
        started_at=moment_of(row["started_at"]),
        ended_at=moment_of(row["ended_at"]),
        total_duration_ms=row["total_duration_ms"],
        steps_total=row["steps_total"],
        steps_completed=row["steps_completed"],
        steps_failed=row["steps_failed"],
        steps_skipped=row["steps_skipped"],
        error=error,
        audit_summary=row["audit_summary"],
        run=row["run"],
        paused=bool(row["paused"]),
        roles=tuple(orjson.loads(row["roles"])),
        anonymous=bool(row["anonymous"]),
        taint=frozenset(orjson.loads(row["taint"])),
        parent_id=row["parent_id"],
        root_id=row["root_id"],
        depth=row["depth"],
        decision_labels=labels,
        erased_at=moment_of(row["erased_at"]),
    )


def sealed_step(box: Box, mission_id: str, result: StepResult, output: bytes) -> tuple[object, ...]:
    """Return the values of a row of `step_results`, its `seq` left out; `output` is the result's, as JSON."""
    step_id, error = result.step_id, result.error
    return (
        mission_id,
        step_id,
        result.status.value,
        box.seal(output, "step_results.output", step_id),
        error.code if error else None,
        box.seal(error.message.encode(), "step_results.error_message", step_id) if error else None,
        result.duration_ms,
        rfc3339(result.timestamp),
        result.attempts,
    )


def step_of(row: sqlite3.Row, box: Box) -> StepResult:
    """Return a row of `step_results` as the result that was saved."""
    return StepResult(
        step_id=row["step_id"],
        status=StepState(row["status"]),
        output=orjson.loads(box.open(row["output"], "step_results.output", row["step_id"])),
        error=step_failure(row, box),
        duration_ms=row["duration_ms"],
        timestamp=datetime.fromisoformat(row["timestamp"]),
        attempts=row["attempts"],
    )


def moment_of(text: str | None) -> datetime | None:
    """Return a column that may be NULL as a time."""
    return None if text is None else datetime.fromisoformat(text)


def step_failure(row: sqlite3.Row, box: Box) -> StepFailure | None:
    """Return why the step of a row of `step_results` did not complete."""
    if row["error_code"] is None:
        return None
    message = box.open(row["error_message"], "step_results.error_message", row["step_id"])
    return StepFailure(code=row["error_code"], message=message.decode())
