"""The store: what is asked of it, and in which order it answers.

The order that survives a crash is *payload before event, event before acknowledgement*: the mission and its document
are committed here, then the audit log has the event under a signed checkpoint, then the client hears of it. So a
mission whose event is missing was never acknowledged, and an event never points to a payload that is not there.
Calls of one caller are committed in the order in which they were made, also when they are not awaited in between.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from engine.clock import Clock
from engine.result import MissionResult, MissionState, StepFailure, StepResult
from gateway.errors import StoreError
from gateway.limits.amounts import Owner
from gateway.limits.quotas import StoredBytes
from gateway.store import effects, interruption, pruning, queries, writes
from gateway.store.approval_store import ApprovalStore
from gateway.store.effect_records import EffectRecord, EffectState
from gateway.store.erasure import ErasureStore
from gateway.store.hook_store import HookStore
from gateway.store.master_keys import MasterKeys
from gateway.store.opening import lock, open_reader, open_writer
from gateway.store.paging import PAGE_SIZE_MAX, mission_before
from gateway.store.reader import Reader
from gateway.store.records import Creation, MissionPage, MissionRecord, NewMission, StoredEvent
from gateway.store.sealing import Sealer
from gateway.store.subject_store import SubjectStore
from gateway.store.writer import GroupCommitWriter

EVENT_BYTES_MAX: Final = 64 * 1024
ENTRY_BYTES_MAX: Final = 512 * 1024  # of one effect; twice what a whole journal of outcomes holds
EVENTS_PAGE_MAX: Final = 1_000
EFFECTS_PAGE_MAX: Final = 1_000
STEP_RESULTS_PAGE_MAX: Final = 10_000
PRUNE_MAX: Final = 1_000  # trees in one call


class Store(ApprovalStore):
    """One gateway's missions. Every method may raise StoreError; what was not committed was not done."""

    def __init__(
        self, writer: GroupCommitWriter, reader: Reader, lock_descriptor: int, clock: Clock, masters: MasterKeys
    ) -> None:
        super().__init__(writer, reader, clock, masters)
        self._lock_descriptor = lock_descriptor
        self.hooks = HookStore(writer, reader, clock)
        self.erasures = ErasureStore(writer, reader, (self._sealer, self._opener), clock)
        self.subjects = SubjectStore(writer, reader, clock)

    @classmethod
    def open(cls, path: Path, *, clock: Clock, masters: MasterKeys) -> "Store":
        """Open the file at `path`, made if missing, and keep it locked; `masters` wrap the keys of its missions.

        Raises:
            StoreError: another gateway has it (`store.locked`), it is damaged (`store.corrupt`), newer
                (`store.schema_newer`), another program's (`store.foreign`), or the file system refuses.
        """
        descriptor = lock(path)
        try:
            writing = open_writer(path, Sealer(masters))
            try:
                reading = open_reader(path)
            except StoreError:
                writing.close()
                raise
        except StoreError:
            os.close(descriptor)
            raise
        return cls(GroupCommitWriter(writing), Reader(reading), descriptor, clock, masters)

    async def close(self) -> None:
        """Commit what was asked for, and release the file."""
        self._reader.stop()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._reader.close)
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    @property
    def waiting(self) -> tuple[int, int]:
        """Writes and queries that wait."""
        return self._writer.waiting, self._reader.waiting

    async def reading_turn(self) -> None:
        """Return once a query that was asked for now would have been made.

        Raises:
            StoreError: `store.closed`, `store.overloaded`, too many wait.
        """
        await self._reader.run(lambda _: None)

    async def writing_turn(self) -> None:
        """Return once a write that was asked for now would be on the disk; errors as `reading_turn`."""
        await self._writer.submit(lambda _: None)

    async def create_mission(self, mission: NewMission) -> Creation:
        """Record a mission, or return the one that an equal request with this request id had made.

        Raises:
            ConflictError: `mission.request_id_reused`, the earlier request with this id was another one;
                `mission.ended`, its parent has.
            NotFoundError: there is no such parent.
            StoreError: `store.constraint`, its root, depth or tenant is not what follows from its parent.
        """
        now = self._now()
        return await self._writer.submit(lambda c: writes.create_mission(c, self._sealer, mission, now))

    async def mark_executing(self, mission_id: str) -> None:
        """Record that a mission has begun, or goes on: one that is Executing already is left as it is.

        Raises:
            ConflictError: `mission.state`, it has ended, or there is none.
        """
        now = self._now()
        await self._writer.submit(lambda c: writes.mark_executing(c, mission_id, now))

    async def set_paused(self, mission_id: str, paused: bool) -> None:
        """Record whether a mission is paused; the end of a mission ends its pause.

        Raises:
            ConflictError: `mission.state`, it has ended.
            NotFoundError: there is none.
        """
        await self._writer.submit(lambda c: writes.set_paused(c, self._sealer, mission_id, paused=paused))

    async def set_decision_labels(self, mission_id: str, labels: Mapping[str, str]) -> None:
        """Record the labels of the decision under which a mission runs.

        Raises:
            NotFoundError: there is none.
        """
        body = orjson.dumps(dict(labels))
        await self._writer.submit(lambda c: writes.set_decision_labels(c, self._sealer, mission_id, body))

    async def reopen_mission(self, mission_id: str) -> MissionRecord:
        """Let an ended mission begin anew: Validated, its run counted up, everything of its end cleared.

        Its results stay where they are Completed, or Skipped because their condition was false
        (`step.condition_false`); so do its events, effects and approvals.

        Raises:
            ConflictError: `mission.state`, it has not ended.
            NotFoundError: there is none.
        """
        return await self._writer.submit(lambda c: writes.reopen_mission(c, self._sealer, mission_id))

    async def save_step_results(
        self, mission_id: str, results: Sequence[StepResult], *, kinds: Mapping[str, str] = writes.NO_KINDS
    ) -> None:
        """Record final results of steps, with their kinds; a step has one result, a second is `store.constraint`."""
        steps = [(result, orjson.dumps(result.output)) for result in results]
        await self._writer.submit(lambda c: writes.save_step_results(c, self._sealer, mission_id, steps, kinds))

    async def append_events(self, mission_id: str, first_index: int, bodies: Sequence[bytes]) -> None:
        """Record a mission's next events; `first_index` is the number of events before.

        Raises:
            StoreError: `store.event_gap`, it is not; `store.too_large`, a body has over EVENT_BYTES_MAX bytes.
        """
        if any(len(body) > EVENT_BYTES_MAX for body in bodies):
            raise StoreError(f"an event has at most {EVENT_BYTES_MAX} bytes", code="store.too_large")
        await self._writer.submit(lambda c: writes.append_events(c, self._sealer, mission_id, first_index, bodies))

    async def finish_mission(
        self,
        result: MissionResult,
        *,
        step_results: Sequence[StepResult] = (),
        audit_summary: bytes | None = None,
        kinds: Mapping[str, str] = writes.NO_KINDS,
        files_bytes: int = 0,
    ) -> None:
        """Record the end of a mission together with results that were not saved before, all or nothing.

        `files_bytes` is what it leaves in files beside the store.

        Raises:
            ConflictError: `mission.state`, it has ended before, or is not there.
        """
        steps = [(step, orjson.dumps(step.output)) for step in step_results]
        await self._writer.submit(
            lambda c: writes.finish_mission(c, self._sealer, result, steps, audit_summary, kinds, files_bytes)
        )

    async def set_files_bytes(self, mission_id: str, files_bytes: int) -> None:
        """Record what the files of a mission hold that is suspended."""
        await self._writer.submit(lambda c: writes.set_files_bytes(c, mission_id, files_bytes))

    async def interrupt_mission(self, mission_id: str, reason: StepFailure) -> None:
        """Fail a mission that had not ended, and that no later start of the gateway can take up, for `reason`.

        Every step without a result gets one with code `interrupted`: Failed if it had begun, else Skipped. Counts,
        durations (up to now) and events follow, all in one transaction. The audit summary has `integrity_verified`
        true and no `events_logged`: the store does not know how many events of the mission the log holds. Call it when
        the log has the interruption under a signed checkpoint.

        Raises:
            NotFoundError: there is no such mission.
            ConflictError: `mission.state`, it has ended.
        """
        now = self._now()
        await self._writer.submit(lambda c: interruption.interrupt_mission(c, self._sealer, mission_id, reason, now))

    async def find_request(self, tenant: str, submitter: str, request_id: str) -> MissionRecord | None:
        """Return the mission that an earlier request with this id had made; `create_mission` alone decides a race."""
        return await self._reader.run(lambda c: queries.find_request(c, self._opener, tenant, submitter, request_id))

    async def get_mission(self, mission_id: str) -> MissionRecord:
        """Return one mission.

        Raises:
            NotFoundError: there is none. Whether a principal may see it is the caller's question.
        """
        return await self._reader.run(lambda c: queries.get_mission(c, self._opener, mission_id))

    async def bare_mission(self, mission_id: str) -> MissionRecord:
        """Return what stands in the clear of one mission, as if the rest had been erased: whose it is, and its state.

        Raises:
            NotFoundError: there is none.
        """
        return await self._reader.run(lambda c: queries.bare_mission(c, mission_id))

    async def mission_key(self, mission_id: str) -> bytes:
        """Return the key of a mission, of which its other keys are derived.

        Raises:
            NotFoundError: there is no such mission.
            ErasedError: `mission.erased`.
            StoreError: `store.other_key`, `store.unreadable`: it cannot be had.
        """
        return await self._reader.run(lambda c: self._opener.key(c, mission_id))

    async def stored_bytes(self, owner: Owner) -> StoredBytes:
        """Return what is kept of the missions of a principal and of its tenant, but for the files of those that run."""
        return await self._reader.run(lambda c: queries.stored_bytes(c, *owner))

    async def children(self, mission_id: str) -> tuple[MissionRecord, ...]:
        """Return the missions that are parts of this one, one level deep, oldest first."""
        return await self._reader.run(lambda c: queries.children(c, self._opener, mission_id))

    async def unfinished(self) -> tuple[MissionRecord, ...]:
        """Return every mission of every tenant that has not ended, oldest first, and so parents before children."""
        return await self._reader.run(lambda c: queries.unfinished(c, self._opener))

    async def get_document(self, mission_id: str) -> bytes:
        """Return the mission's document, JSON, as it was recorded.

        Raises:
            NotFoundError: there is no such mission.
        """
        return await self._reader.run(lambda c: queries.get_document(c, self._opener, mission_id))

    async def step_results(
        self, mission_id: str, *, offset: int = 0, limit: int = STEP_RESULTS_PAGE_MAX
    ) -> tuple[StepResult, ...]:
        """Return saved results in the order in which they were saved; none for an unknown mission."""
        count = _within(limit, STEP_RESULTS_PAGE_MAX)
        return await self._reader.run(lambda c: queries.step_results(c, self._opener, mission_id, offset, count))

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
        return await self._reader.run(lambda c: queries.list_missions(c, self._opener, wanted, count, after))

    async def events(self, mission_id: str, from_index: int, limit: int = EVENTS_PAGE_MAX) -> tuple[StoredEvent, ...]:
        """Return a mission's events from an index on, at most `limit`; none for an unknown mission."""
        count = _within(limit, EVENTS_PAGE_MAX)
        return await self._reader.run(lambda c: queries.events(c, self._opener, mission_id, from_index, count))

    # --- the journal of effects ---

    async def intend_effects(self, mission_id: str, records: Sequence[EffectRecord]) -> None:
        """Record intents, all of them or none, each in place of what is there.

        Raises:
            ConflictError: `mission.state`, the mission has ended, or there is none.
            StoreError: `store.effect_performed`, an effect that was performed is there, and stays.
        """
        intents = tuple(records)
        await self._writer.submit(lambda c: effects.intend_effects(c, mission_id, intents))

    async def settle_effect(
        self,
        mission_id: str,
        step_id: str,
        item: int | None,
        index: int,
        state: EffectState,
        entry: bytes | None,
    ) -> None:
        """Record what came of an intent; also after its mission has ended, because what was done was done.

        Behind one that was not performed, what else was intended is forgotten: it was never begun.

        Raises:
            StoreError: `store.effect_missing`, there is no such intent; `store.constraint`, an entry for a doubt, or
                none for an outcome; `store.too_large`, the entry has over ENTRY_BYTES_MAX bytes.
        """
        if entry is not None and len(entry) > ENTRY_BYTES_MAX:
            raise StoreError(f"a journal entry has at most {ENTRY_BYTES_MAX} bytes", code="store.too_large")
        place = (step_id, item, index)
        await self._writer.submit(lambda c: effects.settle_effect(c, self._sealer, mission_id, place, state, entry))

    async def effects(self, mission_id: str, step_id: str, item: int | None) -> tuple[EffectRecord, ...]:
        """Return the effects of a step, or of one item of its fan-out, by index; none for an unknown mission.

        The writer reads them: an attempt that follows a cancelled one must see what that has asked for and not awaited.
        """
        return await self._writer.submit(lambda c: effects.effects(c, self._sealer, mission_id, step_id, item))

    async def mission_effects(
        self, mission_id: str, *, offset: int = 0, limit: int = EFFECTS_PAGE_MAX
    ) -> tuple[EffectRecord, ...]:
        """Return a page of the effects of all steps of a mission, by step, item and index; an empty one is the end."""
        count = _within(limit, EFFECTS_PAGE_MAX)
        return await self._reader.run(lambda c: effects.mission_effects(c, self._opener, mission_id, offset, count))

    async def forget_doubt(self, mission_id: str) -> int:
        """Delete the effects that are in doubt or only intended, and return how many.

        For when a person has decided that they may be repeated. What was performed or has failed stays.

        Raises:
            ConflictError: `mission.state`, the mission is executing, and what it intends is no doubt.
        """
        return await self._writer.submit(lambda c: effects.forget_doubt(c, mission_id))

    async def hook_module(self, sha256: str) -> bytes:
        """Return a module that a mission has used, or that is published, by the SHA-256 that the log names.

        Raises:
            NotFoundError: `hook.module_not_found`.
        """
        return await self.hooks.module(sha256)

    # --- retention ---

    async def prunable(self, before: datetime, limit: int) -> tuple[str, ...]:
        """Return the missions that `prune` would delete, without those below them."""
        count = _within(limit, PRUNE_MAX)
        return await self._reader.run(lambda c: pruning.prunable(c, before, count))

    async def prune(self, before: datetime, limit: int, *, among: Sequence[str] | None = None) -> tuple[str, ...]:
        """Delete trees of missions whose root ended before `before`, oldest first, and return their roots.

        At most `limit` of them, brought into 1 to PRUNE_MAX; with `among`, of the first `limit` roots that it names, in
        its order: those that the log was told of. A tree of which any mission has not ended is left alone.

        What an earlier call that was killed or cancelled had begun is deleted too, and not returned again. The file
        keeps its size: what comes next takes the place.
        """
        rest: Sequence[str] = (
            await self.prunable(before, limit) if among is None else among[: _within(limit, PRUNE_MAX)]
        )
        pruned: list[str] = []
        while rest:
            marked, rest = await self._writer.submit(partial(pruning.mark_some, roots=rest, before=before))
            pruned += marked
        while await self._writer.submit(pruning.sweep_some):
            pass
        if pruned:
            try:
                await self.erasures.scrub()
            except StoreError as error:  # somebody reads: the log is emptied at another time
                if error.code != "store.busy":
                    raise
        return tuple(pruned)


def _within(wanted: int, maximum: int) -> int:
    return max(1, min(wanted, maximum))
