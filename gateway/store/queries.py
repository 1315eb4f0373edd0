"""What is asked of the store: plain functions of a connection inside a snapshot; `gateway.store.reader` runs them.

What is left of a mission that is being deleted (`gateway.store.pruning`) is not there for any of them.
"""

import sqlite3
from dataclasses import dataclass

from engine.result import MissionState, StepResult
from gateway.errors import NotFoundError
from gateway.limits.quotas import StoredBytes
from gateway.store.paging import invalid_token, token_after
from gateway.store.records import (
    MissionPage,
    MissionRecord,
    StoredEvent,
    mission_of,
    step_of,
)
from gateway.store.sealing import Box, Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which missions a list shows; None is no condition."""

    tenant: str | None
    state: MissionState | None

    def conditions(self) -> tuple[list[str], list[object]]:
        """Return SQL conditions, written here, and their values, which are not."""
        wanted = {"tenant": self.tenant, "state": self.state and self.state.value}
        given = {column: value for column, value in wanted.items() if value is not None}
        return ["pruned = 0", *(f"{column} = ?" for column in given)], list(given.values())


def find_request(
    connection: sqlite3.Connection, sealer: Sealer, tenant: str, submitter: str, request_id: str
) -> MissionRecord | None:
    """Return the mission of a request id, if there is one."""
    return tagged(connection, sealer, tenant, submitter, sealer.request_tag(connection, tenant, submitter, request_id))


def tagged(
    connection: sqlite3.Connection, sealer: Sealer, tenant: str, submitter: str, tag: str
) -> MissionRecord | None:
    """Return the mission of a request id that has this tag, if there is one."""
    row = connection.execute(
        "SELECT * FROM missions WHERE tenant = ? AND submitter = ? AND request_id = ?", (tenant, submitter, tag)
    ).fetchone()
    return None if row is None else opened(connection, sealer, row)


def opened(connection: sqlite3.Connection, sealer: Sealer, row: sqlite3.Row) -> MissionRecord:
    """Return a row of `missions` as a record."""
    return mission_of(row, sealer.box(connection, row["id"]) if row["erased_at"] is None else None)


def get_mission(connection: sqlite3.Connection, sealer: Sealer, mission_id: str) -> MissionRecord:
    """Return one mission, or raise NotFoundError."""
    row = connection.execute("SELECT * FROM missions WHERE id = ? AND pruned = 0", (mission_id,)).fetchone()
    if row is None:
        raise NotFoundError("there is no such mission", code="mission.not_found")
    return opened(connection, sealer, row)


def bare_mission(connection: sqlite3.Connection, mission_id: str) -> MissionRecord:
    """Return what stands in the clear of one mission, also where nothing of it opens; or raise NotFoundError."""
    row = connection.execute("SELECT * FROM missions WHERE id = ? AND pruned = 0", (mission_id,)).fetchone()
    if row is None:
        raise NotFoundError("there is no such mission", code="mission.not_found")
    return mission_of(row, None)


def children(connection: sqlite3.Connection, sealer: Sealer, mission_id: str) -> tuple[MissionRecord, ...]:
    """Return the missions that are parts of this one, one level deep, in the order of their admission."""
    rows = connection.execute("SELECT * FROM missions WHERE parent_id = ? AND pruned = 0 ORDER BY seq", (mission_id,))
    return tuple(opened(connection, sealer, row) for row in rows)


def unfinished(connection: sqlite3.Connection, sealer: Sealer) -> tuple[MissionRecord, ...]:
    """Return what has not ended, in the order of admission, in which a parent stands before its children."""
    rows = connection.execute("SELECT * FROM missions WHERE ended_at IS NULL ORDER BY seq")
    return tuple(opened(connection, sealer, row) for row in rows)


def stored_bytes(connection: sqlite3.Connection, tenant: str, submitter: str) -> StoredBytes:
    """Return what is kept of a tenant's missions and of a principal's; a tenant has a row for each principal."""
    row = connection.execute(
        "SELECT coalesce(sum(bytes), 0) AS tenant, coalesce(sum(bytes) FILTER (WHERE submitter = ?), 0) AS principal"
        " FROM stored_bytes WHERE tenant = ?",
        (submitter, tenant),
    ).fetchone()
    return StoredBytes(tenant=row["tenant"], principal=row["principal"])


def get_document(connection: sqlite3.Connection, sealer: Sealer, mission_id: str) -> bytes:
    """Return a mission's document, or raise NotFoundError or ErasedError."""
    box = sealer.box(connection, mission_id)
    row = connection.execute(
        "SELECT document FROM mission_documents"
        " WHERE mission_id = (SELECT id FROM missions WHERE id = ? AND pruned = 0)",
        (mission_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError("there is no such mission", code="mission.not_found")
    return box.open(row["document"], "mission_documents.document")


def step_results(
    connection: sqlite3.Connection, sealer: Sealer, mission_id: str, offset: int, limit: int
) -> tuple[StepResult, ...]:
    """Return results in the order of arrival; none for an unknown mission. Raises ErasedError."""
    box = known_box(connection, sealer, mission_id)
    if box is None:
        return ()
    rows = connection.execute(
        "SELECT * FROM step_results WHERE mission_id = (SELECT id FROM missions WHERE id = ? AND pruned = 0)"
        " ORDER BY seq LIMIT ? OFFSET ?",
        (mission_id, limit, offset),
    )
    return tuple(step_of(row, box) for row in rows)


def list_missions(
    connection: sqlite3.Connection, sealer: Sealer, wanted: Filter, page_size: int, after_mission: str | None
) -> MissionPage:
    """Return one page; one row more than asked for tells whether there is a next one."""
    conditions, values = wanted.conditions()
    if after_mission is not None:
        conditions.append("seq < ?")
        values.append(_seq_of(connection, wanted, after_mission))
    where = " AND ".join(conditions)
    sql = f"SELECT * FROM missions WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - conditions are our own text
    rows = connection.execute(sql, (*values, page_size + 1)).fetchall()
    missions = tuple(opened(connection, sealer, row) for row in rows[:page_size])
    return MissionPage(missions, token_after(missions[-1].id) if len(rows) > page_size else "")


def _seq_of(connection: sqlite3.Connection, wanted: Filter, mission_id: str) -> int:
    """Return the place of the last mission shown; another tenant's mission is no place in this list."""
    row = connection.execute("SELECT seq, tenant FROM missions WHERE id = ?", (mission_id,)).fetchone()
    if row is None or wanted.tenant not in {None, row["tenant"]}:
        raise invalid_token()
    seq: int = row["seq"]
    return seq


def known_box(connection: sqlite3.Connection, sealer: Sealer, mission_id: str) -> Box | None:
    """Return the box of a mission, None for an unknown one. Raises ErasedError."""
    try:
        return sealer.box(connection, mission_id)
    except NotFoundError:
        return None


def events(
    connection: sqlite3.Connection, sealer: Sealer, mission_id: str, from_index: int, limit: int
) -> tuple[StoredEvent, ...]:
    """Return events from an index on; none for an unknown mission. Raises ErasedError."""
    box = known_box(connection, sealer, mission_id)
    if box is None:
        return ()
    rows = connection.execute(
        "SELECT idx, body FROM mission_events"
        " WHERE mission_id = (SELECT id FROM missions WHERE id = ? AND pruned = 0) AND idx >= ? ORDER BY idx LIMIT ?",
        (mission_id, from_index, limit),
    )
    return tuple(StoredEvent(row["idx"], event_body(box, row)) for row in rows)


def event_body(box: Box, row: sqlite3.Row) -> bytes:
    """Return the body in a row of `mission_events`."""
    return box.open(row["body"], "mission_events.body", str(row["idx"]))
