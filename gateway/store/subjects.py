"""Who stands behind a pseudonym of the log: one row each, in which a name is readable only with the master key.

An erasure goes in steps, since much has to go with it: the row says that it is to be erased, and by whom; it loses its
tag, so that the same person, who comes again, is a new one; when all else is gone, it loses name and key, and then it
goes as well. What was begun and not ended is found at the next start.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from engine.clock import rfc3339
from gateway.errors import ConflictError, NotFoundError
from gateway.store.subject_missions import missions_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRecord:
    """A row."""

    pseudonym: str
    sealed: bytes  # tenant and subject
    key: bytes  # of commitments, wrapped
    erasing: str = ""  # by whom; empty: it is not to be erased
    upto: int = 0  # the last mission, in the order of admission, that goes with it
    reason: str = ""

    @property
    def emptied(self) -> bool:
        """Whether name and key are gone already."""
        return not self.sealed


def subject_by_tag(connection: sqlite3.Connection, tag: bytes) -> SubjectRecord | None:
    """Return the row with this tag, if there is one."""
    row = connection.execute("SELECT * FROM subjects WHERE tag = ?", (tag,)).fetchone()
    return None if row is None else _record_of(row)


def subject_by_pseudonym(connection: sqlite3.Connection, pseudonym: str) -> SubjectRecord:
    """Return the row of a pseudonym, or raise NotFoundError."""
    row = connection.execute("SELECT * FROM subjects WHERE pseudonym = ?", (pseudonym,)).fetchone()
    if row is None:
        raise NotFoundError("this pseudonym is nobody's: it was erased, or never given", code="subject.not_found")
    return _record_of(row)


def create_subject(connection: sqlite3.Connection, tag: bytes, new: SubjectRecord, now: datetime) -> SubjectRecord:
    """Insert a row, or return the one that has its tag."""
    if (known := subject_by_tag(connection, tag)) is not None:
        return known
    connection.execute(
        "INSERT INTO subjects (pseudonym, tag, sealed, key, created_at) VALUES (?, ?, ?, ?, ?)",
        (new.pseudonym, tag, new.sealed, new.key, rfc3339(now)),
    )
    return new


def begin_erasure(
    connection: sqlite3.Connection, tenant: str, subject: str, pseudonym: str, by: str, reason: str
) -> SubjectRecord:
    """Say that a row is to be erased; who has asked first stays. Or raise NotFoundError, or ConflictError.

    In this transaction nothing of the person runs: all up to `upto` has ended, and can be erased.
    """
    if running := missions_of(connection, tenant, subject).running:
        message = f"{running} missions of this person have not ended; cancel them, or wait"
        raise ConflictError(message, code="subject.missions_running")
    connection.execute(
        "UPDATE subjects SET erasing = ?, reason = ?, upto = (SELECT coalesce(max(seq), 0) FROM missions)"
        " WHERE pseudonym = ? AND erasing IS NULL",
        (by, reason, pseudonym),
    )
    return subject_by_pseudonym(connection, pseudonym)


def detach(connection: sqlite3.Connection, pseudonym: str) -> None:
    """Take the tag from a row that is to be erased; once more is no error."""
    connection.execute("UPDATE subjects SET tag = NULL WHERE pseudonym = ? AND erasing IS NOT NULL", (pseudonym,))


def finish_erasure(connection: sqlite3.Connection, pseudonym: str) -> None:
    """Delete a row that was emptied."""
    connection.execute("DELETE FROM subjects WHERE pseudonym = ? AND tag IS NULL AND sealed = x''", (pseudonym,))


def erasing_subjects(connection: sqlite3.Connection) -> tuple[SubjectRecord, ...]:
    """Return the rows whose erasure has begun, and not ended."""
    rows = connection.execute("SELECT * FROM subjects WHERE erasing IS NOT NULL ORDER BY pseudonym")
    return tuple(_record_of(row) for row in rows)


def _record_of(row: sqlite3.Row) -> SubjectRecord:
    return SubjectRecord(
        pseudonym=row["pseudonym"],
        sealed=bytes(row["sealed"]),
        key=bytes(row["key"]),
        erasing=row["erasing"] or "",
        upto=row["upto"] or 0,
        reason=row["reason"] or "",
    )
