"""Queries of an open log: pages of its index and, with follow, what is signed from then on; no gap, no repetition."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from engine.audit.errors import AuditPrunedError
from gateway.auditing.filters import EventFilter
from gateway.auditing.follower import FollowedLog, IndexFollower
from gateway.auditing.index_reader import IndexReader
from gateway.auditing.segments import SegmentFiles
from gateway.errors import LogPrunedError

PAGE_EVENTS: Final = 256


class QueriedLog(FollowedLog, Protocol):
    """What queries need of a log; `engine.audit.log.AuditLog` is one."""

    @property
    def size(self) -> int:
        """Number of events that the newest signed checkpoint covers."""

    @property
    def first(self) -> int:
        """Seq of the oldest line that is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked of a log."""

    wanted: EventFilter
    tenant: str | None = None  # only events of this one; None: of all, and the gateway's own
    after: int | None = None  # only events after this seq
    limit: int = 0  # at most so many; 0 is all
    follow: bool = False
    stop: int | None = None  # only events before this seq


@dataclass(frozen=True, slots=True)
class Found:
    """Some events that match, perhaps none."""

    events: tuple[tuple[int, bytes], ...]  # seq and line, without LF
    next_seq: int  # all before it has been looked at
    caught_up: bool = False  # set once: what was signed when the query began has been looked at


class EventQueries:
    """Answers queries of the log in one folder, whose index a follower keeps."""

    def __init__(self, directory: Path, log: QueriedLog, follower: IndexFollower) -> None:
        self._directory = directory
        self._log = log
        self._follower = follower

    async def find(self, query: Query) -> AsyncGenerator[Found, None]:
        """Yield what matches, in the order of seq. Every line is one that a signed checkpoint covers.

        Raises:
            LogPrunedError: the event after `query.after` was pruned, or one was while it was to be read.
            FaultError: index or log cannot be read now.
        """
        position = self._log.first if query.after is None else query.after + 1
        if position < self._log.first:
            raise LogPrunedError(self._log.first)
        reading = _Reading(self._directory, self._follower)
        stop, left, caught_up = self._log.size, query.limit, False
        if query.stop is not None:
            stop = min(stop, query.stop)
        try:
            while True:
                if position >= stop and not caught_up:
                    caught_up = True
                    yield Found((), position, caught_up=True)
                if position >= stop:
                    if not query.follow:
                        return
                    stop = (await self._log.covered(position)).size
                await self._follower.beyond(position)
                found = await reading.page(query, position, stop, min(left or PAGE_EVENTS, PAGE_EVENTS))
                position = found.next_seq
                if found.events:
                    yield found
                if query.limit:
                    left -= len(found.events)
                    if left == 0:
                        return
        except AuditPrunedError as error:
            raise LogPrunedError(self._log.first) from error
        finally:
            await reading.close()

    async def place_of(self, event_id: str) -> int | None:
        """Return the seq of the event with an id; None where no event that is still here has it.

        Raises:
            FaultError: as `find`.
        """
        if self._log.size:
            await self._follower.beyond(self._log.size - 1)

        def look() -> int | None:
            reader = IndexReader.open(self._directory)
            try:
                files = SegmentFiles(self._directory)
                for place in reader.find(event_id):
                    (line,) = files.lines_at([place])
                    if f'"event_id":"{event_id}"'.encode() in line[:80]:
                        return place.seq
                return None
            finally:
                reader.close()

        return await asyncio.to_thread(look)

    async def tenant_of(self, seq: int) -> str | None:
        """Return whose an event is; None where it is the gateway's own, or of several tenants.

        Raises:
            FaultError: as `find`.
        """
        await self._follower.beyond(seq)

        def look() -> str | None:
            reader = IndexReader.open(self._directory)
            try:
                return reader.tenant_of(seq)
            finally:
                reader.close()

        return await asyncio.to_thread(look)


class _Reading:
    """One query's own connection to the index, opened anew where the index is."""

    def __init__(self, directory: Path, follower: IndexFollower) -> None:
        self._directory = directory
        self._follower = follower
        self._files = SegmentFiles(directory)
        self._reader: IndexReader | None = None
        self._opened = -1

    async def page(self, query: Query, start: int, stop: int, events_max: int) -> Found:
        """Return one page."""
        opened = self._follower.opened
        return await asyncio.to_thread(self._page, opened, query, start, stop, events_max)

    async def close(self) -> None:
        """Let the index go."""
        if self._reader is not None:
            await asyncio.to_thread(self._reader.close)

    def _page(self, opened: int, query: Query, start: int, stop: int, events_max: int) -> Found:
        if self._reader is None or opened != self._opened:
            if self._reader is not None:
                self._reader.close()
            self._reader, self._opened = IndexReader.open(self._directory), opened
        page = self._reader.page(query.wanted, start, stop, events_max, tenant=query.tenant)
        lines = self._files.lines_at(page.places)
        events = tuple((place.seq, line) for place, line in zip(page.places, lines, strict=True))
        return Found(events, page.next_seq)
