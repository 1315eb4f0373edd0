"""gateway.v1.MissionService: decode, ask the desk, encode."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from engine.errors import Violation
from engine.mission import MissionLimits
from engine.values import JsonObject
from gateway.errors import SanitizationError
from gateway.missions.views import MissionView
from gateway.rpc import codec
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import MissionDesk
from gateway.rpc.types import Context
from gateway.v1 import mission_pb2, mission_pb2_grpc

REQUEST_ID_CHARS_MAX: Final = 128
REASON_CHARS_MAX: Final = 1_000
_LARGE_BYTES: Final = 32 * 1024  # of a Mission message, and
_LARGE_STEPS: Final = 256  # of a result: translated in a thread from here on, so that other calls go on


class MissionService(mission_pb2_grpc.MissionServiceServicer):
    """Speaks for the desk. The caller was authenticated, and the call decided, before any method here."""

    def __init__(self, desk: MissionDesk, limits: MissionLimits) -> None:
        self._desk = desk
        self._limits = limits

    async def SubmitMission(
        self, request: mission_pb2.SubmitMissionRequest, _context: Context
    ) -> mission_pb2.SubmitMissionResponse:
        """Admit a mission and start it."""
        _printable("request_id", request.request_id, 1, REQUEST_ID_CHARS_MAX)
        form = await self._form(request)
        submission = await self._desk.submit(CALLER.get(), form, request.request_id)
        return mission_pb2.SubmitMissionResponse(
            mission_id=submission.mission_id,
            digest=submission.digest,
            created=submission.created,
            decision=codec.decision_message("mission", submission.decision) if submission.decision else None,
        )

    async def PlanMission(
        self, request: mission_pb2.PlanMissionRequest, _context: Context
    ) -> mission_pb2.PlanMissionResponse:
        """Say what SubmitMission would decide."""
        return codec.preview_message(await self._desk.plan(CALLER.get(), await self._form(request)))

    async def GetMission(
        self, request: mission_pb2.GetMissionRequest, _context: Context
    ) -> mission_pb2.GetMissionResponse:
        """Return one mission."""
        view = await self._desk.get(CALLER.get(), request.mission_id)
        return mission_pb2.GetMissionResponse(mission=await _encoded(view))

    async def ListMissions(
        self, request: mission_pb2.ListMissionsRequest, _context: Context
    ) -> mission_pb2.ListMissionsResponse:
        """List the missions of the caller's tenant."""
        _not_negative("page_size", request.page_size)
        views, token = await self._desk.list_missions(
            CALLER.get(),
            state=codec.state_of(request.state),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return mission_pb2.ListMissionsResponse(
            missions=[codec.view_message(view) for view in views], next_page_token=token
        )

    async def WatchMission(
        self, request: mission_pb2.WatchMissionRequest, _context: Context
    ) -> AsyncIterator[mission_pb2.WatchMissionResponse]:
        """Stream the events of a mission."""
        _not_negative("from_index", request.from_index)
        async for event in self._desk.watch(CALLER.get(), request.mission_id, request.from_index):
            yield mission_pb2.WatchMissionResponse(event=codec.event_message(event))

    async def CancelMission(
        self, request: mission_pb2.CancelMissionRequest, _context: Context
    ) -> mission_pb2.CancelMissionResponse:
        """Cancel a mission."""
        _printable("reason", request.reason, 0, REASON_CHARS_MAX)
        view = await self._desk.cancel(CALLER.get(), request.mission_id, request.reason)
        return mission_pb2.CancelMissionResponse(mission=await _encoded(view))

    async def _form(
        self, request: mission_pb2.SubmitMissionRequest | mission_pb2.PlanMissionRequest
    ) -> bytes | JsonObject:
        if request.HasField("mission") and request.mission.ByteSize() > _LARGE_BYTES:
            return await asyncio.to_thread(codec.form_of, request, self._limits)
        return codec.form_of(request, self._limits)


async def _encoded(view: MissionView) -> mission_pb2.MissionView:
    if view.steps_total > _LARGE_STEPS:
        return await asyncio.to_thread(codec.view_message, view)
    return codec.view_message(view)


def _printable(field: str, value: str, least: int, most: int) -> None:
    if not least <= len(value) <= most or not value.isprintable():
        raise _refused(field, f"must have {least} to {most} printable characters")


def _not_negative(field: str, value: int) -> None:
    if value < 0:
        raise _refused(field, "must not be negative")


def _refused(field: str, message: str) -> SanitizationError:
    return SanitizationError([Violation(code="request.out_of_range", message=message, field=field)])
