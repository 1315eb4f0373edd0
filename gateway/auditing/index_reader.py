"""Questions to an index: which events match, a page at a time, in the order of seq."""

import heapq
import sqlite3
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self

from gateway.auditing.database import INDEX_FILE, open_reader
from gateway.auditing.filters import EventFilter, timestamp_text
from gateway.auditing.index import event_number, microseconds
from gateway.auditing.segments import Place, SegmentFiles
from gateway.errors import StoreError
from gateway.store.failures import store_error

RANGE_EVENTS: Final = 250_000  # looked through for one page at most, so that a page takes a bounded time


@dataclass(frozen=True, slots=True)
class Page:
    """Places of events that match, and the seq before which all has been looked at."""

    places: tuple[Place, ...]
    next_seq: int


@dataclass(frozen=True, slots=True)
class _Source:
    """Where rows come from in the order of seq: a condition that an index answers."""

    tables: str
    condition: str
    key: str
    values: tuple[int | str, ...] = ()


class IndexReader:
    """An index, open for reading beside its writer. Used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open`."""
        self._connection = connection

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the index of the log in `directory`.

        Raises:
            StoreError: there is none.
        """
        return cls(open_reader(directory / INDEX_FILE))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def state(self) -> tuple[int, bytes]:
        """Return how many events are in it, and the hash of the last one.

        Raises:
            StoreError: SQLite fails.
        """
        row = self._one("SELECT size, hash FROM state")
        if row is None:
            raise StoreError("the index is being made anew", code="audit.index_missing")
        return row["size"], row["hash"]

    def is_of(self, files: SegmentFiles) -> bool:
        """Return whether it was built from these segments.

        Raises:
            StoreError: SQLite fails, or a file cannot be read.
        """
        size, hash_ = self.state()
        place = self.place_of(size - 1)
        return place is not None and files.has(place, hash_)

    def page(self, wanted: EventFilter, start: int, stop: int, events_max: int, *, tenant: str | None = None) -> Page:
        """Return the first events from seq `start` to `stop` - 1 that match; with `tenant`, only that tenant's.

        What is not in the index yet has not been looked at: `next_seq` says so.

        Raises:
            StoreError: SQLite fails.
        """
        try:
            self._connection.execute("BEGIN")
            try:
                return self._page(wanted, start, stop, events_max, tenant)
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise store_error(error) from error

    def find(self, event_id: str) -> list[Place]:
        """Return the places of events whose id begins as this one does: hardly ever more than one.

        Raises:
            StoreError: SQLite fails.
        """
        try:
            rows = self._connection.execute(
                "SELECT seq, place FROM events WHERE event = ? LIMIT 8", (event_number(event_id),)
            ).fetchall()
        except sqlite3.Error as error:
            raise store_error(error) from error
        return [Place(row["seq"], row["place"]) for row in rows]

    def place_of(self, seq: int) -> Place | None:
        """Return the place of an event.

        Raises:
            StoreError: SQLite fails.
        """
        row = self._one("SELECT place FROM events WHERE seq = ?", seq)
        return None if row is None else Place(seq, row["place"])

    def tenant_of(self, seq: int) -> str | None:
        """Return whose an event is; None where it is nobody's, of several, or not in the index.

        Raises:
            StoreError: SQLite fails.
        """
        row = self._one("SELECT text FROM events JOIN names ON names.id = events.tenant WHERE seq = ?", seq)
        return None if row is None else row["text"]

    def _page(self, wanted: EventFilter, start: int, stop: int, events_max: int, tenant: str | None) -> Page:
        size = self._connection.execute("SELECT size FROM state").fetchone()["size"]
        stop = max(start, min(stop, start + RANGE_EVENTS, size))
        begin, end = self._range_of(wanted, start, stop)
        conditions = self._conditions(wanted, tenant)
        if conditions is None or begin >= end:
            return Page((), stop)
        sources, rest = conditions
        also = "".join(f" AND {condition}" for condition, _ in rest)
        values = [value for _, value in rest]
        found = [
            self._connection.execute(
                f"SELECT e.seq, e.place FROM {each.tables} WHERE {each.condition}{also} "  # noqa: S608 - ours
                f"AND {each.key} >= ? AND {each.key} < ? ORDER BY {each.key}",
                (*each.values, *values, begin, end),
            )
            for each in sources
        ]
        rows = list(islice(heapq.merge(*found, key=_seq_of), events_max))
        for cursor in found:
            cursor.close()
        places = tuple(Place(row["seq"], row["place"]) for row in rows)
        return Page(places, places[-1].seq + 1 if len(places) == events_max else stop)

    def _conditions(
        self, wanted: EventFilter, tenant: str | None
    ) -> tuple[list[_Source], list[tuple[str, int | str]]] | None:
        """Return where rows are taken from, and what else holds of them; None where no event can match.

        What narrows most is the source; `+` keeps the other conditions from being looked up instead.
        """
        columns: dict[str, int | str] = {}
        if wanted.decision_id:
            columns["decision"] = wanted.decision_id
        for column, text in (("actor", wanted.actor or None), ("tenant", tenant)):
            if text is not None:  # "" is a tenant that has no events, and not every tenant
                number = self._number(text)
                if number is None:
                    return None
                columns[column] = number
        types = self._types(wanted)
        sources: list[_Source] = []
        if wanted.mission_id:
            mission = self._number(wanted.mission_id)
            if mission is None:
                return None
            sources = [_Source("about a CROSS JOIN events e ON e.seq = a.seq", "a.mission = ?", "a.seq", (mission,))]
        elif (column := next((name for name in ("decision", "actor") if name in columns), "")) != "":
            sources = [_by(column, columns.pop(column))]
        elif types is not None:
            sources, types = [_by("type", number) for number in types], None
        elif "tenant" in columns:
            sources = [_by("tenant", columns.pop("tenant"))]
        else:
            sources = [_Source("events e", "1", "e.seq")]
        rest = [(f"+e.{name} = ?", value) for name, value in columns.items()]
        if wanted.allow is not None:
            rest.append(("+e.allow = ?", int(wanted.allow)))
        if types is not None:
            numbers = ", ".join(map(str, types)) or "NULL"
            sources = [_Source(s.tables, f"{s.condition} AND +e.type IN ({numbers})", s.key, s.values) for s in sources]
        return sources, rest

    def _types(self, wanted: EventFilter) -> list[int] | None:
        """Return the numbers of the types that match; None where every type does."""
        if not wanted.event_types:
            return None
        rows = self._connection.execute("SELECT id, text FROM types").fetchall()
        return [row["id"] for row in rows if wanted.takes_type(row["text"])]

    def _number(self, text: str) -> int | None:
        row = self._connection.execute("SELECT id FROM names WHERE text = ?", (text,)).fetchone()
        return None if row is None else row["id"]

    def _range_of(self, wanted: EventFilter, start: int, stop: int) -> tuple[int, int]:
        """Return the part of a range in which times may match: they grow with seq, so it is found by halving."""
        if wanted.since is not None:
            start = self._first_at(microseconds(timestamp_text(wanted.since)), start, stop)
        if wanted.until is not None:
            stop = self._first_at(microseconds(timestamp_text(wanted.until)), start, stop)
        return start, stop

    def _first_at(self, at: int, start: int, stop: int) -> int:
        """Return the first seq of a range that is not before a time; `stop` where there is none."""
        while start < stop:
            middle = (start + stop) // 2
            row = self._connection.execute(
                "SELECT seq, at FROM events WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)
            ).fetchone()
            if row is None or row["seq"] >= stop or row["at"] >= at:
                stop = middle
            else:
                start = row["seq"] + 1
        return start

    def _one(self, query: str, *values: int) -> sqlite3.Row | None:
        try:
            row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise store_error(error) from error
        return row


def _by(column: str, value: int | str) -> _Source:
    return _Source("events e", f"e.{column} = ?", "e.seq", (value,))


def _seq_of(row: sqlite3.Row) -> int:
    return int(row["seq"])
