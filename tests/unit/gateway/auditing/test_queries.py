"""Queries of a log that grows: pages, following, and an index that lags, fails or begins anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.audit.errors import AuditUnavailableError
from engine.audit.log import AuditLog
from engine.errors import FaultError
from gateway.auditing import follower as follower_module
from gateway.auditing import index as index_module
from gateway.auditing.database import INDEX_FILE
from gateway.auditing.filters import EventFilter
from gateway.auditing.follower import IndexFollower
from gateway.auditing.index import LogIndex
from gateway.auditing.queries import PAGE_EVENTS, EventQueries, Query
from gateway.errors import LogPrunedError, StoreError
from tests.audit_events import lines_of, put_log, story
from tests.audit_logs import open_log

LINES = lines_of(story())
STEPS = EventFilter(event_types=("step.completed",))


@dataclass
class FolderLog:
    """A log of files that nobody writes."""

    directory: Path
    size: int
    first: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def covered(self, size: int) -> "FolderLog":
        if size >= self.size:
            await self.dead.wait()
            raise AuditUnavailableError("the audit log is closed")
        return self


@asynccontextmanager
async def following(directory: Path, log: AuditLog | FolderLog, **options: float) -> AsyncIterator[EventQueries]:
    """Keep an index and answer queries for the time of the block."""
    follower = IndexFollower(directory, log, **options)
    task = asyncio.create_task(follower.run())
    try:
        yield EventQueries(directory, log, follower)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def seqs(queries: EventQueries, query: Query) -> list[int]:
    """Return what is found."""
    return [seq async for found in queries.find(query) for seq, _ in found.events]


def append(log: AuditLog, count: int) -> int:
    """Append steps of two people by turns; return the last seq."""
    last = 0
    for number in range(count):
        last = log.append("step.completed", actor=f"red/{'ab'[number % 2]}", target="m/s", details={"n": number})
    return last


async def test_followed_events_come_once_each_and_in_order(tmp_path: Path) -> None:
    """Those from before and those that are recorded while it follows; caught up is said once, in between."""
    log = open_log(tmp_path)
    await log.durable(append(log, 700))
    seen: list[int] = []
    caught_up = 0
    async with following(tmp_path, log) as queries:

        async def read() -> None:
            nonlocal caught_up
            async for found in queries.find(Query(wanted=STEPS, follow=True, limit=1_500)):
                caught_up += found.caught_up
                seen.extend(seq for seq, _ in found.events)
                assert not found.events or found.next_seq == found.events[-1][0] + 1 or len(found.events) < PAGE_EVENTS

        reading = asyncio.create_task(read())
        for _ in range(8):
            await log.durable(append(log, 100))
        await reading
    await log.close()
    assert seen == list(range(1, 1_501))
    assert caught_up == 1


async def test_a_query_that_is_resumed_anywhere_misses_and_repeats_nothing(tmp_path: Path) -> None:
    """By the seq that a page ends with, also where the page is empty."""
    log = open_log(tmp_path)
    await log.durable(append(log, 600))
    wanted = EventFilter(actor="red/a")
    async with following(tmp_path, log) as queries:
        whole = await seqs(queries, Query(wanted=wanted))
        resumed: list[int] = []
        after: int | None = None
        for _ in range(20):
            async for found in queries.find(Query(wanted=wanted, after=after)):
                resumed += [seq for seq, _ in found.events]
                after = found.next_seq - 1
                break  # the stream breaks after each page
        assert resumed == whole == [seq for seq in range(1, 601) if seq % 2]
    await log.close()


async def test_bounds_and_tenants_are_kept(tmp_path: Path) -> None:
    """`limit` counts what is found, `after` and `stop` bound what is looked at, `tenant` narrows all of it."""
    log = FolderLog(put_log(tmp_path, LINES), len(LINES))
    async with following(tmp_path, log) as queries:
        assert await seqs(queries, Query(wanted=EventFilter(), limit=3)) == [0, 1, 2]
        assert await seqs(queries, Query(wanted=EventFilter(), after=10)) == [11, 12, 13]
        assert await seqs(queries, Query(wanted=EventFilter(), after=len(LINES) + 5)) == []
        assert await seqs(queries, Query(wanted=EventFilter(), stop=2)) == [0, 1]
        assert await seqs(queries, Query(wanted=EventFilter(), tenant="blue")) == [5, 6, 10, 11]
        assert await queries.place_of(LINES[4].split(b'"event_id":"')[1][:32].decode()) == 4
        assert await queries.place_of("0" * 32) is None
        assert await queries.tenant_of(6) == "blue"


async def test_what_was_pruned_is_told_with_the_first_that_is_left(tmp_path: Path) -> None:
    """Only to who asks for it: without a place to begin, a query begins with what there is."""
    log = FolderLog(put_log(tmp_path, LINES, starts=(6,), pruned=6), len(LINES), first=6)
    async with following(tmp_path, log) as queries:
        assert await seqs(queries, Query(wanted=EventFilter())) == list(range(6, len(LINES)))
        assert await seqs(queries, Query(wanted=EventFilter(), after=5)) == list(range(6, len(LINES)))
        with pytest.raises(LogPrunedError) as caught:
            await seqs(queries, Query(wanted=EventFilter(), after=4))
        assert (caught.value.code, caught.value.first_seq) == ("audit.pruned", 6)


async def test_a_query_reads_on_while_the_index_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the next rows, not for all of them."""
    monkeypatch.setattr(index_module, "BATCH_EVENTS", 3)
    monkeypatch.setattr(index_module.LogIndex.take, "__defaults__", (3,))
    monkeypatch.setattr(follower_module, "BULK_EVENTS", 2)
    log = FolderLog(put_log(tmp_path, LINES), len(LINES))
    async with following(tmp_path, log) as queries:
        assert await seqs(queries, Query(wanted=EventFilter())) == list(range(len(LINES)))


