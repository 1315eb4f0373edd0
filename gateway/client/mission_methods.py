"""MissionService: what is sent, and what comes back."""

import secrets
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

import orjson

from engine.result import MissionState
from gateway.client.approvals import Approval, ApprovalPage
from gateway.client.call import Call, Turning, call
from gateway.client.decisions import Draft, Plan, Submission
from gateway.client.methods import DriverT, Group, Method, Pages, Stream
from gateway.client.missions import Mission, MissionPage
from gateway.client.streams import EventsOfMission, ResultsOfMission
from gateway.v1 import mission_pb2

_REQUEST_ID_BYTES: Final = 16
_PAGE_SIZE: Final = 200  # as many as a gateway gives


class Built(Protocol):
    """A mission that a program has built, as `engine.builder.MissionBuilder` does."""

    def to_json(self) -> bytes:
        """Return the checked document."""


MissionForm: TypeAlias = "bytes | str | Mapping[str, Any] | Built"
"""A mission: the text of a YAML or JSON document, a JSON object, or what a builder has built."""


def submit(mission: MissionForm, request_id: str = "") -> Call[Submission]:
    """Submit a mission, and return once its admission is durable.

    The call is repeated where nobody answers, under one `request_id`, and so admitted once. Without one a random one
    is taken; a program that may be started again after a crash gives its own.
    """
    request = mission_pb2.SubmitMissionRequest(
        request_id=request_id or secrets.token_hex(_REQUEST_ID_BYTES), document=_document(mission)
    )
    return call(_path("SubmitMission"), request, mission_pb2.SubmitMissionResponse, Submission.of)


def plan(mission: MissionForm) -> Call[Plan]:
    """Ask what a submission would lead to; nothing runs."""
    request = mission_pb2.PlanMissionRequest(document=_document(mission))
    return call(_path("PlanMission"), request, mission_pb2.PlanMissionResponse, Plan.of)


def check_draft(document: MissionForm) -> Call[Draft]:
    """Check a mission that may not be finished."""
    request = mission_pb2.CheckDraftRequest(document=_document(document))
    return call(_path("CheckDraft"), request, mission_pb2.CheckDraftResponse, Draft.of)


def get(mission_id: str, *, document: bool = False) -> Call[Mission]:
    """Return a mission, and its result once it has ended; with `document`, the canonical mission too."""
    request = mission_pb2.GetMissionRequest(mission_id=mission_id, include_mission=document)
    return call(_path("GetMission"), request, mission_pb2.GetMissionResponse, lambda it: Mission.of(it.mission))


def list_missions(state: MissionState | None = None, page_size: int = 0, page_token: str = "") -> Call[MissionPage]:
    """Return some missions of the caller's tenant, newest first; `page_size` 0 is the gateway's."""
    number = mission_pb2.MissionState.Value(f"MISSION_STATE_{state.name if state else 'UNSPECIFIED'}")
    request = mission_pb2.ListMissionsRequest(state=number, page_size=page_size, page_token=page_token)
    return call(_path("ListMissions"), request, mission_pb2.ListMissionsResponse, MissionPage.of)


def missions(state: MissionState | None = None) -> Turning[Mission]:
    """Yield all missions of the caller's tenant, newest first, without their results."""
    return lambda token: list_missions(state, _PAGE_SIZE, token)


def cancel(mission_id: str, reason: str = "") -> Call[Mission]:
    """Cancel a mission: running steps are stopped, the others skipped. Not repeated."""
    request = mission_pb2.CancelMissionRequest(mission_id=mission_id, reason=reason)
    return call(
        _path("CancelMission"),
        request,
        mission_pb2.CancelMissionResponse,
        lambda it: Mission.of(it.mission),
        repeats=False,
    )


def pause(mission_id: str, reason: str = "") -> Call[Mission]:
    """Pause a mission: what runs goes on, nothing else starts. Not repeated."""
    request = mission_pb2.PauseMissionRequest(mission_id=mission_id, reason=reason)
    return call(
        _path("PauseMission"),
        request,
        mission_pb2.PauseMissionResponse,
        lambda it: Mission.of(it.mission),
        repeats=False,
    )


def resume(mission_id: str) -> Call[Mission]:
    """Let a paused mission go on. Not repeated."""
    request = mission_pb2.ResumeMissionRequest(mission_id=mission_id)
    return call(
        _path("ResumeMission"),
        request,
        mission_pb2.ResumeMissionResponse,
        lambda it: Mission.of(it.mission),
        repeats=False,
    )


def retry(mission_id: str, *, repeat_in_doubt: bool = False) -> Call[Mission]:
    """Begin an ended mission anew, keeping what it has completed. Not repeated."""
    request = mission_pb2.RetryMissionRequest(mission_id=mission_id, repeat_in_doubt=repeat_in_doubt)
    return call(
        _path("RetryMission"),
        request,
        mission_pb2.RetryMissionResponse,
        lambda it: Mission.of(it.mission),
        repeats=False,
    )


def decide_approval(
    mission_id: str, approval_id: str, *, approve: bool, digest: str, comment: str = ""
) -> Call[Approval]:
    """Answer what a step or policy asks; `digest` is that of the approval as it was looked at. Not repeated."""
    request = mission_pb2.DecideApprovalRequest(
        mission_id=mission_id,
        approval_id=approval_id,
        verdict=mission_pb2.APPROVAL_VERDICT_APPROVE if approve else mission_pb2.APPROVAL_VERDICT_DENY,
        digest=digest,
        comment=comment,
    )
    return call(
        _path("DecideApproval"),
        request,
        mission_pb2.DecideApprovalResponse,
        lambda it: Approval.of(it.approval),
        repeats=False,
    )


def list_approvals(mission_id: str = "", *, pending_only: bool = True) -> Call[ApprovalPage]:
    """Return approvals, of one mission or of all of the caller's tenant, oldest first."""
    request = mission_pb2.ListApprovalsRequest(mission_id=mission_id, pending_only=pending_only)
    return call(_path("ListApprovals"), request, mission_pb2.ListApprovalsResponse, ApprovalPage.of)


def watch(mission_id: str, from_index: int = 0) -> EventsOfMission:
    """Yield the events of a mission from an index on, each once, until it has ended, also where a stream breaks."""
    return EventsOfMission(mission_id, from_index)


def results(mission_id: str, offset: int = 0, *, follow: bool = False) -> ResultsOfMission:
    """Yield step results in the order in which they were saved; with `follow`, until the mission has ended."""
    return ResultsOfMission(mission_id, offset, follow)


class MissionMethods(Group[DriverT]):
    """Missions and their approvals."""

    submit = Method(submit)
    plan = Method(plan)
    check_draft = Method(check_draft)
    get = Method(get)
    list_missions = Method(list_missions)
    missions = Pages(missions)
    cancel = Method(cancel)
    pause = Method(pause)
    resume = Method(resume)
    retry = Method(retry)
    decide_approval = Method(decide_approval)
    list_approvals = Method(list_approvals)
    watch = Stream(watch)
    results = Stream(results)


def _path(method: str) -> str:
    return f"/gateway.v1.MissionService/{method}"


def _document(mission: MissionForm) -> bytes:
    if isinstance(mission, bytes):
        return mission
    if isinstance(mission, str):
        return mission.encode()
    return orjson.dumps(mission) if isinstance(mission, Mapping) else mission.to_json()
