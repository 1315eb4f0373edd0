"""Approvals in the store: asked once for each effect, and decided once."""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import orjson

from engine.clock import rfc3339
from gateway.errors import ConflictError, NotFoundError
from gateway.store.approval_records import ApprovalRecord, ApprovalState, NewApproval
from gateway.store.records import moment_of
from gateway.store.sealing import Box, Sealer

APPROVALS_MAX: Final = 10_000  # in one list


def create_approval(connection: sqlite3.Connection, sealer: Sealer, approval: NewApproval) -> ApprovalRecord:
    """Insert a request, or return the one that has its effect key."""
    known = connection.execute("SELECT * FROM approvals WHERE effect_key = ?", (approval.effect_key,)).fetchone()
    if known is not None:
        return _approval_of(known, sealer.box(connection, known["mission_id"]))
    box = sealer.box(connection, approval.mission_id)
    row = connection.execute(
        "INSERT INTO approvals (id, mission_id, step_id, item, digest, bundle, message, approvers, state, requested_at,"
        " expires_at, effect_key, entrypoint)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?) RETURNING *",
        (
            approval.id,
            approval.mission_id,
            approval.step_id,
            approval.item,
            approval.digest,
            approval.bundle,
            box.seal(approval.message.encode(), "approvals.message", approval.id),
            orjson.dumps(approval.approvers).decode(),
            rfc3339(approval.requested_at),
            rfc3339(approval.expires_at),
            approval.effect_key,
            approval.entrypoint,
        ),
    ).fetchall()[0]
    return _approval_of(row, box)


def get_approval(connection: sqlite3.Connection, sealer: Sealer, approval_id: str) -> ApprovalRecord:
    """Return one approval, or raise NotFoundError."""
    row = connection.execute(
        "SELECT * FROM approvals WHERE id = ?"
        " AND EXISTS (SELECT 1 FROM missions WHERE missions.id = mission_id AND pruned = 0)",
        (approval_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError("there is no such approval", code="approval.not_found")
    return _approval_of(row, sealer.box(connection, row["mission_id"]))


def list_approvals(
    connection: sqlite3.Connection, sealer: Sealer, tenant: str, mission_id: str | None, *, pending_only: bool
) -> tuple[ApprovalRecord, ...]:
    """Return the newest approvals that fit, at most APPROVALS_MAX, the oldest of them first."""
    conditions = ["missions.tenant = ?", "missions.pruned = 0", "missions.erased_at IS NULL"]  # rows go after keys
    values: list[object] = [tenant]
    if mission_id is not None:
        conditions.append("approvals.mission_id = ?")
        values.append(mission_id)
    if pending_only:
        conditions.append("approvals.state = 'pending'")
    sql = (
        "SELECT approvals.* FROM approvals JOIN missions ON missions.id = approvals.mission_id"  # noqa: S608 - our text
        f" WHERE {' AND '.join(conditions)} ORDER BY approvals.seq DESC LIMIT ?"
    )
    rows = connection.execute(sql, (*values, APPROVALS_MAX)).fetchall()
    return tuple(_approval_of(row, sealer.box(connection, row["mission_id"])) for row in reversed(rows))


def approved_by(connection: sqlite3.Connection, approval_id: str) -> tuple[str, ...]:
    """Return who has said yes to another approval of the same mission, of its parts and its whole included.

    What an earlier run of the mission asked for by the same effect is no other approval.
    """
    rows = connection.execute(
        "SELECT DISTINCT other.decided_by FROM approvals AS this"
        " JOIN missions AS its ON its.id = this.mission_id"
        " JOIN missions AS beside ON beside.root_id = its.root_id"
        " JOIN approvals AS other ON other.mission_id = beside.id"
        " WHERE this.id = ? AND other.state = 'approved'"
        " AND substr(other.effect_key || '/', 1, instr(other.effect_key || '/', '/'))"
        " <> substr(this.effect_key || '/', 1, instr(this.effect_key || '/', '/')) ORDER BY other.decided_by",
        (approval_id,),
    ).fetchall()
    return tuple(row["decided_by"] for row in rows)


def decide_approval(
    connection: sqlite3.Connection,
    sealer: Sealer,
    approval_id: str,
    state: ApprovalState,
    by: str | None,
    comment: str,
    roles: Sequence[str],
    now: datetime,
    seen: Collection[str] | None = None,
) -> ApprovalRecord:
    """Pending → `state`, once.

    `seen` is what `approved_by` said when policy allowed the decision. A yes of somebody who has become one of those
    meanwhile, by a second call beside this one, is refused: policy has to see it.
    """
    if (
        seen is not None
        and state is ApprovalState.APPROVED
        and by in set(approved_by(connection, approval_id)) - {*seen}
    ):
        message = "you have approved something else of this mission meanwhile; decide again"
        raise ConflictError(message, code="approval.raced")
    mission_id = get_approval(connection, sealer, approval_id).mission_id
    box = sealer.box(connection, mission_id)
    sealed = box.seal(comment.encode(), "approvals.comment", approval_id) if comment else None
    rows = connection.execute(
        "UPDATE approvals SET state = ?, decided_at = ?, decided_by = ?, comment = ?, decided_roles = ?"
        " WHERE id = ? AND state = 'pending' RETURNING *",
        (state.value, rfc3339(now), by, sealed, orjson.dumps(list(roles)).decode(), approval_id),
    ).fetchall()
    if not rows:
        ended = get_approval(connection, sealer, approval_id)
        raise ConflictError(f"the approval is {ended.state.value} already", code="approval.decided")
    return _approval_of(rows[0], box)


def _approval_of(row: sqlite3.Row, box: Box) -> ApprovalRecord:
    return ApprovalRecord(
        id=row["id"],
        mission_id=row["mission_id"],
        step_id=row["step_id"],
        item=row["item"],
        digest=row["digest"],
        bundle=row["bundle"],
        message=box.open(row["message"], "approvals.message", row["id"]).decode(),
        approvers=tuple(orjson.loads(row["approvers"])),
        state=ApprovalState(row["state"]),
        requested_at=datetime.fromisoformat(row["requested_at"]),
        expires_at=datetime.fromisoformat(row["expires_at"]),
        decided_at=moment_of(row["decided_at"]),
        decided_by=row["decided_by"],
        comment="" if row["comment"] is None else box.open(row["comment"], "approvals.comment", row["id"]).decode(),
        effect_key=row["effect_key"],
        entrypoint=row["entrypoint"],
        decided_roles=tuple(orjson.loads(row["decided_roles"])),
    )
