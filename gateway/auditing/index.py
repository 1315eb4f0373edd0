"""The index of a log: written in batches from the lines of the segments, never by whoever writes those.

It knows up to which event it was built, and that event's hash, which by the chain stands for all before it. Where the
log has another event there, the index is another log's, or of a log that was put back: it is emptied and built anew.
"""

import calendar
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final, Self

from engine.audit.errors import AuditTamperedError
from gateway.auditing.database import INDEX_FILE, make_lookups, open_writer, reset
from gateway.auditing.facts import PLACES_MISSION, Facts, facts_of
from gateway.auditing.segments import Place, SegmentFiles, hash_of, previous_hash_of
from gateway.errors import StoreError
from gateway.store.failures import store_error

BATCH_EVENTS: Final = 5_000  # in one transaction
NAMES_KEPT_MAX: Final = 65_536  # in memory, of each kind
BULK_EVENTS: Final = 50_000  # from so many on, an empty index gets its lookups after its rows
_EVENT_BITS: Final = 16  # hex digits
_INSERT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_Row = tuple[int, int, int, int, int, str, int, int | None, int | None, int | None, str | None]


class _ForeignError(Exception):
    """The index is not of this log."""


def _require_ours(condition: bool) -> None:
    if not condition:
        raise _ForeignError


