"""How a mission ends that no later start of the gateway can take up: its result is whole, from what the store knows.

The store hears of a transition a moment after it took place (`gateway.missions.execution.LINGER_SECONDS`), so a step
that is Skipped here may have begun; which effects were intended and performed is in the audit log.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import orjson

from engine.clock import rfc3339
from engine.result import MissionResult, MissionState, OverallStatus, StepFailure, StepResult, StepState
from engine.values import JsonObject, JsonValue
from gateway.errors import ConflictError
from gateway.store.queries import event_body, get_document, get_mission
from gateway.store.records import step_failure
from gateway.store.sealing import Box, Sealer
from gateway.store.writes import append_events, finish_mission

_CODE: Final = "interrupted"
_ENDINGS: Final = frozenset({"step.completed", "step.failed", "step.skipped"})
_BEGUN: Final = StepFailure(code=_CODE, message="the gateway stopped while the step was executing")
_WAITING: Final = StepFailure(code=_CODE, message="the gateway stopped before it had recorded that the step began")
# How many events the log has of the mission is known only to who reads the log: the figure is left out.
_AUDIT_SUMMARY: Final = orjson.dumps({"integrity_verified": True})


@dataclass(frozen=True, slots=True)
class _Told:
    """What the stored events say."""

    begun: Mapping[str, datetime]  # step id → when
    ended: frozenset[str]  # step ids
    count: int


def interrupt_mission(
    connection: sqlite3.Connection, sealer: Sealer, mission_id: str, reason: StepFailure, now: datetime
) -> None:
    """End an unfinished mission: a result for every step, counts that match, and the events that tell of it.

    Call it when the log has `mission.interrupted` under a checkpoint: that is what the `integrity_verified` that is
    written here says.
    """
    mission = get_mission(connection, sealer, mission_id)
    box = sealer.box(connection, mission.id)
    told = _told(connection, box, mission.id)
    saved = _saved(connection, box, mission.id)
    known = {result.step_id for result in saved}
    kinds = _kinds(connection, sealer, mission.id)
    missing = [_ended(name, told, now) for name in kinds if name not in known]
    untold = [result for result in saved if result.step_id not in told.ended]  # result and event are two commits
    bodies = _bodies(told.count, [*untold, *missing], reason, now)
    append_events(connection, sealer, mission.id, told.count, bodies)
    counts = Counter(result.status for result in (*saved, *missing))
    began = mission.started_at or mission.created_at
    result = MissionResult(
        mission_id=mission.id,
        state=MissionState.FAILED,
        overall_status=OverallStatus.FAILED,
        step_results={},  # the rows hold them
        start_time=began,
        end_time=now,
        total_duration_ms=_milliseconds(began, now),
        steps_completed=counts[StepState.COMPLETED],
        steps_failed=counts[StepState.FAILED],
        steps_skipped=counts[StepState.SKIPPED],
        error=reason,
    )
    steps = [(step, orjson.dumps(step.output)) for step in missing]
    finish_mission(connection, sealer, result, steps, _AUDIT_SUMMARY, kinds)


def _kinds(connection: sqlite3.Connection, sealer: Sealer, mission_id: str) -> Mapping[str, str]:
    """Return the steps of the stored document in its order, and of what kind each is; the document may be large."""
    steps = _object(partial(get_document, connection, sealer, mission_id)).get("steps", ())
    return {step["id"]: str(step.get("step_type", "")) for step in steps}


def _told(connection: sqlite3.Connection, box: Box, mission_id: str) -> _Told:
    """Read the events one by one: together they may be large."""
    begun: dict[str, datetime] = {}
    ended: set[str] = set()
    count = 0
    for row in connection.execute(
        "SELECT idx, body FROM mission_events WHERE mission_id = ? ORDER BY idx", (mission_id,)
    ):
        count += 1
        event = _object(partial(event_body, box, row))
        kind, step_id = event.get("kind"), event.get("step_id")
        if kind == "step.executing":
            begun[str(step_id)] = datetime.fromisoformat(event["timestamp"])
        elif kind in _ENDINGS:
            ended.add(str(step_id))
    return _Told(begun, frozenset(ended), count)


def _saved(connection: sqlite3.Connection, box: Box, mission_id: str) -> Sequence[StepResult]:
    """Return the results that are there, without their outputs, which together may be large."""
    rows = connection.execute(
        "SELECT step_id, status, error_code, error_message, duration_ms, timestamp FROM step_results"
        " WHERE mission_id = ? ORDER BY seq",
        (mission_id,),
    )
    return [
        StepResult(
            step_id=row["step_id"],
            status=StepState(row["status"]),
            error=_known_failure(row, box),
            duration_ms=row["duration_ms"],
            timestamp=datetime.fromisoformat(row["timestamp"]),
        )
        for row in rows
    ]


def _known_failure(row: sqlite3.Row, box: Box) -> StepFailure | None:
    """Return why a step did not complete; without its text where that is damaged."""
    try:
        return step_failure(row, box)
    except ConflictError:
        return StepFailure(code=row["error_code"], message="")


def _ended(step_id: str, told: _Told, now: datetime) -> StepResult:
    """Return the result of a step that has none. One that had begun lasts until now: its true end is not known."""
    begun = told.begun.get(step_id)
    return StepResult(
        step_id=step_id,
        status=StepState.SKIPPED if begun is None else StepState.FAILED,
        error=_WAITING if begun is None else _BEGUN,
        duration_ms=0.0 if begun is None else _milliseconds(begun, now),
        timestamp=now,
    )


def _bodies(first_index: int, results: Sequence[StepResult], reason: StepFailure, now: datetime) -> Iterator[bytes]:
    """Yield the events that end these steps, then the mission, as `gateway.missions.views.MissionEvent` reads them."""
    index = first_index
    for index, result in enumerate(results, start=first_index + 1):
        details: dict[str, JsonValue] = {
            "status": result.status.value,
            "duration_ms": round(result.duration_ms, 3),
        }
        if result.error is not None:
            details["error"] = _failure(result.error)
        yield _body(index - 1, result.timestamp, f"step.{result.status.value.lower()}", result.step_id, details)
    ending: JsonObject = {"status": OverallStatus.FAILED.value, "error": _failure(reason)}
    yield _body(index, now, "mission.failed", "", ending)


def _body(index: int, moment: datetime, kind: str, step_id: str, details: JsonObject) -> bytes:
    return orjson.dumps(
        {"index": index, "timestamp": rfc3339(moment), "kind": kind, "step_id": step_id, "details": details}
    )


def _failure(failure: StepFailure) -> JsonObject:
    return {"code": failure.code, "message": failure.message}


def _object(read: Callable[[], bytes]) -> dict[str, Any]:
    """Return a JSON object; an empty one where it is damaged: one such mission keeps no gateway from starting.

    Without its document a mission ends with the results that it has.
    """
    try:
        value = orjson.loads(read())
    except (orjson.JSONDecodeError, ConflictError):
        return {}
    return value if isinstance(value, dict) else {}


def _milliseconds(since: datetime, now: datetime) -> float:
    """Return the time between, at least 0: the wall clock may have stepped back."""
    return max(0.0, (now - since) / timedelta(milliseconds=1))
