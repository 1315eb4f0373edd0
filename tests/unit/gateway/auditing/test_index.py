"""The index: built, built on, and built anew where it is not this log's."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from engine.audit.errors import AuditTamperedError
from gateway.auditing import index as index_module
from gateway.auditing.database import INDEX_FILE
from gateway.auditing.facts import facts_of
from gateway.auditing.filters import EventFilter
from gateway.auditing.index import LogIndex
from gateway.auditing.index_reader import IndexReader
from gateway.auditing.segments import SegmentFiles
from gateway.errors import StoreError
from tests.audit_events import admitted, lines_of, put_log, story
from tests.audit_logs import START

LINES = lines_of(story())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in two segments."""
    return put_log(tmp_path / "log", LINES, starts=(6,))


def indexed(directory: Path, stop: int) -> int:
    """Bring the index up to `stop`; return how many events were in it before."""
    with closing(LogIndex.open(directory)) as index:
        before = index.size
        index.catch_up(stop)
        assert index.size == stop
        return before


def seqs(directory: Path, wanted: EventFilter | None = None, *, tenant: str | None = None) -> list[int]:
    """Return what the index finds."""
    with closing(IndexReader.open(directory)) as reader:
        page = reader.page(wanted or EventFilter(), 0, 1_000, 1_000, tenant=tenant)
        lines = SegmentFiles(directory).lines_at(page.places)
        assert [line[: len(b'{"seq":%d,' % p.seq)] for p, line in zip(page.places, lines, strict=True)] == [
            b'{"seq":%d,' % place.seq for place in page.places
        ]
        return [place.seq for place in page.places]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EventFilter(mission_id="m1"), [2, 3, 4, 7, 8, 9, 11, 13]),
        (EventFilter(mission_id="m1", allow=True), [2, 3, 8]),
        (EventFilter(actor="blue/bob"), [5, 6, 10, 11]),
        (EventFilter(event_types=("step.*",)), [3, 4, 6]),
        (EventFilter(event_types=("mission.ended", "audit.*")), [0, 9, 10, 12]),
        (EventFilter(actor="red/ann", event_types=("mission.*",)), [2, 9]),
        (EventFilter(allow=False), [6, 11]),
        (EventFilter(decision_id="d-2"), [6]),
        (EventFilter(since=START + timedelta(seconds=5), until=START + timedelta(seconds=8)), [5, 6, 7]),
        (EventFilter(mission_id="m9"), []),
        (EventFilter(actor="nobody"), []),
        (EventFilter(event_types=("nothing.*",)), []),
    ],
)
def test_filters_find_what_they_say(log: Path, wanted: EventFilter, found: list[int]) -> None:
    """One by one and together."""
    indexed(log, len(LINES))
    assert seqs(log, wanted) == found
    assert [facts.seq for facts in map(facts_of, LINES) if wanted.matches(facts)] == found


def test_a_tenant_sees_its_own(log: Path) -> None:
    """What its people did and what became of its missions; not who of elsewhere asked about them, nor the gateway."""
    indexed(log, len(LINES))
    assert seqs(log, tenant="red") == [2, 3, 4, 7, 8, 9, 12]
    assert seqs(log, tenant="blue") == [5, 6, 10, 11]
    assert seqs(log, tenant="") == []
    assert seqs(log, EventFilter(mission_id="m1"), tenant="blue") == [11]
    assert seqs(log, EventFilter(mission_id="m1"), tenant="red") == [2, 3, 4, 7, 8, 9]
    assert seqs(log, tenant="green") == []


def test_pages_follow_each_other_without_gap_or_repetition(log: Path) -> None:
    """Whatever their size."""
    indexed(log, len(LINES))
    with closing(IndexReader.open(log)) as reader:
        for size in (1, 2, 5):
            found, position = [], 0
            while position < len(LINES):
                page = reader.page(EventFilter(actor="red/ann"), position, len(LINES), size)
                assert len(page.places) <= size
                found += [place.seq for place in page.places]
                assert page.next_seq > position
                position = page.next_seq
            assert found == [2, 3, 4, 7, 9]


def test_it_goes_on_where_it_was(log: Path) -> None:
    """An opening reads no line twice; with more lines it is as if built at once."""
    assert indexed(log, 7) == 0
    assert indexed(log, len(LINES)) == 7
    assert seqs(log) == list(range(len(LINES)))
    assert indexed(log, len(LINES)) == len(LINES)


def test_a_page_says_how_far_it_has_looked(log: Path) -> None:
    """What is not in the index yet is not passed over."""
    indexed(log, 7)
    with closing(IndexReader.open(log)) as reader:
        assert reader.page(EventFilter(mission_id="m9"), 0, len(LINES), 10).next_seq == 7
        assert reader.page(EventFilter(), 7, len(LINES), 10).next_seq == 7


def test_another_logs_index_is_built_anew(log: Path, tmp_path: Path) -> None:
    """Also where the two logs are of one length, and their lines at the same places."""
    other = put_log(tmp_path / "other", lines_of(story(), seed="other"), starts=(6,))
    indexed(other, len(LINES))
    (log / INDEX_FILE).write_bytes((other / INDEX_FILE).read_bytes())
    with closing(IndexReader.open(log)) as reader:
        assert not reader.is_of(SegmentFiles(log))
    assert indexed(log, len(LINES)) == 0
    with closing(IndexReader.open(log)) as reader:
        assert reader.is_of(SegmentFiles(log))
    assert seqs(log) == list(range(len(LINES)))


