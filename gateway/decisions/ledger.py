"""What the writer's thread does with decisions: seals them, tells the log, deletes what is old. One call at a time."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.clock import rfc3339
from engine.lru import LruCache
from gateway.decisions.entry import Entry
from gateway.decisions.events import KnownBundles, encoded, log_event, parse_document, result_of
from gateway.decisions.keys import RecordKeys
from gateway.decisions.rows import Asked, Row, document_place, event_place, pack
from gateway.delivery.line_file import LineFile
from gateway.errors import StoreError

OUTBOX_BYTES_MAX: Final = 256 * 1024 * 1024
_RECENT_MAX: Final = 4_096  # documents that are known to be there already

Recording = Literal["all", "denied", "none"]

# Rows of one statement: while SQLite runs it, Python is free, and each statement more is a fight for the interpreter.
_ROWS_AT_ONCE: Final = 64
_DOCUMENTS: Final = ("documents", ("id", "digest", "day", "sealed"))
_DECISIONS: Final = (
    "decisions",
    (
        *("id", "at", "day", "entrypoint", "subject", "mission_id", "bundle", "allow", "codes"),
        *("document_id", "answer"),
    ),
)
_EVENTS: Final = ("outbox", ("id", "day", "subject", "mission_id", "sealed"))

_Values = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """What is kept. `labels` are those of the log's events."""

    record: Recording = "all"
    outbox: bool = False  # whether a collector is to be told
    outbox_bytes_max: int = OUTBOX_BYTES_MAX
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """Decisions that are written together. One whose transaction failed is written again, and told to the file once."""

    entries: Sequence[Entry]
    in_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events that wait for a collector, up to a seq of the outbox; some may be damaged."""

    upto: int
    events: tuple[bytes, ...]
    unreadable: int


class Ledger:
    """Writes batches. It keeps no entry, only what it knows of the file."""

    def __init__(
        self, keys: RecordKeys, bundles: KnownBundles, settings: LedgerSettings, log_file: LineFile | None = None
    ) -> None:
        self._keys = keys
        self._bundles = bundles
        self._settings = settings
        self._log_file = log_file
        self._recent: LruCache[tuple[int, str], int] = LruCache(_RECENT_MAX, _RECENT_MAX)
        self._next_document: int | None = None  # not looked up yet
        self._outbox_bytes: int | None = None  # not counted yet

    def forget(self) -> None:
        """Believe nothing of what was known: a transaction was lost, or rows have gone. No call may be under way."""
        self._recent.clear()
        self._next_document = None
        self._outbox_bytes = None

    def write(self, connection: sqlite3.Connection, batch: Batch) -> int:
        """Write a batch, within a transaction, and return how many events the outbox had no room for.

        Raises:
            sqlite3.Error: nothing was written.
            StoreError: `decisions.log_file`, the log's file does not take it.
        """
        rows = _Rows()
        lines: list[bytes] = []
        dropped = 0
        for entry in batch.entries:
            at = rfc3339(entry.moment)
            asked = Asked.of(entry.document)
            tag = None if asked.subject is None else self._keys.tag(asked.tenant or "", asked.subject)
            if self._is_kept(entry):
                self._keep(connection, rows, entry, at, asked, tag)
            if self._log_file is None and not self._settings.outbox:
                continue
            facts = self._bundles.of(entry.decision.bundle)
            line = log_event(entry, at, parse_document(entry.document), facts, self._settings.labels)
            lines.append(line)
            if self._settings.outbox and not self._post(connection, rows, entry, asked, tag, line):
                dropped += 1
        _insert(connection, _DOCUMENTS, rows.documents)
        _insert(connection, _DECISIONS, rows.decisions)
        _insert(connection, _EVENTS, rows.events)
        if self._log_file is not None and not batch.in_file:
            self._log_file.append(lines)
            batch.in_file = True
        return dropped

    def tag(self, tenant: str, subject: str) -> bytes:
        """Return what stands in rows for a person."""
        return self._keys.tag(tenant, subject)

    def waiting(self, connection: sqlite3.Connection, *, events_max: int, bytes_max: int) -> Page:
        """Return the oldest events of the outbox, at least one where there is one."""
        events: list[bytes] = []
        upto, size, unreadable = 0, 0, 0
        for row in connection.execute("SELECT seq, id, day, sealed FROM outbox ORDER BY seq LIMIT ?", (events_max,)):
            if size and size + len(row["sealed"]) > bytes_max:
                break
            try:
                events.append(self._keys.open(row["day"], row["sealed"], event_place(row["id"])))
            except StoreError:
                unreadable += 1
            upto, size = row["seq"], size + len(row["sealed"])
        return Page(upto=upto, events=tuple(events), unreadable=unreadable)

    def delivered(self, connection: sqlite3.Connection, upto: int) -> None:
        """Delete events that a collector has taken: those up to a seq."""
        of_them = "SELECT ifnull(sum(length(sealed)), 0) FROM outbox WHERE seq <= ?"
        (freed,) = connection.execute(of_them, (upto,)).fetchone()
        connection.execute("DELETE FROM outbox WHERE seq <= ?", (upto,))
        if self._outbox_bytes is not None:
            self._outbox_bytes -= freed

    def _is_kept(self, entry: Entry) -> bool:
        return self._settings.record == "all" or (self._settings.record == "denied" and not entry.decision.allow)

    def _keep(
        self,
        connection: sqlite3.Connection,
        rows: "_Rows",
        entry: Entry,
        at: str,
        asked: Asked,
        tag: bytes | None,
    ) -> None:
        decision = entry.decision
        row = Row(
            id=entry.id,
            at=at,
            day=entry.day,
            entrypoint=entry.entrypoint,
            subject=tag,
            mission_id=asked.mission_id,
            bundle=decision.bundle,
            allow=decision.allow,
            codes=encoded([reason.code for reason in decision.reasons]).decode(),
            document=self._keys.digest(entry.document),
        )
        document_id = self._document(connection, rows, row, entry.document)
        answer = self._keys.seal(row.day, encoded(result_of(decision)), row.place)
        values = (row.id, at, row.day, row.entrypoint, tag, row.mission_id, row.bundle, row.allow, row.codes)
        rows.decisions.append((*values, document_id, answer))

    def _document(self, connection: sqlite3.Connection, rows: "_Rows", row: Row, document: bytes) -> int:
        """Return the row of a document: of the one that was asked a moment ago, or a new one."""
        known = self._recent.get((row.day, row.document))
        if known is not None:
            return known
        if self._next_document is None:
            (last,) = connection.execute("SELECT ifnull(max(id), 0) FROM documents").fetchone()
            self._next_document = int(last) + 1
        number, self._next_document = self._next_document, self._next_document + 1
        sealed = self._keys.seal(row.day, pack(document), document_place(row.document))
        rows.documents.append((number, row.document, row.day, sealed))
        self._recent.put((row.day, row.document), number, 1)
        return number

    def _post(
        self,
        connection: sqlite3.Connection,
        rows: "_Rows",
        entry: Entry,
        asked: Asked,
        tag: bytes | None,
        line: bytes,
    ) -> bool:
        """Put an event where the shipper finds it; return whether there was room."""
        if self._outbox_bytes is None:
            (self._outbox_bytes,) = connection.execute("SELECT ifnull(sum(length(sealed)), 0) FROM outbox").fetchone()
        sealed = self._keys.seal(entry.day, line, event_place(entry.id))
        if self._outbox_bytes + len(sealed) > self._settings.outbox_bytes_max:
            return False
        rows.events.append((entry.id, entry.day, tag, asked.mission_id, sealed))
        self._outbox_bytes += len(sealed)
        return True


@dataclass(slots=True)
class _Rows:
    """What one batch puts into the tables."""

    documents: list[_Values] = field(default_factory=list)
    decisions: list[_Values] = field(default_factory=list)
    events: list[_Values] = field(default_factory=list)


def _insert(connection: sqlite3.Connection, table: tuple[str, tuple[str, ...]], rows: Sequence[_Values]) -> None:
    """Insert rows, many with one statement."""
    name, columns = table
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[begin : begin + _ROWS_AT_ONCE]
        row = f"({', '.join('?' * len(columns))})"
        statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES {', '.join([row] * len(some))}"  # noqa: S608 - ours
        connection.execute(statement, [value for values in some for value in values])
