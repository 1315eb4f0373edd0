"""What changes the store: plain functions of a connection inside a transaction; `gateway.store.writer` runs them."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

import orjson

from engine.clock import rfc3339
from engine.outcome import CONDITION_FALSE
from engine.result import MissionResult, StepResult
from gateway.errors import ConflictError, ErasedError, StoreError
from gateway.store.queries import get_mission, opened, tagged
from gateway.store.records import Creation, MissionRecord, NewMission, mission_of, sealed_head, sealed_step
from gateway.store.sealing import Sealer
from gateway.store.stored_bytes import count_rows

StepOutput = tuple[StepResult, bytes]  # a result, and its output as JSON
NO_KINDS: Final[Mapping[str, str]] = MappingProxyType({})  # of steps, by id


def create_mission(connection: sqlite3.Connection, sealer: Sealer, mission: NewMission, now: datetime) -> Creation:
    """Insert the mission and its document, unless its request id was used before."""
    existing = tag = None
    if mission.request_id is not None:
        tag = sealer.request_tag(connection, mission.tenant, mission.submitter, mission.request_id)
        existing = tagged(connection, sealer, mission.tenant, mission.submitter, tag)
    if existing is not None:
        if existing.request_digest != mission.request_digest:
            raise ConflictError(
                f"request id {mission.request_id!r} was used for another request", code="mission.request_id_reused"
            )
        return Creation(existing, created=False)
    _check_place(connection, sealer, mission)
    box = sealer.admit(connection, mission.id, mission.key)
    row = connection.execute(
        "INSERT INTO missions (id, tenant, submitter, request_id, head, state,"
        " created_at, steps_total, roles, anonymous, taint, parent_id, root_id, depth)"
        " VALUES (?, ?, ?, ?, ?, 'Validated', ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            mission.id,
            mission.tenant,
            mission.submitter,
            tag,
            sealed_head(box, mission),
            rfc3339(now),
            mission.steps_total,
            orjson.dumps(mission.roles).decode(),
            int(mission.anonymous),
            orjson.dumps(sorted(mission.taint)).decode(),
            mission.parent_id,
            mission.root_id or mission.id,
            mission.depth,
        ),
    ).fetchall()[0]
    document = box.seal(mission.document, "mission_documents.document")
    connection.execute("INSERT INTO mission_documents VALUES (?, ?)", (mission.id, document))
    return Creation(mission_of(row, box), created=True)


def _check_place(connection: sqlite3.Connection, sealer: Sealer, mission: NewMission) -> None:
    """A part belongs to its parent's tree and tenant, and begins before its parent has ended: trees end whole."""
    tenant, root_id, depth = mission.tenant, mission.id, 0
    if mission.parent_id is not None:
        parent = get_mission(connection, sealer, mission.parent_id)
        if parent.ended_at is not None:
            raise ConflictError(f"mission {parent.id} has ended, and gets no parts", code="mission.ended")
        tenant, root_id, depth = parent.tenant, parent.root_id, parent.depth + 1
    if (mission.tenant, mission.root_id or mission.id, mission.depth) != (tenant, root_id, depth):
        raise StoreError("the mission is not where its parent says", code="store.constraint")


def mark_executing(connection: sqlite3.Connection, mission_id: str, now: datetime) -> None:
    """Validated → Executing; one that goes on after a restart is Executing already, and began when it began.

    Whoever runs it knows from now on what its files hold.
    """
    changed = connection.execute(
        "UPDATE missions SET state = 'Executing', started_at = coalesce(started_at, ?), files_bytes = 0"
        " WHERE id = ? AND state IN ('Validated', 'Executing')",
        (rfc3339(now), mission_id),
    )
    if changed.rowcount != 1:
        raise ConflictError(f"mission {mission_id} is not Validated or Executing", code="mission.state")


def set_paused(connection: sqlite3.Connection, sealer: Sealer, mission_id: str, *, paused: bool) -> None:
    """Remember whether the mission is paused."""
    changed = connection.execute(
        "UPDATE missions SET paused = ? WHERE id = ? AND ended_at IS NULL", (int(paused), mission_id)
    )
    if changed.rowcount != 1:
        get_mission(connection, sealer, mission_id)
        raise ConflictError(f"mission {mission_id} has ended", code="mission.state")


def set_files_bytes(connection: sqlite3.Connection, mission_id: str, files_bytes: int) -> None:
    """Remember what the files of a mission that does not run hold."""
    connection.execute("UPDATE missions SET files_bytes = ? WHERE id = ?", (files_bytes, mission_id))


