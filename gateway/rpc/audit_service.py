"""gateway.v1.AuditService: the log as it stands, byte for byte, and proofs of it. Each read is recorded by the gate."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Final, TypeVar

from engine.audit.export import proof_bytes
from gateway.auditing.folder import checkpoint_size
from gateway.auditing.queries import Query
from gateway.errors import ConflictError, LogPrunedError, NotFoundError
from gateway.replay.outcome import StepOutcome
from gateway.rpc.audit_access import SEQ_MAX, AuditAccess
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import AuditReader, EventFinder, MissionReplays
from gateway.rpc.types import Context
from gateway.v1 import audit_pb2, audit_pb2_grpc

EVENTS_MAX: Final = 100_000  # that a call may count
REPLAY_STEPS_MAX: Final = 1_000  # that a call may name
_CHUNK_LINES: Final = 256
_CHUNK_BYTES: Final = 512 * 1024
_T = TypeVar("_T")


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """Reads the log; nothing here can write. What a caller may see was decided before (`gateway.rpc.audit_access`)."""

    def __init__(self, reader: AuditReader, events: EventFinder, access: AuditAccess, replays: MissionReplays) -> None:
        self._reader = reader
        self._events = events
        self._access = access
        self._replays = replays

    async def GetCheckpoint(
        self, _request: audit_pb2.GetCheckpointRequest, _context: Context
    ) -> audit_pb2.GetCheckpointResponse:
        """Return the newest checkpoints."""
        witnessed = self._reader.witnessed() or b""
        return audit_pb2.GetCheckpointResponse(checkpoint=self._reader.checkpoint(), witnessed=witnessed)

    async def ReadEvents(
        self, request: audit_pb2.ReadEventsRequest, _context: Context
    ) -> AsyncIterator[audit_pb2.ReadEventsResponse]:
        """Stream covered lines, a bounded number at a time in memory."""
        if request.start < 0:
            raise out_of_range("start", "must not be negative")
        if not 0 <= request.count <= EVENTS_MAX:
            raise out_of_range("count", f"must be from 0 to {EVENTS_MAX}")
        if request.start < self._reader.first:
            raise LogPrunedError(self._reader.first)
        lines = self._reader.read(request.start, request.count or sys.maxsize)  # 0 is all that the checkpoint covers
        seq = request.start
        while chunk := await asyncio.to_thread(lambda: list(islice(lines, _CHUNK_LINES))):
            for part in _split(chunk, len):
                yield audit_pb2.ReadEventsResponse(first_seq=seq, lines=part)
                seq += len(part)

    async def QueryEvents(
        self, request: audit_pb2.QueryEventsRequest, _context: Context
    ) -> AsyncIterator[audit_pb2.QueryEventsResponse]:
        """Stream what matches; a followed query is recorded again when it ends."""
        query = await self._query(request)
        caller = CALLER.get()
        begun = reached = self._reader.first if query.after is None else query.after + 1
        events = 0
        try:
            async with aclosing(self._events.find(query)) as pages:
                async for page in pages:
                    for part in _split(page.events, _line_bytes):
                        reached = part[-1][0] + 1 if part else page.next_seq
                        events += len(part)
                        yield audit_pb2.QueryEventsResponse(
                            events=await asyncio.to_thread(self._logged, part, request.proof_size),
                            next_seq=reached,
                            caught_up=page.caught_up,
                        )
                    reached = page.next_seq
        finally:
            if query.follow:
                told = {"ended": True, "first": begun, "end": reached, "events": events}
                self._reader.record_end(caller, "QueryEvents", told)

    async def ProveInclusion(
        self, request: audit_pb2.ProveInclusionRequest, _context: Context
    ) -> audit_pb2.ProveInclusionResponse:
        """Return an event and its proof."""
        seq = await self._access.place_of(request)
        if seq is None:
            raise NotFoundError("no signed event is that", code="audit.event_not_found")
        if seq < self._reader.first:
            raise LogPrunedError(self._reader.first)
        size, note = self._tree(request.tree_size, witnessed=request.witnessed)
        if size <= seq:
            if request.witnessed:
                message = f"witnesses have cosigned {size} events so far, and this is event {seq}"
                raise ConflictError(message, code="audit.not_witnessed")
            raise out_of_range("tree_size", f"must be more than the event's seq, {seq}")
        path = await asyncio.to_thread(self._reader.prove_inclusion, seq, size)
        line = await asyncio.to_thread(lambda: next(self._reader.read(seq, 1)))
        return audit_pb2.ProveInclusionResponse(
            index=seq,
            size=size,
            hashes=path,
            checkpoint=note,
            line=line,
            tlog_proof=proof_bytes(seq, path, note) if note else b"",
        )

    async def ProveConsistency(
        self, request: audit_pb2.ProveConsistencyRequest, _context: Context
    ) -> audit_pb2.ProveConsistencyResponse:
        """Return the proof that the log only grew between two sizes."""
        size, note = self._tree(request.new_size, witnessed=False)
        if not 0 <= request.old_size <= size:
            raise out_of_range("old_size", f"must be from 0 to {size}")
        path = await asyncio.to_thread(self._reader.prove_consistency, request.old_size, size)
        return audit_pb2.ProveConsistencyResponse(
            old_size=request.old_size, new_size=size, hashes=path, checkpoint=note
        )

    async def GetVerifierKeys(
        self, _request: audit_pb2.GetVerifierKeysRequest, _context: Context
    ) -> audit_pb2.GetVerifierKeysResponse:
        """Return the keys that verify checkpoints."""
        return audit_pb2.GetVerifierKeysResponse(verifier_keys=self._reader.verifier_keys())

    async def _query(self, request: audit_pb2.QueryEventsRequest) -> Query:
        """Return what is asked; a scope that is not the log is the caller's tenant, also within a mission."""
        if not 0 <= request.limit <= EVENTS_MAX:
            raise out_of_range("limit", f"must be from 0 to {EVENTS_MAX}")
        if not 0 <= request.proof_size <= self._reader.size:
            raise out_of_range(
                "proof_size", f"must be from 0 to {self._reader.size}, which the newest checkpoint covers"
            )
        if request.proof_size and request.follow:
            raise out_of_range("follow", "cannot go on beyond the tree that the proofs are of")
        after = request.after_seq if request.HasField("after_seq") else None
        if after is not None and not -1 <= after <= SEQ_MAX:
            raise out_of_range("after_seq", f"must be from -1 to {SEQ_MAX}")
        return Query(
            wanted=await self._access.filter_of(CALLER.get(), request),
            tenant=None if request.scope == audit_pb2.AUDIT_SCOPE_LOG else CALLER.get().tenant,
            after=after,
            limit=request.limit,
            follow=request.follow,
            stop=request.proof_size or None,
        )

    def _logged(self, events: Sequence[tuple[int, bytes]], proof_size: int) -> list[audit_pb2.LoggedEvent]:
        """Return events as messages, with their proofs in the tree of `proof_size` events unless that is 0."""
        return [
            audit_pb2.LoggedEvent(
                seq=seq, line=line, hashes=self._reader.prove_inclusion(seq, proof_size) if proof_size else ()
            )
            for seq, line in events
        ]

    def _tree(self, size: int, *, witnessed: bool) -> tuple[int, bytes]:
        """Return the size of the tree that is meant, and its signed note where there is one of exactly that size."""
        newest, cosigned = self._reader.checkpoint(), self._reader.witnessed()
        if witnessed and cosigned is None:
            raise ConflictError("no quorum of witnesses has cosigned a checkpoint", code="audit.not_witnessed")
        if witnessed and cosigned is not None:
            return checkpoint_size(cosigned), cosigned
        newest_size = checkpoint_size(newest)
        if not 0 <= size <= newest_size:
            raise out_of_range("tree_size", f"must be from 0 to {newest_size}, which the newest checkpoint covers")
        for note in (newest, cosigned):
            if note is not None and checkpoint_size(note) == (size or newest_size):
                return size or newest_size, note
        return size, b""

    async def ReplayMission(
        self, request: audit_pb2.ReplayMissionRequest, _context: Context
    ) -> AsyncIterator[audit_pb2.ReplayMissionResponse]:
        """Stream what each step of a recorded mission comes to when it is run again."""
        if len(request.step_ids) > REPLAY_STEPS_MAX:
            raise out_of_range("step_ids", f"must be at most {REPLAY_STEPS_MAX}")
        replay = self._replays.replay(CALLER.get(), request.mission_id, tuple(request.step_ids))
        async with aclosing(replay) as outcomes:
            async for outcome in outcomes:
                yield audit_pb2.ReplayMissionResponse(step=step_replay(outcome))


def step_replay(outcome: StepOutcome) -> audit_pb2.StepReplay:
    """Return an outcome as a message."""
    return audit_pb2.StepReplay(
        step_id=outcome.step_id,
        verdict=audit_pb2.ReplayVerdict.Value(f"REPLAY_VERDICT_{outcome.verdict.name}"),
        reason=outcome.reason.value if outcome.reason is not None else "",
        message=outcome.message,
        recorded=outcome.recorded,
        replayed=outcome.replayed,
        item=outcome.item,
        rounds=outcome.rounds,
    )


def _split(items: Sequence[_T], bytes_of: Callable[[_T], int]) -> list[list[_T]]:
    """Return `items` in runs that fit a message, at least one."""
    parts: list[list[_T]] = [[]]
    size = 0
    for item in items:
        item_bytes = bytes_of(item)
        if parts[-1] and size + item_bytes > _CHUNK_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += item_bytes
    return parts


def _line_bytes(event: tuple[int, bytes]) -> int:
    return len(event[1])