async def test_an_index_that_cannot_be_had_is_a_fault_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks meanwhile is told no; nothing is left out instead."""
    failing = True
    real = LogIndex.open

    def open_index(directory: Path) -> LogIndex:
        if failing:
            raise StoreError("the disk is full", code="store.full")
        return real(directory)

    monkeypatch.setattr(LogIndex, "open", open_index)
    log = FolderLog(put_log(tmp_path, LINES), len(LINES))
    async with following(tmp_path, log, retry_seconds=0.01) as queries:
        with pytest.raises(FaultError) as caught:
            await seqs(queries, Query(wanted=EventFilter()))
        assert caught.value.code == "audit.index_unavailable"
        failing = False
        found: list[int] = []
        while not found:
            try:
                found = await seqs(queries, Query(wanted=EventFilter()))
            except FaultError:
                await asyncio.sleep(0.01)
        assert found == list(range(len(LINES)))


async def test_an_index_that_is_begun_anew_leaves_no_gap_in_a_query(tmp_path: Path) -> None:
    """A query under way waits for the new one, and goes on where it was."""
    log = FolderLog(put_log(tmp_path, LINES), len(LINES))
    async with following(tmp_path, log) as queries:
        found = queries.find(Query(wanted=EventFilter(), limit=len(LINES)))
        first = await anext(found)
        index = queries._follower._index
        assert index is not None
        await queries._follower._do(index.empty)
        queries._follower._tell(index.size)
        await queries._follower._do(lambda: index.catch_up(len(LINES)))
        queries._follower._tell(index.size)
        rest = [seq async for page in found for seq, _ in page.events]
        assert [seq for seq, _ in first.events] + rest == list(range(len(LINES)))


async def test_a_log_that_ends_ends_who_follows(tmp_path: Path) -> None:
    """With the log's own error, and the index is closed."""
    log = FolderLog(put_log(tmp_path, LINES), len(LINES))
    async with following(tmp_path, log) as queries:
        found = queries.find(Query(wanted=EventFilter(), follow=True))
        seen = [seq for seq, _ in (await anext(found)).events]
        assert (await anext(found)).caught_up
        log.dead.set()
        with pytest.raises(AuditUnavailableError):
            await anext(found)
    assert seen == list(range(len(LINES)))
    assert (tmp_path / INDEX_FILE).is_file()
