"""What the store has of a person beside the row of its pseudonym: missions that it has submitted, and decisions."""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionsOfSubject:
    """The trees of missions that a person has submitted, by their roots."""

    ended: tuple[str, ...]  # of which every mission has ended
    running: int


def missions_of(
    connection: sqlite3.Connection, tenant: str, subject: str, upto: int | None = None
) -> MissionsOfSubject:
    """Return the trees of a person that are not erased; a part of one has the submitter of its root.

    Callers without a credential are nobody, whatever their name.
    """
    rows = connection.execute(
        "SELECT id, EXISTS (SELECT 1 FROM missions AS part WHERE part.root_id = root.id AND part.ended_at IS NULL)"
        " AS runs FROM missions AS root"
        " WHERE parent_id IS NULL AND tenant = ? AND submitter = ? AND anonymous = 0 AND pruned = 0"
        " AND erased_at IS NULL AND (? IS NULL OR seq <= ?) ORDER BY seq",
        (tenant, subject, upto, upto),
    ).fetchall()
    return MissionsOfSubject(
        ended=tuple(row["id"] for row in rows if not row["runs"]), running=sum(1 for row in rows if row["runs"])
    )


def forget_name(connection: sqlite3.Connection, tenant: str, subject: str, pseudonym: str) -> None:
    """Rename who has submitted erased missions, and who has decided on approvals of any mission of the tenant.

    The row of the pseudonym loses name and key in the same transaction. Missions that are not erased keep the name of
    who has submitted them, and with it that person's right to them.
    """
    connection.execute(
        "UPDATE missions SET submitter = ? WHERE tenant = ? AND submitter = ? AND anonymous = 0"
        " AND erased_at IS NOT NULL",
        (pseudonym, tenant, subject),
    )
    connection.execute(
        "UPDATE approvals SET decided_by = ? WHERE decided_by = ?"
        " AND mission_id IN (SELECT id FROM missions WHERE tenant = ?)",
        (pseudonym, subject, tenant),
    )
    connection.execute("UPDATE subjects SET sealed = x'', key = x'' WHERE pseudonym = ? AND tag IS NULL", (pseudonym,))
