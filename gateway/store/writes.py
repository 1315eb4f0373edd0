"""What changes the store: plain functions of a connection inside a transaction; `gateway.store.writer` runs them."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from engine.clock import rfc3339
from engine.result import MissionResult
from gateway.errors import ConflictError, StoreError
from gateway.store.queries import find_request
from gateway.store.records import Creation, NewMission, mission_of

Row = tuple[object, ...]


def create_mission(connection: sqlite3.Connection, mission: NewMission, now: datetime) -> Creation:
    """Insert the mission and its document, unless its request id was used before."""
    existing = None
    if mission.request_id is not None:
        existing = find_request(connection, mission.tenant, mission.submitter, mission.request_id)
    if existing is not None:
        if existing.request_digest != mission.request_digest:
            raise ConflictError(
                f"request id {mission.request_id!r} was used for another request", code="mission.request_id_reused"
            )
        return Creation(existing, created=False)
    row = connection.execute(
        "INSERT INTO missions (id, tenant, submitter, request_id, request_digest, mission_digest, name, state,"
        " created_at, steps_total) VALUES (?, ?, ?, ?, ?, ?, ?, 'Validated', ?, ?) RETURNING *",
        (
            mission.id,
            mission.tenant,
            mission.submitter,
            mission.request_id,
            mission.request_digest,
            mission.mission_digest,
            mission.name,
            rfc3339(now),
            mission.steps_total,
        ),
    ).fetchall()[0]
    connection.execute("INSERT INTO mission_documents VALUES (?, ?)", (mission.id, mission.document))
    return Creation(mission_of(row), created=True)


def mark_executing(connection: sqlite3.Connection, mission_id: str, now: datetime) -> None:
    """Validated → Executing."""
    changed = connection.execute(
        "UPDATE missions SET state = 'Executing', started_at = ? WHERE id = ? AND state = 'Validated'",
        (rfc3339(now), mission_id),
    )
    if changed.rowcount != 1:
        raise ConflictError(f"mission {mission_id} is not Validated", code="mission.state")


def save_step_results(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Insert rows of `records.step_row`."""
    connection.executemany(
        "INSERT INTO step_results (mission_id, step_id, status, output, error_code, error_message, duration_ms,"
        " timestamp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def append_events(connection: sqlite3.Connection, mission_id: str, first_index: int, rows: Sequence[Row]) -> None:
    """Insert the events that follow those that are there."""
    (following,) = connection.execute(
        "SELECT coalesce(max(idx) + 1, 0) FROM mission_events WHERE mission_id = ?", (mission_id,)
    ).fetchone()
    if first_index != following:
        raise StoreError(f"the next event of {mission_id} is {following}, not {first_index}", code="store.event_gap")
    connection.executemany("INSERT INTO mission_events VALUES (?, ?, ?)", rows)


def finish_mission(
    connection: sqlite3.Connection, result: MissionResult, rows: Sequence[Row], audit_summary: bytes | None
) -> None:
    """Insert the last step results, and end the mission."""
    save_step_results(connection, rows)
    changed = connection.execute(
        "UPDATE missions SET state = ?, overall_status = ?, ended_at = ?, total_duration_ms = ?, steps_completed = ?,"
        " steps_failed = ?, steps_skipped = ?, error_code = ?, error_message = ?, audit_summary = ?"
        " WHERE id = ? AND ended_at IS NULL",
        (
            result.state.value,
            result.overall_status.value,
            rfc3339(result.end_time),
            result.total_duration_ms,
            result.steps_completed,
            result.steps_failed,
            result.steps_skipped,
            result.error.code if result.error else None,
            result.error.message if result.error else None,
            audit_summary,
            result.mission_id,
        ),
    )
    if changed.rowcount != 1:
        raise ConflictError(f"mission {result.mission_id} is not executing", code="mission.state")