def test_a_log_that_was_put_back_has_its_index_built_anew(log: Path) -> None:
    """The index would be ahead of it."""
    indexed(log, len(LINES))
    put_log(log, LINES[:5])
    assert indexed(log, 5) == 0
    assert seqs(log) == [0, 1, 2, 3, 4]


def test_a_log_that_goes_on_otherwise_is_noticed_by_its_chain(log: Path) -> None:
    """Also while the index is open."""
    with closing(LogIndex.open(log)) as index:
        index.catch_up(5)
        forked = lines_of(story()[:6], seed="forked")
        put_log(log, [*forked, *lines_of(story()[6:], before=forked)])
        index.take(len(LINES))
        assert index.size == 0
        index.catch_up(len(LINES))
        assert index.size == len(LINES)
    assert seqs(log) == list(range(len(LINES)))


@pytest.mark.parametrize("content", [b"", b"no database at all, and longer than a header " * 40])
def test_a_damaged_file_is_replaced(log: Path, content: bytes) -> None:
    """Nothing is lost with it."""
    (log / INDEX_FILE).write_bytes(content)
    indexed(log, len(LINES))
    assert seqs(log) == list(range(len(LINES)))


def test_an_index_of_another_version_is_replaced(log: Path) -> None:
    """It is not migrated; a reader beside does without."""
    indexed(log, len(LINES))
    with closing(sqlite3.connect(log / INDEX_FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError) as caught:
        IndexReader.open(log)
    assert caught.value.code == "audit.index_missing"
    assert indexed(log, len(LINES)) == 0


def test_what_was_pruned_leaves_the_index(log: Path) -> None:
    """And an index that begins after it begins with what is left."""
    indexed(log, len(LINES))
    put_log(log, LINES, starts=(6,), pruned=6)
    more = [*LINES, *lines_of([admitted("m3")], before=LINES)]
    put_log(log, more, starts=(6,), pruned=6)
    assert indexed(log, len(more)) == len(LINES)
    assert seqs(log) == list(range(6, len(more)))
    assert seqs(log, EventFilter(mission_id="m1")) == [7, 8, 9, 11, 13]
    (log / INDEX_FILE).unlink()
    assert indexed(log, len(more)) == 0
    assert seqs(log) == list(range(6, len(more)))


def test_a_bulk_build_is_as_any_other(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lookups come after its rows, and are there in the end."""
    monkeypatch.setattr(index_module, "BULK_EVENTS", 3)
    indexed(log, len(LINES))
    with closing(sqlite3.connect(log / INDEX_FILE)) as database:
        lookups = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
    assert {"events_type", "events_actor", "events_event", "events_tenant", "events_decision"} <= lookups
    assert seqs(log, EventFilter(mission_id="m1", allow=True)) == [2, 3, 8]


@pytest.mark.parametrize(
    ("wanted", "lookup"),
    [
        (EventFilter(mission_id="m1"), "PRIMARY KEY"),
        (EventFilter(actor="red/ann"), "events_actor"),
        (EventFilter(event_types=("step.ended",)), "events_type"),
        (EventFilter(decision_id="d-1"), "events_decision"),
    ],
)
def test_a_filter_is_looked_up_and_not_scanned_for(log: Path, wanted: EventFilter, lookup: str) -> None:
    """By the most that narrows it, in the order of seq and without sorting."""
    indexed(log, len(LINES))
    plans: list[str] = []
    with closing(IndexReader.open(log)) as reader:

        def explained(statement: str) -> None:
            if statement.startswith("SELECT e.seq"):
                plans.append(statement)

        reader._connection.set_trace_callback(explained)
        reader.page(wanted, 0, len(LINES), 100)
        reader._connection.set_trace_callback(None)
        steps = [row["detail"] for row in reader._connection.execute(f"EXPLAIN QUERY PLAN {plans[0]}")]
    assert any(lookup in step for step in steps), steps
    assert not any("TEMP B-TREE" in step or "SCAN" in step for step in steps), steps


def test_a_line_that_is_no_event_stops_it(log: Path) -> None:
    """The index is not built on what the log cannot hold."""
    path = log / "segments" / f"{6:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"event_type"', b'"event_tipe"', 1))
    with closing(LogIndex.open(log)) as index, pytest.raises(AuditTamperedError):
        index.catch_up(len(LINES))


def test_an_event_is_found_by_its_id(log: Path) -> None:
    """By all of it."""
    indexed(log, len(LINES))
    with closing(IndexReader.open(log)) as reader:
        event_id = LINES[4].split(b'"event_id":"')[1][:32].decode()
        assert [place.seq for place in reader.find(event_id)] == [4]
        assert reader.find("f" * 32) == []
        assert [reader.tenant_of(seq) for seq in (0, 4, 6, 11, 13)] == [None, "red", "blue", "blue", None]


def names_of(directory: Path) -> Iterator[str]:
    return (path.name for path in directory.iterdir())


def test_it_is_for_its_owner_alone(log: Path) -> None:
    """As the log is."""
    indexed(log, len(LINES))
    assert {(log / name).stat().st_mode & 0o777 for name in names_of(log) if name.startswith(INDEX_FILE)} == {0o600}
