"""The records, read: beside the gateway that writes them, or without one. Every row is verified as it is opened."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from engine.clock import Clock
from gateway.decisions.database import DATABASE_FILE, open_beside
from gateway.decisions.events import encoded
from gateway.decisions.keys import RecordKeys
from gateway.decisions.rows import Row, document_place, unpack
from gateway.errors import NotFoundError, StoreError
from gateway.policy.decision import Decision, parse_decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.store.failures import store_error
from gateway.vault.master import MasterSource

_PAGE: Final = 200
_ID: Final = re.compile(r"[0-9a-f]{32}")
_SELECT: Final = (
    "SELECT seq, decisions.id AS id, at, decisions.day AS day, entrypoint, subject, mission_id, bundle, allow, codes,"
    " answer, digest, documents.day AS document_day, sealed"
    " FROM decisions LEFT JOIN documents ON documents.id = document_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which decisions are read. An empty field asks for nothing."""

    since: str = ""  # RFC 3339, UTC: at this moment or later
    entrypoint: Entrypoint | None = None
    mission_id: str = ""
    denied_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded decision, opened and verified."""

    id: str
    at: str
    entrypoint: Entrypoint
    mission_id: str
    digest: str  # plain, of the document
    document: bytes
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row that does not open any more; what stands in the clear of it may be wrong."""

    id: str
    at: str
    entrypoint: str
    why: str


class Records:
    """Reads `decisions.db`."""

    def __init__(self, connection: sqlite3.Connection, keys: RecordKeys) -> None:
        self._connection = connection
        self._keys = keys

    @classmethod
    @contextmanager
    def open(cls, home: Path, source: MasterSource, clock: Clock) -> Iterator[Self]:
        """Yield the records of a home.

        Raises:
            NotFoundError: `decisions.none`, nothing was ever recorded there.
            StoreError: `decisions.other_key`, or the file cannot be read.
            SecretError: the key cannot be had.
        """
        path = home / DATABASE_FILE
        if not path.is_file():
            raise NotFoundError(f"{path}: nothing was recorded here", code="decisions.none")
        keys = RecordKeys.of(source, clock)
        try:
            connection = open_beside(path, keys.check)
            try:
                yield cls(connection, keys)
            finally:
                connection.close()
        finally:
            keys.wipe()

    def get(self, decision_id: str) -> Recorded | Unreadable:
        """Return one decision.

        Raises:
            NotFoundError: `decision.not_found`.
            StoreError: the file cannot be read.
        """
        rows = self._page(f"{_SELECT} WHERE decisions.id = ?", (decision_id,)) if _ID.fullmatch(decision_id) else []
        if not rows:
            raise NotFoundError(f"no decision {decision_id[:64]} is recorded", code="decision.not_found")
        return self._opened(rows[0])

    def read(self, wanted: Filter) -> Iterator[Recorded | Unreadable]:
        """Yield decisions, the oldest first; those that are written meanwhile as well.

        Raises:
            StoreError: the file cannot be read.
        """
        where, values = _conditions(wanted)
        last = -1
        while rows := self._page(f"{_SELECT} WHERE seq > ?{where} ORDER BY seq LIMIT {_PAGE}", (last, *values)):
            for row in rows:
                if row["seq"] <= last:  # or a damaged tree would be walked in circles
                    raise StoreError("the file is damaged", code="store.corrupt")
                last = row["seq"]
                yield self._opened(row)

    def _page(self, query: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise store_error(error) from error
        except UnicodeError as error:  # of a message about a damaged schema, which repeats it
            raise StoreError("the file is damaged", code="store.corrupt") from error

    def _opened(self, stored: sqlite3.Row) -> Recorded | Unreadable:
        try:
            return self._open(stored)
        except StoreError as error:
            why = error.message
        except (TypeError, ValueError):  # a column of a damaged row is of another type
            why = "its row is damaged"
        return Unreadable(id=str(stored["id"]), at=str(stored["at"]), entrypoint=str(stored["entrypoint"]), why=why)

    def _open(self, stored: sqlite3.Row) -> Recorded:
        if stored["sealed"] is None:
            raise StoreError("its document is gone", code="decisions.unreadable")
        row = Row(
            id=stored["id"],
            at=stored["at"],
            day=stored["day"],
            entrypoint=stored["entrypoint"],
            subject=stored["subject"],
            mission_id=stored["mission_id"],
            bundle=stored["bundle"],
            allow=bool(stored["allow"]),
            codes=stored["codes"],
            document=stored["digest"],
        )
        answer = self._keys.open(row.day, stored["answer"], row.place)
        document = unpack(self._keys.open(stored["document_day"], stored["sealed"], document_place(row.document)))
        plain = "sha256:" + hashlib.sha256(document).hexdigest()
        if row.document not in {self._keys.digest(document), plain}:  # plain: of a release before
            raise StoreError("its document is another", code="decisions.unreadable")
        entrypoint = _entrypoint(row.entrypoint)
        decision = parse_decision(answer, bundle=row.bundle, entrypoint=entrypoint)
        codes = encoded([reason.code for reason in decision.reasons]).decode()
        if (decision.allow, codes) != (row.allow, row.codes):
            raise StoreError("its answer is not of this version", code="decisions.unreadable")
        return Recorded(
            id=row.id,
            at=row.at,
            entrypoint=entrypoint,
            mission_id=row.mission_id or "",
            digest=plain,
            document=document,
            decision=decision,
        )


def _conditions(wanted: Filter) -> tuple[str, tuple[object, ...]]:
    """Return conditions and their values, to follow another one."""
    parts: list[tuple[str, object]] = []
    if wanted.since:
        parts.append((" AND at >= ?", wanted.since))
    if wanted.entrypoint is not None:
        parts.append((" AND entrypoint = ?", wanted.entrypoint))
    if wanted.mission_id:
        parts.append((" AND mission_id = ?", wanted.mission_id))
    if wanted.denied_only:
        parts.append((" AND allow = ?", 0))
    return "".join(part for part, _ in parts), tuple(value for _, value in parts)


def _entrypoint(name: str) -> Entrypoint:
    for known in ENTRYPOINTS:
        if known == name:
            return known
    raise StoreError("it is of no entrypoint of this version", code="decisions.unreadable")
