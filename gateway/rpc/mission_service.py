"""gateway.v1.MissionService: decode, ask the desk, encode."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, cast

from engine.mission import MissionLimits
from engine.values import JsonObject
from gateway.missions.approvals import COMMENT_CHARS_MAX
from gateway.missions.control import REASON_MAX
from gateway.missions.desk import REQUEST_ID_MAX
from gateway.missions.views import MissionView
from gateway.rpc import codec, forms
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.interceptor import APPROVED_BY, CALLER, MISSION_ID_CHARS_MAX
from gateway.rpc.ports import MissionDesk
from gateway.rpc.types import Context
from gateway.v1 import mission_pb2, mission_pb2_grpc

DIGEST_CHARS_MAX: Final = 128
APPROVALS_MAX: Final = 1_000  # in one answer
_LARGE_BYTES: Final = 32 * 1024  # of a Mission message, and
_LARGE_STEPS: Final = 256  # of a result: translated in a thread from here on, so that other calls go on


class MissionService(mission_pb2_grpc.MissionServiceServicer):
    """Speaks for the desk. The caller was authenticated, and the call decided, before any method here."""

    def __init__(self, desk: MissionDesk, limits: MissionLimits) -> None:
        self._desk = desk
        self._limits = limits

    async def SubmitMission(
        self, request: mission_pb2.SubmitMissionRequest, context: Context
    ) -> mission_pb2.SubmitMissionResponse:
        """Admit a mission and start it."""
        _printable("request_id", request.request_id, 1, REQUEST_ID_MAX)
        form = await self._form(request)
        submission = await self._desk.submit(CALLER.get(), form, request.request_id, until=_deadline(context))
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

    async def CheckDraft(
        self, request: mission_pb2.CheckDraftRequest, _context: Context
    ) -> mission_pb2.CheckDraftResponse:
        """Say what is wrong in a draft, and what is not there yet."""
        return codec.draft_message(await self._desk.check_draft(request.document))

    async def GetMission(
        self, request: mission_pb2.GetMissionRequest, _context: Context
    ) -> mission_pb2.GetMissionResponse:
        """Return one mission."""
        view = await self._desk.get(CALLER.get(), request.mission_id, document=request.include_mission)
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
        _printable("reason", request.reason, 0, REASON_MAX)
        view = await self._desk.cancel(CALLER.get(), request.mission_id, request.reason)
        return mission_pb2.CancelMissionResponse(mission=await _encoded(view))

    async def PauseMission(
        self, request: mission_pb2.PauseMissionRequest, _context: Context
    ) -> mission_pb2.PauseMissionResponse:
        """Let nothing new start."""
        _printable("reason", request.reason, 0, REASON_MAX)
        view = await self._desk.pause(CALLER.get(), request.mission_id, request.reason)
        return mission_pb2.PauseMissionResponse(mission=await _encoded(view))

    async def ResumeMission(
        self, request: mission_pb2.ResumeMissionRequest, _context: Context
    ) -> mission_pb2.ResumeMissionResponse:
        """Let a paused mission go on."""
        view = await self._desk.resume(CALLER.get(), request.mission_id)
        return mission_pb2.ResumeMissionResponse(mission=await _encoded(view))

    async def RetryMission(
        self, request: mission_pb2.RetryMissionRequest, _context: Context
    ) -> mission_pb2.RetryMissionResponse:
        """Begin an ended mission anew."""
        view = await self._desk.retry(CALLER.get(), request.mission_id, repeat_in_doubt=request.repeat_in_doubt)
        return mission_pb2.RetryMissionResponse(mission=await _encoded(view))

    async def DecideApproval(
        self, request: mission_pb2.DecideApprovalRequest, _context: Context
    ) -> mission_pb2.DecideApprovalResponse:
        """Answer what a step asks; what the comment may hold the desk says."""
        _printable("approval_id", request.approval_id, 1, MISSION_ID_CHARS_MAX)
        _printable("digest", request.digest, 1, DIGEST_CHARS_MAX)
        if len(request.comment) > COMMENT_CHARS_MAX:
            raise out_of_range("comment", f"must have at most {COMMENT_CHARS_MAX} characters")
        approval = await self._desk.decide_approval(
            CALLER.get(),
            request.mission_id,
            request.approval_id,
            approve=codec.approves(request.verdict),
            digest=request.digest,
            comment=request.comment,
            seen=APPROVED_BY.get(),
        )
        return mission_pb2.DecideApprovalResponse(approval=codec.approval_message(approval))

    async def ListApprovals(
        self, request: mission_pb2.ListApprovalsRequest, _context: Context
    ) -> mission_pb2.ListApprovalsResponse:
        """List approvals, the oldest as far as one answer has room."""
        approvals = await self._desk.list_approvals(
            CALLER.get(), request.mission_id or None, pending_only=request.pending_only
        )
        return mission_pb2.ListApprovalsResponse(
            approvals=[codec.approval_message(approval) for approval in approvals[:APPROVALS_MAX]],
            omitted=max(0, len(approvals) - APPROVALS_MAX),
        )

    async def WatchResults(
        self, request: mission_pb2.WatchResultsRequest, _context: Context
    ) -> AsyncIterator[mission_pb2.WatchResultsResponse]:
        """Stream the results of steps."""
        _not_negative("offset", request.offset)
        results = self._desk.results(CALLER.get(), request.mission_id, offset=request.offset, follow=request.follow)
        async for result in results:
            yield mission_pb2.WatchResultsResponse(result=codec.step_result_message(result))

    async def _form(
        self, request: mission_pb2.SubmitMissionRequest | mission_pb2.PlanMissionRequest
    ) -> bytes | JsonObject:
        if request.HasField("mission") and request.mission.ByteSize() > _LARGE_BYTES:
            return await asyncio.to_thread(forms.form_of, request, self._limits)
        return forms.form_of(request, self._limits)


def _deadline(context: Context) -> float | None:
    """Return when the caller no longer waits, in time of the loop; None: it always will."""
    seconds = cast("float | None", context.time_remaining())  # the stubs do not know that there may be none
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


async def _encoded(view: MissionView) -> mission_pb2.MissionView:
    if view.steps_total > _LARGE_STEPS:
        return await asyncio.to_thread(codec.view_message, view)
    return codec.view_message(view)


def _printable(field: str, value: str, least: int, most: int) -> None:
    if not least <= len(value) <= most or not value.isprintable():
        raise out_of_range(field, f"must have {least} to {most} printable characters")


def _not_negative(field: str, value: int) -> None:
    if value < 0:
        raise out_of_range(field, "must not be negative")
