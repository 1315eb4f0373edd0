"""A small blocking gRPC client: plain values in and out, errors as values."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Self

import grpc
import orjson

from gateway.answers import (
    activation_document,
    approval_document,
    decision_document,
    draft_document,
    erasure_document,
    event_document,
    hook_document,
    replay_document,
    step_document,
    view_document,
)
from gateway.audit_client import AuditClient
from gateway.calling import Calls
from gateway.errors import ConfigurationError
from gateway.policy_client import PolicyClient
from gateway.sandbox.files import HookFiles
from gateway.statistics_client import StatisticsClient
from gateway.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    hook_pb2,
    hook_pb2_grpc,
    mission_pb2,
    mission_pb2_grpc,
    privacy_pb2,
    privacy_pb2_grpc,
)

TOKEN_VARIABLE: Final = "MISSIONGATE_TOKEN"  # noqa: S105 - where it is, not what it is
HOOK_DEADLINE_SECONDS: Final = 120.0  # a module is compiled, and workers are started
ERASE_DEADLINE_SECONDS: Final = 600.0  # the whole log is read, and rows are overwritten
HOOK_CHUNK_BYTES: Final = 256 * 1024
HOOK_PAGE_SIZE: Final = 200
HOOK_PAGES_MAX: Final = 50  # ten times what a registry holds
MESSAGE_BYTES_MAX: Final = 128 * 1024 * 1024  # a result of 10,000 steps, each with some output
PORT_MAX: Final = 65_535
_TOKEN_FILE_BYTES_MAX: Final = 4_096
_TOKEN: Final = re.compile(r"[!-~]{1,512}")
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment has no business with the token
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the gateway is, and who asks."""

    address: str  # host:port
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: str, token_file: Path | None) -> "Server":
        """Take the token from a file, or from MISSIONGATE_TOKEN: never from an argument, which `ps` shows.

        Raises:
            ConfigurationError: the address or the token cannot be used, or the token would travel in the clear.
        """
        token = _read_token(token_file) if token_file else os.environ.get(TOKEN_VARIABLE, "").strip() or None
        found = _ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found["port"]) <= PORT_MAX:
            raise ConfigurationError(f"{address!r} is no address; write host:port", code="server.address")
        if token is not None and not _TOKEN.fullmatch(token):
            raise ConfigurationError("the bearer token is empty, too long or no ASCII text", code="token.invalid")
        if token is not None and not _is_loopback(found["host"]):
            raise ConfigurationError(
                f"{address} is not on this machine, and there is no TLS yet: the token would travel in the clear; "
                "tunnel to the gateway's loopback address instead",
                code="server.cleartext",
            )
        return cls(address, token)


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_TOKEN_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the token cannot be read ({error.strerror})", code="token.unreadable"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Client:
    """Calls the gateway's services. Use as a context manager; every method raises CallError where the call fails."""

    def __init__(self, server: Server) -> None:
        self._channel = grpc.insecure_channel(server.address, options=_OPTIONS)
        metadata = (("authorization", f"Bearer {server.token}"),) if server.token else ()
        self._calls = Calls(self._channel, server.address, metadata)
        self._missions = mission_pb2_grpc.MissionServiceStub(self._channel)
        self._audit = audit_pb2_grpc.AuditServiceStub(self._channel)
        self._hooks = hook_pb2_grpc.HookServiceStub(self._channel)
        self._privacy = privacy_pb2_grpc.PrivacyServiceStub(self._channel)
        self.policy = PolicyClient(self._calls)
        self.audit = AuditClient(self._calls)
        self.statistics = StatisticsClient(self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def submit(self, document: bytes, request_id: str) -> dict[str, Any]:
        """Submit a document; return `{"mission_id","digest","created"}`."""
        answer = self._calls.one(
            self._missions.SubmitMission,
            mission_pb2.SubmitMissionRequest(request_id=request_id, document=document),
        )
        return {"mission_id": answer.mission_id, "digest": answer.digest, "created": answer.created}

    def plan(self, document: bytes) -> dict[str, Any]:
        """Plan a document; return `{"mission","digest","levels","decisions"}`."""
        answer = self._calls.one(self._missions.PlanMission, mission_pb2.PlanMissionRequest(document=document))
        return {
            "mission": orjson.loads(answer.mission),
            "digest": answer.digest,
            "levels": [list(level.step_ids) for level in answer.levels],
            "decisions": [decision_document(decision) for decision in answer.decisions],
        }

    def check_draft(self, document: bytes) -> dict[str, Any]:
        """Check a document that may not be finished; return `{"complete","wrong","missing"}`."""
        answer = self._calls.one(self._missions.CheckDraft, mission_pb2.CheckDraftRequest(document=document))
        return draft_document(answer)

    def get(self, mission_id: str, *, document: bool = False) -> dict[str, Any]:
        """Return a mission's view; with `document`, its member `mission` is the canonical mission."""
        request = mission_pb2.GetMissionRequest(mission_id=mission_id, include_mission=document)
        return view_document(self._calls.one(self._missions.GetMission, request).mission)

    def list_missions(self, state: str | None, page_size: int, page_token: str) -> dict[str, Any]:
        """Return `{"missions","next_page_token"}`."""
        number = mission_pb2.MissionState.Value(f"MISSION_STATE_{state.upper() if state else 'UNSPECIFIED'}")
        answer = self._calls.one(
            self._missions.ListMissions,
            mission_pb2.ListMissionsRequest(state=number, page_size=page_size, page_token=page_token),
        )
        return {
            "missions": [view_document(view) for view in answer.missions],
            "next_page_token": answer.next_page_token,
        }

    def cancel(self, mission_id: str, reason: str) -> dict[str, Any]:
        """Cancel a mission; return its view."""
        request = mission_pb2.CancelMissionRequest(mission_id=mission_id, reason=reason)
        return view_document(self._calls.one(self._missions.CancelMission, request).mission)

    def pause(self, mission_id: str, reason: str) -> dict[str, Any]:
        """Pause a mission; return its view."""
        request = mission_pb2.PauseMissionRequest(mission_id=mission_id, reason=reason)
        return view_document(self._calls.one(self._missions.PauseMission, request).mission)

    def resume(self, mission_id: str) -> dict[str, Any]:
        """Let a paused mission go on; return its view."""
        request = mission_pb2.ResumeMissionRequest(mission_id=mission_id)
        return view_document(self._calls.one(self._missions.ResumeMission, request).mission)

    def retry(self, mission_id: str, *, repeat_in_doubt: bool = False) -> dict[str, Any]:
        """Begin an ended mission anew; return its view."""
        request = mission_pb2.RetryMissionRequest(mission_id=mission_id, repeat_in_doubt=repeat_in_doubt)
        return view_document(self._calls.one(self._missions.RetryMission, request).mission)

    def erase_mission(self, mission_id: str, reason: str) -> dict[str, Any]:
        """Erase what is kept of a mission; return `{"mission_id","erased_at","missions","decisions"}`."""
        request = privacy_pb2.EraseMissionRequest(mission_id=mission_id, reason=reason)
        return erasure_document(self._calls.one(self._privacy.EraseMission, request, ERASE_DEADLINE_SECONDS))

    def erase_subject(self, subject: str, tenant: str, reason: str) -> dict[str, Any]:
        """Erase a person; return `{"pseudonym","missions","decisions"}`."""
        request = privacy_pb2.EraseSubjectRequest(tenant=tenant, subject=subject, reason=reason)
        answer = self._calls.one(self._privacy.EraseSubject, request, ERASE_DEADLINE_SECONDS)
        return {"pseudonym": answer.pseudonym, "missions": answer.missions, "decisions": answer.decisions}

    def look_up_pseudonym(self, pseudonym: str) -> dict[str, Any]:
        """Return `{"pseudonym","tenant","subject"}` of who stands behind a pseudonym of the log."""
        return self._looked_up(privacy_pb2.LookupSubjectRequest(pseudonym=pseudonym))

    def look_up_subject(self, subject: str, tenant: str) -> dict[str, Any]:
        """Return the same of somebody, by name."""
        name = privacy_pb2.SubjectName(tenant=tenant, subject=subject)
        return self._looked_up(privacy_pb2.LookupSubjectRequest(name=name))

    def _looked_up(self, request: privacy_pb2.LookupSubjectRequest) -> dict[str, Any]:
        answer = self._calls.one(self._privacy.LookupSubject, request)
        return {"pseudonym": answer.pseudonym, "tenant": answer.name.tenant, "subject": answer.name.subject}

    def decide_approval(
        self, mission_id: str, approval_id: str, *, approve: bool, digest: str, comment: str = ""
    ) -> dict[str, Any]:
        """Answer what a step asks; return the approval."""
        request = mission_pb2.DecideApprovalRequest(
            mission_id=mission_id,
            approval_id=approval_id,
            verdict=mission_pb2.APPROVAL_VERDICT_APPROVE if approve else mission_pb2.APPROVAL_VERDICT_DENY,
            digest=digest,
            comment=comment,
        )
        return approval_document(self._calls.one(self._missions.DecideApproval, request).approval)

    def list_approvals(self, mission_id: str = "", *, pending_only: bool = True) -> dict[str, Any]:
        """Return `{"approvals","omitted"}`: of one mission, or of all of the caller's tenant, oldest first."""
        request = mission_pb2.ListApprovalsRequest(mission_id=mission_id, pending_only=pending_only)
        answer = self._calls.one(self._missions.ListApprovals, request)
        return {"approvals": [approval_document(each) for each in answer.approvals], "omitted": answer.omitted}

    def watch(self, mission_id: str, from_index: int = 0) -> Iterator[dict[str, Any]]:
        """Yield events until the mission has ended."""
        request = mission_pb2.WatchMissionRequest(mission_id=mission_id, from_index=from_index)
        for answer in self._calls.stream(self._missions.WatchMission, request):
            yield event_document(answer.event)

    def results(self, mission_id: str, offset: int = 0, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Yield step results, `step_id` included, in the order in which they were saved."""
        request = mission_pb2.WatchResultsRequest(mission_id=mission_id, offset=offset, follow=follow)
        for answer in self._calls.stream(self._missions.WatchResults, request):
            yield {"step_id": answer.result.step_id, **step_document(answer.result)}

    def replay(self, mission_id: str, step_ids: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Yield what each step of a recorded mission comes to when it is run again."""
        request = audit_pb2.ReplayMissionRequest(mission_id=mission_id, step_ids=step_ids)
        for answer in self._calls.stream(self._audit.ReplayMission, request):
            yield replay_document(answer.step)

    def publish_hook(self, files: HookFiles) -> dict[str, Any]:
        """Publish a hook; return `{"hook","created"}`."""
        answer = self._calls.sent(self._hooks.PublishHook, _parts_of(files), HOOK_DEADLINE_SECONDS)
        return {"hook": hook_document(answer.hook), "created": answer.created}

    def list_hooks(self) -> list[dict[str, Any]]:
        """Return every version of every hook, by name, the newest publication of a name first."""
        hooks: list[dict[str, Any]] = []
        token = ""
        for _ in range(HOOK_PAGES_MAX):
            request = hook_pb2.ListHooksRequest(page_size=HOOK_PAGE_SIZE, page_token=token)
            answer = self._calls.one(self._hooks.ListHooks, request)
            hooks += map(hook_document, answer.hooks)
            token = answer.next_page_token
            if not token:
                break
        return hooks

    def get_hook(self, name: str, version: str = "") -> dict[str, Any]:
        """Return `{"hook","manifest","history"}`; without a version, of the one in force, or else of the newest."""
        answer = self._calls.one(self._hooks.GetHook, hook_pb2.GetHookRequest(name=name, version=version))
        return {
            "hook": hook_document(answer.hook),
            "manifest": answer.manifest.decode("utf-8", "replace"),
            "history": [activation_document(each) for each in answer.history],
        }

    def enable_hook(
        self, name: str, version: str, *, order: int = 0, step_types: Sequence[str] = (), labels: Mapping[str, str]
    ) -> dict[str, Any]:
        """Put a version in force; return it."""
        placement = hook_pb2.HookPlacement(order=order, step_types=step_types, labels=labels)
        request = hook_pb2.EnableHookRequest(name=name, version=version, placement=placement)
        return hook_document(self._calls.one(self._hooks.EnableHook, request, HOOK_DEADLINE_SECONDS).hook)

    def disable_hook(self, name: str, version: str = "") -> None:
        """Take a hook out of force; with a version, only that one."""
        request = hook_pb2.DisableHookRequest(name=name, version=version)
        self._calls.one(self._hooks.DisableHook, request, HOOK_DEADLINE_SECONDS)

    def rollback_hook(self, name: str, version: str = "") -> dict[str, Any] | None:
        """Take back the last change of a name; return what is in force then, or None."""
        request = hook_pb2.RollbackHookRequest(name=name, version=version)
        answer = self._calls.one(self._hooks.RollbackHook, request, HOOK_DEADLINE_SECONDS)
        return hook_document(answer.hook) if answer.HasField("hook") else None


def _parts_of(files: HookFiles) -> Iterator[hook_pb2.PublishHookRequest]:
    """Yield a hook as HookService takes it."""
    header = hook_pb2.PublishHookHeader(manifest=files.manifest, schema=files.schema, signature=files.signature or b"")
    yield hook_pb2.PublishHookRequest(header=header)
    for start in range(0, len(files.module), HOOK_CHUNK_BYTES):
        yield hook_pb2.PublishHookRequest(module=files.module[start : start + HOOK_CHUNK_BYTES])
