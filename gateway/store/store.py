"""The store: what is asked of it, and in which order it answers.

The order that survives a crash is *payload before event, event before acknowledgement*: the mission and its document
are committed here, then the audit log has the event under a signed checkpoint, then the client hears of it. So a
mission whose event is missing was never acknowledged, and an event never points to a payload that is not there.
Calls of one caller are committed in the order in which they were made, also when they are not awaited in between.
"""

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from engine.clock import Clock
from engine.result import MissionResult, MissionState, StepResult
from gateway.errors import StoreError
from gateway.store import interruption, queries, writes
from gateway.store.opening import lock, open_reader, open_writer
from gateway.store.paging import PAGE_SIZE_MAX, mission_before
from gateway.store.reader import Reader
from gateway.store.records import Creation, MissionPage, MissionRecord, NewMission, StoredEvent, step_row
from gateway.store.writer import GroupCommitWriter

EVENT_BYTES_MAX: Final = 64 * 1024
EVENTS_PAGE_MAX: Final = 1_000
STEP_RESULTS_PAGE_MAX: Final = 10_000


class Store:
    """One gateway's missions. Every method may raise StoreError; what was not committed was not done."""

    def __init__(self, writer: GroupCommitWriter, reader: Reader, lock_descriptor: int, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._lock_descriptor = lock_descriptor
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> "Store":
        """Open the file at `path`, made if missing, and keep it locked.

        Raises:
            StoreError: another gateway has it (`store.locked`), it is damaged (`store.corrupt`), newer
                (`store.schema_newer`), another program's (`store.foreign`), or the file system refuses.
        """
        descriptor = lock(path)
        try:
            writing = open_writer(path)
            try:
                reading = open_reader(path)
            except StoreError:
                writing.close()
                raise
        except StoreError:
            os.close(descriptor)
            raise
        return cls(GroupCommitWriter(writing), Reader(reading), descriptor, clock)

    async def close(self) -> None:
        """Commit what was asked for, and release the file."""
        self._reader.stop()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._reader.close)
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    async def create_mission(self, mission: NewMission) -> Creation:
        """Record a mission, or return the one that an equal request with this request id had made.

        Raises:
            ConflictError: `mission.request_id_reused`, the earlier request with this id was another one.
        """
        now = self._now()
        return await self._writer.submit(lambda c: writes.create_mission(c, mission, now))

    async def mark_executing(self, mission_id: str) -> None:
        """Record that a Validated mission has begun.

        Raises:
            ConflictError: `mission.state`, it is not Validated.
        """
        now = self._now()
        await self._writer.submit(lambda c: writes.mark_executing(c, mission_id, now))

    async def save_step_results(self, mission_id: str, results: Sequence[StepResult]) -> None:
        """Record final results of steps; a step has one result, a second is `store.constraint`."""
        rows = [step_row(mission_id, result) for result in results]
        await self._writer.submit(lambda c: writes.save_step_results(c, rows))

    async def append_events(self, mission_id: str, first_index: int, bodies: Sequence[bytes]) -> None:
        """Record a mission's next events; `first_index` is the number of events before.

        Raises:
            StoreError: `store.event_gap`, it is not; `store.too_large`, a body has over EVENT_BYTES_MAX bytes.
        """
        if any(len(body) > EVENT_BYTES_MAX for body in bodies):
            raise StoreError(f"an event has at most {EVENT_BYTES_MAX} bytes", code="store.too_large")
        rows = [(mission_id, index, body) for index, body in enumerate(bodies, start=first_index)]
        await self._writer.submit(lambda c: writes.append_events(c, mission_id, first_index, rows))

    async def finish_mission(
        self, result: MissionResult, *, step_results: Sequence[StepResult] = (), audit_summary: bytes | None = None
    ) -> None:
        """Record the end of a mission together with results that were not saved before, all or nothing.

        Raises:
            ConflictError: `mission.state`, it has ended before, or is not there.
        """
        rows = [step_row(result.mission_id, step) for step in step_results]
        await self._writer.submit(lambda c: writes.finish_mission(c, result, rows, audit_summary))

    async def interrupt_unfinished(self) -> tuple[str, ...]:
        """Fail every mission that had not ended, with code `interrupted`, and return their ids, oldest first.

        Every step without a result gets one with that code: Failed if it had begun, else Skipped. Counts, durations
        (up to now) and events follow, each mission in one transaction. The audit summary has `integrity_verified`
        true and no `events_logged`: the store does not know how many events of the mission the log holds.

        For the start of a gateway, before it serves, when whoever executed these is gone and the log has the
        interruption of each under a signed checkpoint.
        """
        now = self._now()
        ended: list[str] = []
        while some := await self._writer.submit(lambda c: interruption.interrupt_some(c, now)):
            ended += some
        return tuple(ended)

    async def find_request(self, tenant: str, submitter: str, request_id: str) -> MissionRecord | None:
        """Return the mission that an earlier request with this id had made; `create_mission` alone decides a race."""
        return await self._reader.run(lambda c: queries.find_request(c, tenant, submitter, request_id))

    async def get_mission(self, mission_id: str) -> MissionRecord:
        """Return one mission.

        Raises:
            NotFoundError: there is none. Whether a principal may see it is the caller's question.
        """
        return await self._reader.run(lambda c: queries.get_mission(c, mission_id))

    async def get_document(self, mission_id: str) -> bytes:
        """Return the mission's document, canonical JSON.

        Raises:
            NotFoundError: there is no such mission.
        """
        return await self._reader.run(lambda c: queries.get_document(c, mission_id))

    async def step_results(
        self, mission_id: str, *, offset: int = 0, limit: int = STEP_RESULTS_PAGE_MAX
    ) -> tuple[StepResult, ...]:
        """Return saved results in the order in which they were saved; none for an unknown mission."""
        count = _within(limit, STEP_RESULTS_PAGE_MAX)
        return await self._reader.run(lambda c: queries.step_results(c, mission_id, offset, count))

    async def list_missions(
        self,
        tenant: str | None = None,
        *,
        state: MissionState | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> MissionPage:
        """Return missions, newest first; `tenant` None means all tenants, and is for operators.

        `page_size` is brought into 1 to PAGE_SIZE_MAX (AIP-158).

        Raises:
            SanitizationError: `page_token.invalid`.
        """
        after = mission_before(page_token) if page_token else None
        wanted = queries.Filter(tenant=tenant, state=state)
        count = _within(page_size, PAGE_SIZE_MAX)
        return await self._reader.run(lambda c: queries.list_missions(c, wanted, count, after))

    async def events(self, mission_id: str, from_index: int, limit: int = EVENTS_PAGE_MAX) -> tuple[StoredEvent, ...]:
        """Return a mission's events from an index on, at most `limit`; none for an unknown mission."""
        count = _within(limit, EVENTS_PAGE_MAX)
        return await self._reader.run(lambda c: queries.events(c, mission_id, from_index, count))

    def _now(self) -> datetime:
        return self._clock.now()


def _within(wanted: int, maximum: int) -> int:
    return max(1, min(wanted, maximum))