class LogIndex:
    """The index of the log in one folder, open for writing. Used by one thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Use `open`."""
        self._path = directory / INDEX_FILE
        self._files = SegmentFiles(directory)
        self._connection = open_writer(self._path)
        self._types = _Names(self._connection, "types")
        self._names = _Names(self._connection, "names")
        self._tenants: dict[int, int | None] = {}  # of missions
        self.size = 0  # events before this one are in it
        self._hash = b""
        self._offset = 0

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the index of the log in `directory`, or begin one; what is there is used as far as it is this log's.

        Raises:
            StoreError: it cannot be written.
        """
        index = cls(directory)
        try:
            index._load()
            if not index._is_of_this_log():
                index.empty()
        except BaseException:
            index.close()
            raise
        return index

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def empty(self) -> None:
        """Begin anew.

        Raises:
            StoreError: SQLite fails.
        """
        try:
            reset(self._connection)
        except sqlite3.Error as error:
            raise store_error(error) from error
        self._load()

    def take(self, stop: int, events_max: int = BATCH_EVENTS) -> None:
        """Index the next lines, at most `events_max` of them and none from seq `stop` on, in one transaction.

        An index that turns out to be another log's is emptied, and takes none: the next call begins anew.

        Raises:
            StoreError: SQLite fails, or the folder cannot be read.
            AuditTamperedError: the log has fewer lines, or one that is no event.
        """
        try:
            self._skip_pruned()
            if self.size < stop:
                self._take(stop, events_max)
        except _ForeignError:
            self.empty()
        except sqlite3.Error as error:
            self._forget()
            raise store_error(error) from error
        except OSError as error:
            raise StoreError(f"the log cannot be read: {error.strerror}") from error

    def catch_up(self, stop: int) -> None:
        """Index all lines before seq `stop`. Many of them go into an empty index faster than into one in use.

        Raises:
            StoreError, AuditTamperedError: as `take`.
        """
        bulk = self.size == 0 and stop > BULK_EVENTS
        if not bulk:
            self.make_lookups()
        while self.size < stop:
            self.take(stop)
        self.make_lookups()

    def make_lookups(self) -> None:
        """Make what finds rows by value, unless it is there.

        Raises:
            StoreError: SQLite fails.
        """
        try:
            make_lookups(self._connection)
        except sqlite3.Error as error:
            raise store_error(error) from error

    def _load(self) -> None:
        try:
            row = self._connection.execute("SELECT size, hash, next_offset FROM state").fetchone()
        except sqlite3.Error as error:
            raise store_error(error) from error
        self.size, self._hash, self._offset = row["size"], row["hash"], row["next_offset"]
        self._forget()

    def _forget(self) -> None:
        """Trust nothing that is only in memory: what it refers to may not have been written."""
        self._types.forget()
        self._names.forget()
        self._tenants.clear()

    def _is_of_this_log(self) -> bool:
        if self.size == 0:
            return True
        try:
            row = self._connection.execute("SELECT place FROM events WHERE seq = ?", (self.size - 1,)).fetchone()
        except sqlite3.Error as error:
            raise store_error(error) from error
        return row is not None and self._files.has(Place(self.size - 1, row["place"]), self._hash)

    def _skip_pruned(self) -> None:
        """Drop what was pruned; an index that was to begin with it begins with what is left."""
        first = self._files.first()
        oldest = self._connection.execute("SELECT min(seq) FROM events").fetchone()[0]
        if oldest is not None and oldest < first:
            with self._connection:
                self._connection.execute("DELETE FROM events WHERE seq < ?", (first,))
                self._connection.execute("DELETE FROM about WHERE seq < ?", (first,))
        if self.size < first:
            self.size, self._hash, self._offset = first, b"", 0

    def _take(self, stop: int, events_max: int) -> None:
        rows: list[_Row] = []
        about: list[tuple[int, int]] = []
        hash_, offset = self._hash, self._offset
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for place, line in islice(self._files.lines_from(Place(self.size, self._offset), stop), events_max):
                _require_ours(not hash_ or previous_hash_of(line) == hash_)
                facts = _facts_of(place, line)
                missions = [self._names.id_of(mission) for mission in facts.missions]
                tenant = self._tenant_of(facts, missions)
                rows.append(self._row(place, facts, tenant))
                about += [(mission, place.seq) for mission in missions]
                hash_, offset = hash_of(line), place.offset + len(line) + 1
            size = self.size + len(rows)
            self._connection.executemany(_INSERT, rows)
            self._connection.executemany("INSERT INTO about VALUES (?, ?)", about)
            self._connection.execute("UPDATE state SET size = ?, hash = ?, next_offset = ?", (size, hash_, offset))
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            self._forget()
            raise
        self.size, self._hash, self._offset = size, hash_, offset

    def _row(self, place: Place, facts: Facts, tenant: int | None) -> _Row:
        return (
            place.seq,
            place.offset,
            microseconds(facts.timestamp),
            self._types.id_of(facts.event_type),
            self._names.id_of(facts.actor),
            facts.target,
            event_number(facts.event_id),
            tenant,
            None if facts.allow is None else int(facts.allow),
            None if facts.code is None else self._names.id_of(facts.code),
            facts.decision_id,
        )

    def _tenant_of(self, facts: Facts, missions: Iterable[int]) -> int | None:
        """Return whose an event is: what it says itself, or else the tenant that all of its missions have."""
        if facts.tenant is not None:
            tenant = self._names.id_of(facts.tenant)
            if facts.event_type in PLACES_MISSION:
                for mission in missions:
                    self._connection.execute("INSERT OR REPLACE INTO missions VALUES (?, ?)", (mission, tenant))
                    self._tenants[mission] = tenant
            return tenant
        found = {self._tenant_of_mission(mission) for mission in missions}
        return found.pop() if len(found) == 1 else None

    def _tenant_of_mission(self, mission: int) -> int | None:
        if mission not in self._tenants:
            if len(self._tenants) >= NAMES_KEPT_MAX:
                self._tenants.clear()
            row = self._connection.execute("SELECT tenant FROM missions WHERE id = ?", (mission,)).fetchone()
            self._tenants[mission] = None if row is None else row["tenant"]
        return self._tenants[mission]


class _Names:
    """Texts that stand in many rows, as numbers."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection = connection
        self._find = f"SELECT id FROM {table} WHERE text = ?"  # noqa: S608 - ours
        self._add = f"INSERT INTO {table} (text) VALUES (?)"  # noqa: S608 - ours
        self._known: dict[str, int] = {}

    def id_of(self, text: str) -> int:
        """Return the number of a text; a new one is added."""
        number = self._known.get(text)
        if number is None:
            row = self._connection.execute(self._find, (text,)).fetchone()
            number = row["id"] if row is not None else self._connection.execute(self._add, (text,)).lastrowid
            if len(self._known) >= NAMES_KEPT_MAX:
                self._known.clear()
            self._known[text] = number = int(number or 0)
        return number

    def forget(self) -> None:
        """Ask the file again from now on."""
        self._known.clear()


def microseconds(timestamp: str) -> int:
    """Return the microseconds since 1970 of a line's timestamp; texts and numbers have one order."""
    return _seconds(timestamp[:19]) * 1_000_000 + int(timestamp[20:26])


@lru_cache(maxsize=256)
def _seconds(text: str) -> int:
    """Return the seconds since 1970 of `2026-01-31T12:00:00`: neighbours in a log share it."""
    return calendar.timegm(datetime.fromisoformat(text).timetuple())


def event_number(event_id: str) -> int:
    """Return the first 64 bits of an event's id, as SQLite's integers are: signed."""
    number = int(event_id[:_EVENT_BITS], 16)
    return number - (1 << 64) if number >> 63 else number


def _facts_of(place: Place, line: bytes) -> Facts:
    try:
        facts = facts_of(line)
    except ValueError as error:
        raise AuditTamperedError(f"line {place.seq} of the log is no event") from error
    _require_ours(facts.seq == place.seq)
    return facts
