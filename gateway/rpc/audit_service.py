"""gateway.v1.AuditService: the log as it stands, byte for byte. Each read is recorded by the gate."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import islice
from typing import Final

from gateway.replay.outcome import StepOutcome
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import AuditReader, MissionReplays
from gateway.rpc.types import Context
from gateway.v1 import audit_pb2, audit_pb2_grpc

EVENTS_MAX: Final = 100_000  # that a call may count
REPLAY_STEPS_MAX: Final = 1_000  # that a call may name
_CHUNK_LINES: Final = 256
_CHUNK_BYTES: Final = 512 * 1024


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """Reads the log; nothing here can write."""

    def __init__(self, reader: AuditReader, replays: MissionReplays) -> None:
        self._reader = reader
        self._replays = replays

    async def GetCheckpoint(
        self, _request: audit_pb2.GetCheckpointRequest, _context: Context
    ) -> audit_pb2.GetCheckpointResponse:
        """Return the newest checkpoint."""
        return audit_pb2.GetCheckpointResponse(checkpoint=self._reader.checkpoint())

    async def ReadEvents(
        self, request: audit_pb2.ReadEventsRequest, _context: Context
    ) -> AsyncIterator[audit_pb2.ReadEventsResponse]:
        """Stream covered lines, a bounded number at a time in memory."""
        if request.start < 0:
            raise out_of_range("start", "must not be negative")
        if not 0 <= request.count <= EVENTS_MAX:
            raise out_of_range("count", f"must be from 0 to {EVENTS_MAX}")
        lines = self._reader.read(request.start, request.count or sys.maxsize)  # 0 is all that the checkpoint covers
        seq = request.start
        while chunk := await asyncio.to_thread(lambda: list(islice(lines, _CHUNK_LINES))):
            for part in _split(chunk):
                yield audit_pb2.ReadEventsResponse(first_seq=seq, lines=part)
                seq += len(part)

    async def GetVerifierKeys(
        self, _request: audit_pb2.GetVerifierKeysRequest, _context: Context
    ) -> audit_pb2.GetVerifierKeysResponse:
        """Return the keys that verify checkpoints."""
        return audit_pb2.GetVerifierKeysResponse(verifier_keys=self._reader.verifier_keys())

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


def _split(lines: list[bytes]) -> list[list[bytes]]:
    """Return `lines` in runs that fit a message."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        if parts[-1] and size + len(line) > _CHUNK_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line)
    return parts
