"""What a mission held is erased, for good: it stays in the list, with its times and counts, and says since when.

A tree is erased whole, as it is pruned: what a part has given its whole is in the whole's journal too. It goes in acts,
each durable before the next, so that a gateway that is killed in between goes on where it stopped:

1. `begin`: every mission of the tree is marked, and nothing can begin it anew; by whom and why is kept beside the mark;
2. `cut`: in one transaction the keys of the tree are deleted, and with them all that was sealed, and the rows of the
   missions are emptied of what says something; from now on they say `erased_at`;
3. `sweep`: the sealed rows are deleted and overwritten (secure_delete), so many in one transaction;
4. `scrub`: the write-ahead log, which has older pages, is emptied and cut to nothing;
5. `end`: the marks go.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import orjson

from engine.clock import Clock, rfc3339
from gateway.errors import ConflictError, ErasedError, StoreError
from gateway.store.connection import truncate_log
from gateway.store.pruning import DELETE_KEYS, ROWS_MAX, delete_parts
from gateway.store.queries import bare_mission
from gateway.store.reader import Reader
from gateway.store.sealing import Box, Sealer
from gateway.store.writer import GroupCommitWriter

_SCRUBS_MAX: Final = 5
_SCRUB_SECONDS: Final = 0.1  # between two tries
_UNKNOWN: Final = "gateway"  # an actor: who asked stands under `mission.erased`, where that was written before
_CUT: Final = b""  # a mark behind act 2: who asked, and why, was sealed under a key that is gone
_CLEAR: Final = (
    "UPDATE missions SET erased_at = ?, erasing = ?, head = NULL, ending = NULL, labels = NULL, request_id = NULL,"
    " taint = '[]', files_bytes = 0 WHERE root_id = ?"  # the files go with the keys: sealed, or deleted next
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasing:
    """An erasure that has begun, and not ended."""

    root_id: str
    missions: tuple[str, ...]  # of the tree, the root first
    by: str  # who asked, and
    reason: str  # why; both are empty once it is `cut`
    cut: bool  # the keys are gone


def begin(connection: sqlite3.Connection, sealer: Sealer, mission_id: str, by: str, reason: str) -> Erasing:
    """Act 1; of a tree that is marked already, what stands there."""
    record = bare_mission(connection, mission_id)  # what does not open is erased as well
    marked = connection.execute("SELECT 1 FROM missions WHERE id = ? AND erasing IS NOT NULL", (mission_id,)).fetchone()
    if record.erased_at is not None and marked is None:
        raise ErasedError("the mission was erased before")
    if record.parent_id is not None:
        message = f"it is a part of mission {record.root_id}, and is erased with it"
        raise ConflictError(message, code="mission.part")
    if marked is not None:
        return _erasing_of(connection, sealer, mission_id)
    running = connection.execute("SELECT 1 FROM missions WHERE root_id = ? AND ended_at IS NULL LIMIT 1", (mission_id,))
    if running.fetchone() is not None:
        message = "the mission, or a part of it, has not ended; only what has can be erased"
        raise ConflictError(message, code="mission.not_ended")
    note = sealer.box(connection, mission_id).seal(orjson.dumps([by, reason]), "missions.erasing")
    connection.execute("UPDATE missions SET erasing = ? WHERE root_id = ?", (note, mission_id))
    return _erasing_of(connection, sealer, mission_id)


def cut(connection: sqlite3.Connection, sealer: Sealer, root_id: str, now: datetime) -> None:
    """Act 2."""
    changed = connection.execute(f"{_CLEAR} AND erasing IS NOT NULL", (rfc3339(now), _CUT, root_id))
    if changed.rowcount == 0:
        raise StoreError("an erasure that has not begun cannot go on", code="store.constraint")
    connection.execute(DELETE_KEYS, (root_id,))
    sealer.forget()


def sweep_some(connection: sqlite3.Connection, missions: Sequence[str]) -> bool:
    """Act 3: delete rows of these missions, at most ROWS_MAX; return whether there may be more."""
    room = ROWS_MAX
    for mission_id in missions:
        room = delete_parts(connection, mission_id, room)
        if not room:
            return True
    return False


def end(connection: sqlite3.Connection, root_id: str) -> None:
    """Act 5."""
    connection.execute("UPDATE missions SET erasing = NULL WHERE root_id = ? AND erased_at IS NOT NULL", (root_id,))


def unfinished(connection: sqlite3.Connection, sealer: Sealer) -> tuple[Erasing, ...]:
    """Return the erasures that have begun and not ended."""
    rows = connection.execute(
        "SELECT id FROM missions WHERE erasing IS NOT NULL AND parent_id IS NULL AND pruned = 0 ORDER BY seq"
    ).fetchall()
    return tuple(_erasing_of(connection, sealer, row["id"]) for row in rows)


def _erasing_of(connection: sqlite3.Connection, sealer: Sealer, root_id: str) -> Erasing:
    rows = connection.execute(
        "SELECT id, erasing, erased_at FROM missions WHERE root_id = ? ORDER BY seq", (root_id,)
    ).fetchall()
    by = reason = ""
    if rows[0]["erased_at"] is None:
        by, reason = _note(sealer.box(connection, root_id), rows[0]["erasing"])
    return Erasing(
        root_id=root_id,
        missions=tuple(row["id"] for row in rows),
        by=by,
        reason=reason,
        cut=rows[0]["erased_at"] is not None,
    )


def _note(box: Box, sealed: bytes) -> tuple[str, str]:
    """Return by whom and why; where that is damaged, nobody stands there: an erasure that has begun goes on."""
    try:
        by, reason = orjson.loads(box.open(sealed, "missions.erasing"))
    except ConflictError:
        return _UNKNOWN, ""
    return by, reason


class ErasureStore:
    """The acts, for the loop. What stands in no database is erased by `gateway.missions.erasure`."""

    def __init__(self, writer: GroupCommitWriter, reader: Reader, sealers: tuple[Sealer, Sealer], clock: Clock) -> None:
        """Prepare; `sealers` are the writer's and the reader's."""
        self._writer = writer
        self._reader = reader
        self._sealer, self._opener = sealers
        self._clock = clock

    async def begin(self, mission_id: str, by: str, reason: str) -> Erasing:
        """Mark a mission that has ended, with all its parts.

        Raises:
            NotFoundError: there is none.
            ConflictError: `mission.not_ended`; `mission.part`, it is erased with its whole.
            ErasedError: it was erased before.
        """
        return await self._writer.submit(lambda c: begin(c, self._sealer, mission_id, by, reason))

    async def mission(self, erasing: Erasing) -> None:
        """Erase what the store holds of a tree that is marked: keys, then rows, then the log of the database.

        Raises:
            StoreError: it is not done; once it has begun, nothing can be read of it all the same.
        """
        if not erasing.cut:
            now = self._clock.now()
            await self._writer.submit(lambda c: cut(c, self._sealer, erasing.root_id, now))
        await self._reader.run(lambda _: self._opener.forget())
        while await self._writer.submit(partial(sweep_some, missions=erasing.missions)):
            pass
        await self.scrub()

    async def scrub(self) -> None:
        """Leave nothing of what was deleted in the write-ahead log.

        Raises:
            StoreError: `store.busy`.
        """
        for again in reversed(range(_SCRUBS_MAX)):
            try:
                return await self._writer.between(truncate_log)
            except StoreError as error:  # a query is about to end
                if error.code != "store.busy" or not again:
                    raise
            await asyncio.sleep(_SCRUB_SECONDS)
        return None

    async def count(self, root_id: str) -> int:
        """Return how many missions are in a tree."""
        return await self._reader.run(
            lambda c: int(c.execute("SELECT count(*) FROM missions WHERE root_id = ?", (root_id,)).fetchone()[0])
        )

    async def end(self, erasing: Erasing) -> None:
        """Say that nothing is left to do."""
        await self._writer.submit(lambda c: end(c, erasing.root_id))

    async def unfinished(self) -> tuple[Erasing, ...]:
        """Return what an earlier process has begun, oldest mission first."""
        return await self._reader.run(lambda c: unfinished(c, self._opener))
