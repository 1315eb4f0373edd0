"""How long records are kept, and how they are erased: rows go in small transactions, documents after decisions."""

import sqlite3
from dataclasses import dataclass
from typing import Final

ROWS_MAX: Final = 500  # deleted in one transaction
BYTES_MAX: Final = 16 * 1024**3  # of the file, free pages not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is kept at most. The oldest go first."""

    before: str  # RFC 3339: what is older goes
    kept_max: int
    bytes_max: int = BYTES_MAX


def prune_some(connection: sqlite3.Connection, bounds: Bounds) -> int:
    """Delete what is over a bound, at most `ROWS_MAX` decisions, and return how many; 0: nothing is left to do."""
    count = _delete(connection, "at < ? ORDER BY at", (bounds.before,))
    if count == 0 and (over := _count(connection) - bounds.kept_max) > 0:
        count = _delete(connection, "TRUE ORDER BY seq", (), limit=min(over, ROWS_MAX))
    if count == 0 and _bytes(connection) > bounds.bytes_max:
        count = _delete(connection, "TRUE ORDER BY seq", ())
    return count


def erase_mission_some(connection: sqlite3.Connection, mission_id: str) -> int:
    """Delete decisions of a mission, with their documents and events, at most `ROWS_MAX`, and return how many.

    The decision on its plan was taken before it had an id: its `mission.admitted` names that one (`erase_one`).
    """
    connection.execute("DELETE FROM outbox WHERE mission_id = ?", (mission_id,))
    return _delete(connection, "mission_id = ?", (mission_id,))


def erase_subject_some(connection: sqlite3.Connection, tag: bytes) -> int:
    """Delete decisions about what a person asked for (`RecordKeys.tag`), as `erase_mission_some`."""
    connection.execute("DELETE FROM outbox WHERE subject = ?", (tag,))
    return _delete(connection, "subject = ?", (tag,))


def erase_one(connection: sqlite3.Connection, decision_id: str) -> int:
    """Delete one decision, as `erase_mission_some`."""
    connection.execute("DELETE FROM outbox WHERE id = ?", (decision_id,))
    return _delete(connection, "id = ?", (decision_id,))


def _delete(connection: sqlite3.Connection, which: str, values: tuple[object, ...], *, limit: int = ROWS_MAX) -> int:
    """Delete the oldest decisions of a condition of ours, and the documents that nobody refers to any more."""
    chosen = f"SELECT seq, document_id FROM decisions WHERE {which} LIMIT ?"  # noqa: S608 - ours
    rows = connection.execute(chosen, (*values, limit)).fetchall()
    connection.executemany("DELETE FROM decisions WHERE seq = ?", [(row["seq"],) for row in rows])
    connection.executemany(
        "DELETE FROM documents WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM decisions WHERE document_id = ?1)",
        [(document_id,) for document_id in {row["document_id"] for row in rows}],
    )
    return len(rows)


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM decisions").fetchone()
    return int(count)


def _bytes(connection: sqlite3.Connection) -> int:
    size, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (pages - free)
