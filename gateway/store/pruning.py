"""What was kept long enough is deleted: a mission that ended, with all missions below it, or nothing of it.

A tree may have more rows than one transaction should hold, so it goes in two acts. First it is marked, as a whole and
in one transaction, which looks again at whether every mission of it has ended; from then on no query finds it and
nothing can begin it anew. Then marked rows are deleted, so many in one transaction, children before their parents and
a mission after all that belongs to it. A gateway that is killed in between leaves marked rows, which nobody sees and
the next call deletes. The schema refuses a mark on a mission that has not ended, and an ended one stays ended while it
has a mark.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from engine.clock import rfc3339

ROWS_MAX: Final = 500  # deleted in one transaction
MISSIONS_MAX: Final = 1_000  # marked in one transaction, and those of one tree more

_PRUNABLE: Final = (
    "SELECT id FROM missions AS root WHERE parent_id IS NULL AND ended_at < ? AND pruned = 0"
    " AND NOT EXISTS (SELECT 1 FROM missions AS part WHERE part.root_id = root.id AND part.ended_at IS NULL)"
    " ORDER BY ended_at, seq LIMIT ?"
)
_MARK: Final = (  # the request id is free again from now on; a part is no root, so nothing has it as one
    "UPDATE missions SET pruned = 1, request_id = NULL WHERE root_id = :root AND pruned = 0"
    " AND EXISTS (SELECT 1 FROM missions WHERE id = :root AND ended_at < :before)"
    " AND NOT EXISTS (SELECT 1 FROM missions WHERE root_id = :root AND ended_at IS NULL)"
)
DELETE_KEYS: Final = (  # from that moment on nothing of it can be read, also where its rows are still there
    "DELETE FROM mission_keys WHERE mission_id IN (SELECT id FROM missions WHERE root_id = ?)"
)
_NEXT: Final = "SELECT id FROM missions WHERE pruned = 1 ORDER BY seq DESC LIMIT 1"  # children came after parents
_PARTS: Final = (  # what refers to a mission
    "DELETE FROM mission_documents WHERE rowid IN (SELECT rowid FROM mission_documents WHERE mission_id = ? LIMIT ?)",
    "DELETE FROM step_results WHERE seq IN (SELECT seq FROM step_results WHERE mission_id = ? LIMIT ?)",
    "DELETE FROM effects WHERE rowid IN (SELECT rowid FROM effects WHERE mission_id = ? LIMIT ?)",
    "DELETE FROM approvals WHERE seq IN (SELECT seq FROM approvals WHERE mission_id = ? LIMIT ?)",
    (
        "DELETE FROM mission_events WHERE (mission_id, idx) IN"
        " (SELECT mission_id, idx FROM mission_events WHERE mission_id = ? LIMIT ?)"
    ),
)


def prunable(connection: sqlite3.Connection, before: datetime, limit: int) -> tuple[str, ...]:
    """Return the roots of trees that ended whole, the root before `before`, oldest end first."""
    return tuple(row["id"] for row in connection.execute(_PRUNABLE, (rfc3339(before), limit)))


def mark_some(
    connection: sqlite3.Connection, roots: Sequence[str], before: datetime
) -> tuple[tuple[str, ...], Sequence[str]]:
    """Mark the first of these trees, as many as one transaction should hold.

    Returns those that were marked and those that were not looked at; what may not be deleted is in neither.
    """
    marked: list[str] = []
    missions = 0
    for looked, root in enumerate(roots, start=1):
        count = connection.execute(_MARK, {"root": root, "before": rfc3339(before)}).rowcount
        missions += count
        if count:
            connection.execute(DELETE_KEYS, (root,))
            marked.append(root)
        if missions >= MISSIONS_MAX:
            return tuple(marked), roots[looked:]
    return tuple(marked), ()


def sweep_some(connection: sqlite3.Connection) -> bool:
    """Delete marked rows, at most ROWS_MAX; return whether there may be more."""
    room = ROWS_MAX
    while room:
        mission = connection.execute(_NEXT).fetchone()
        if mission is None:
            return False
        room = delete_parts(connection, mission["id"], room)
        if room:  # nothing is left that refers to it
            room -= connection.execute("DELETE FROM missions WHERE id = ? AND pruned = 1", (mission["id"],)).rowcount
    return True


def delete_parts(connection: sqlite3.Connection, mission_id: str, room: int) -> int:
    """Delete rows that belong to a mission, at most `room`, and return how much room is left; 0: there may be more."""
    for part in _PARTS:
        room -= connection.execute(part, (mission_id, room)).rowcount
    return room