def set_decision_labels(connection: sqlite3.Connection, sealer: Sealer, mission_id: str, labels: bytes) -> None:
    """Remember what policy says of the mission; `labels` is a JSON object."""
    sealed = sealer.box(connection, mission_id).seal(labels, "missions.labels")
    connection.execute("UPDATE missions SET labels = ? WHERE id = ?", (sealed, mission_id))


def reopen_mission(connection: sqlite3.Connection, sealer: Sealer, mission_id: str) -> MissionRecord:
    """Completed, Failed or Cancelled → Validated, with the results that stay true."""
    if get_mission(connection, sealer, mission_id).ended_at is None:
        raise ConflictError(f"mission {mission_id} has not ended", code="mission.state")
    sealer.box(connection, mission_id)  # there is one
    if connection.execute("SELECT 1 FROM missions WHERE id = ? AND erasing IS NOT NULL", (mission_id,)).fetchone():
        raise ErasedError("the mission is being erased")
    connection.execute(
        "DELETE FROM step_results WHERE mission_id = ? AND status <> 'Completed'"
        " AND NOT (status = 'Skipped' AND error_code IS ?)",  # as engine.outcome.stands
        (mission_id, CONDITION_FALSE.code),
    )
    row = connection.execute(
        "UPDATE missions SET state = 'Validated', run = run + 1, paused = 0, started_at = NULL, ended_at = NULL,"
        " overall_status = NULL, total_duration_ms = NULL, steps_completed = 0, steps_failed = 0, steps_skipped = 0,"
        " error_code = NULL, error_message = NULL, ending = NULL, audit_summary = NULL WHERE id = ? RETURNING *",
        (mission_id,),
    ).fetchall()[0]
    return opened(connection, sealer, row)


def save_step_results(
    connection: sqlite3.Connection,
    sealer: Sealer,
    mission_id: str,
    steps: Sequence[StepOutput],
    kinds: Mapping[str, str] = NO_KINDS,
) -> None:
    """Insert results; `kinds` says of what kind each step is, for statistics."""
    if not steps:
        return
    box = sealer.box(connection, mission_id)
    (tenant,) = connection.execute("SELECT tenant FROM missions WHERE id = ?", (mission_id,)).fetchone()
    rows = [
        (*sealed_step(box, mission_id, result, output), kinds.get(result.step_id, ""), tenant)
        for result, output in steps
    ]
    connection.executemany(
        "INSERT INTO step_results (mission_id, step_id, status, output, error_code, error_message, duration_ms,"
        " timestamp, attempts, step_type, tenant) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    count_rows(connection, mission_id, [sum(len(value) for value in row if isinstance(value, bytes)) for row in rows])


def append_events(
    connection: sqlite3.Connection, sealer: Sealer, mission_id: str, first_index: int, bodies: Iterable[bytes]
) -> None:
    """Insert the events that follow those that are there."""
    box = sealer.box(connection, mission_id)
    (following,) = connection.execute(
        "SELECT coalesce(max(idx) + 1, 0) FROM mission_events WHERE mission_id = ?", (mission_id,)
    ).fetchone()
    if first_index != following:
        raise StoreError(f"the next event of {mission_id} is {following}, not {first_index}", code="store.event_gap")
    rows = [
        (mission_id, index, box.seal(body, "mission_events.body", str(index)))
        for index, body in enumerate(bodies, start=first_index)
    ]
    connection.executemany("INSERT INTO mission_events VALUES (?, ?, ?)", rows)
    count_rows(connection, mission_id, [len(body) for _, _, body in rows])


def finish_mission(
    connection: sqlite3.Connection,
    sealer: Sealer,
    result: MissionResult,
    steps: Sequence[StepOutput],
    audit_summary: bytes | None,
    kinds: Mapping[str, str] = NO_KINDS,
    files_bytes: int | None = None,
) -> None:
    """Insert the last step results, and end the mission; without `files_bytes` what is known of its files stays."""
    save_step_results(connection, sealer, result.mission_id, steps, kinds)
    ending = None
    if result.error is not None:
        box = sealer.box(connection, result.mission_id)
        ending = box.seal(result.error.message.encode(), "missions.ending")
    changed = connection.execute(
        "UPDATE missions SET state = ?, overall_status = ?, ended_at = ?, total_duration_ms = ?, steps_completed = ?,"
        " steps_failed = ?, steps_skipped = ?, error_code = ?, error_message = ?, ending = ?, audit_summary = ?,"
        " paused = 0, files_bytes = coalesce(?, files_bytes)"
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
            "" if result.error else None,
            ending,
            audit_summary,
            files_bytes,
            result.mission_id,
        ),
    )
    if changed.rowcount != 1:
        raise ConflictError(f"mission {result.mission_id} is not executing", code="mission.state")
