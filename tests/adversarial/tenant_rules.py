"""For each method: how another tenant's thing is addressed in it, and what has to come back. A new one needs its rule.

Every request is made twice by each person of the other tenant: about a thing that is there, and about one that is
nowhere. The two answers have to be one: status, message, details, responses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gateway.v1 import audit_pb2, hook_pb2, mission_pb2, policy_pb2, privacy_pb2, statistics_pb2
from tests.hook_folders import files_of
from tests.tenant_world import Things, document_of, step_of

Request = Callable[[Things], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a method may show people of another tenant."""

    requests: Sequence[Request]  # each addresses the same thing; a stream of requests is a list
    answered: bool = False  # whether it is answered at all; about its caller's own things, then
    of_site: bool = False  # whether it is for the people alone who run the gateway
    by_anybody: bool = False  # whether it needs no credential
    volatile: tuple[str, ...] = ()  # fields of a response that are not the same twice
    taken: str = ""  # the reason with which the thing that is there is refused, where that has to differ


def _mission(message: Any, **more: Any) -> Rule:
    """Return the rule of a method that names a mission, of either state."""
    return Rule(
        requests=(lambda of: message(mission_id=of.mission, **more), lambda of: message(mission_id=of.waiting, **more))
    )


def _shared(*requests: Request) -> Rule:
    """Return the rule of what is of the site: nothing of it is another tenant's."""
    return Rule(requests=requests, of_site=True)


def _publication(of: Things) -> list[Any]:
    files = files_of("free_name" if of.tenant == "nowhere" else of.hook, of.version)
    header = hook_pb2.PublishHookHeader(manifest=files.manifest, schema=files.schema, signature=files.signature)
    return [hook_pb2.PublishHookRequest(header=header), hook_pb2.PublishHookRequest(module=files.module)]


def _decides(of: Things, mission: str, approval: str, verdict: int) -> Any:
    return mission_pb2.DecideApprovalRequest(
        mission_id=mission,
        approval_id=approval,
        digest=of.digest,
        verdict=verdict,  # type: ignore[arg-type]
    )


def _kind(of: Things) -> bytes:
    """Return a mission that would use a hook."""
    return document_of("mine", step_of("a", of.hook))


_FILTER = audit_pb2.EventFilter
_APPROVE, _DENY = mission_pb2.APPROVAL_VERDICT_APPROVE, mission_pb2.APPROVAL_VERDICT_DENY
_OWN_MISSION = "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0009"  # is nobody's

RULES: dict[str, Rule] = {
    # --- missions ---
    "gateway.v1.MissionService/SubmitMission": Rule(
        requests=(
            lambda of: mission_pb2.SubmitMissionRequest(
                request_id=of.request_id, document=document_of("mine", step_of("a"))
            ),
            lambda of: mission_pb2.SubmitMissionRequest(request_id=of.hook, document=_kind(of)),
        ),
        answered=True,
        volatile=("mission_id", "created", "decision"),
    ),
    "gateway.v1.MissionService/PlanMission": Rule(
        requests=(lambda of: mission_pb2.PlanMissionRequest(document=_kind(of)),), answered=True
    ),
    "gateway.v1.MissionService/CheckDraft": Rule(
        requests=(lambda of: mission_pb2.CheckDraftRequest(document=_kind(of)),), answered=True
    ),
    "gateway.v1.MissionService/GetMission": _mission(mission_pb2.GetMissionRequest, include_mission=True),
    "gateway.v1.MissionService/ListMissions": Rule(
        requests=(
            lambda _: mission_pb2.ListMissionsRequest(),
            lambda of: mission_pb2.ListMissionsRequest(page_token=of.mission_token),
        ),
        answered=True,
        volatile=("missions",),  # its own grow meanwhile
    ),
    "gateway.v1.MissionService/WatchMission": _mission(mission_pb2.WatchMissionRequest),
    "gateway.v1.MissionService/CancelMission": _mission(mission_pb2.CancelMissionRequest, reason="not mine"),
    "gateway.v1.MissionService/PauseMission": _mission(mission_pb2.PauseMissionRequest, reason="not mine"),
    "gateway.v1.MissionService/ResumeMission": _mission(mission_pb2.ResumeMissionRequest),
    "gateway.v1.MissionService/RetryMission": _mission(mission_pb2.RetryMissionRequest, repeat_in_doubt=True),
    "gateway.v1.MissionService/DecideApproval": Rule(
        requests=(
            lambda of: _decides(of, of.waiting, of.approval, _APPROVE),
            lambda of: _decides(of, of.waiting, of.approval, _DENY),
            lambda of: _decides(of, of.mission, of.approval, _APPROVE),
            lambda of: _decides(of, _OWN_MISSION, of.approval, _APPROVE),
        ),
    ),
    "gateway.v1.MissionService/ListApprovals": Rule(
        requests=(
            lambda of: mission_pb2.ListApprovalsRequest(mission_id=of.waiting),
            lambda of: mission_pb2.ListApprovalsRequest(mission_id=of.mission, pending_only=True),
        )
    ),
    "gateway.v1.MissionService/WatchResults": _mission(mission_pb2.WatchResultsRequest, follow=True),
    # --- the log ---
    "gateway.v1.AuditService/GetCheckpoint": Rule(
        requests=(lambda _: audit_pb2.GetCheckpointRequest(),),
        answered=True,
        volatile=("checkpoint", "witnessed"),  # of the log that all share: hashes show no event
    ),
    "gateway.v1.AuditService/GetVerifierKeys": Rule(
        requests=(lambda _: audit_pb2.GetVerifierKeysRequest(),), answered=True
    ),
    "gateway.v1.AuditService/ProveConsistency": Rule(
        requests=(lambda _: audit_pb2.ProveConsistencyRequest(old_size=1, new_size=2),), answered=True
    ),
    "gateway.v1.AuditService/ReadEvents": Rule(
        requests=(lambda of: audit_pb2.ReadEventsRequest(start=of.seq, count=1),)
    ),
    "gateway.v1.AuditService/QueryEvents": Rule(
        requests=(
            lambda of: audit_pb2.QueryEventsRequest(mission_id=of.mission),
            lambda of: audit_pb2.QueryEventsRequest(filter=_FILTER(principal=of.pseudonym)),
            lambda of: audit_pb2.QueryEventsRequest(filter=_FILTER(principal=f"{of.tenant}/{of.subject}")),
            lambda of: audit_pb2.QueryEventsRequest(filter=_FILTER(decision_id=of.decision)),
            lambda of: audit_pb2.QueryEventsRequest(mission_id=of.mission, scope=audit_pb2.AUDIT_SCOPE_LOG),
        ),
        answered=True,
        volatile=("events", "next_seq"),  # its own reads, and the size of the log, which a checkpoint tells as well
    ),
    "gateway.v1.AuditService/ProveInclusion": Rule(
        requests=(
            lambda of: audit_pb2.ProveInclusionRequest(seq=of.seq),
            lambda of: audit_pb2.ProveInclusionRequest(event_id=of.event_id),
        )
    ),
    "gateway.v1.AuditService/ReplayMission": _mission(audit_pb2.ReplayMissionRequest),
    # --- hooks ---
    "gateway.v1.HookService/PublishHook": Rule(
        requests=(_publication,),
        answered=True,
        taken="HOOK_NAME_TAKEN",  # names are one space: whoever can sign a hook can find that one is not free
        volatile=("hook", "created"),
    ),
    "gateway.v1.HookService/ListHooks": Rule(
        requests=(
            lambda _: hook_pb2.ListHooksRequest(),
            lambda of: hook_pb2.ListHooksRequest(page_token=of.hook_token),
        ),
        answered=True,
        volatile=("hooks",),
    ),
    "gateway.v1.HookService/GetHook": Rule(
        requests=(
            lambda of: hook_pb2.GetHookRequest(name=of.hook),
            lambda of: hook_pb2.GetHookRequest(name=of.hook, version=of.version),
        )
    ),
    "gateway.v1.HookService/EnableHook": _shared(
        lambda of: hook_pb2.EnableHookRequest(name=of.hook, version=of.version)
    ),
    "gateway.v1.HookService/DisableHook": _shared(lambda of: hook_pb2.DisableHookRequest(name=of.hook)),
    "gateway.v1.HookService/RollbackHook": _shared(lambda of: hook_pb2.RollbackHookRequest(name=of.hook)),
    # --- policy: the site's, and no tenant's ---
    "gateway.v1.PolicyService/Evaluate": _shared(
        lambda of: policy_pb2.EvaluateRequest(entrypoint="rpc", document=b"{}", bundle=of.bundle, explain=True)
    ),
    "gateway.v1.PolicyService/PublishBundle": _shared(lambda _: [policy_pb2.PublishBundleRequest(archive=b"x")]),
    "gateway.v1.PolicyService/ListBundles": _shared(lambda _: policy_pb2.ListBundlesRequest()),
    "gateway.v1.PolicyService/GetPolicyStatus": _shared(lambda _: policy_pb2.GetPolicyStatusRequest()),
    "gateway.v1.PolicyService/ActivateBundle": _shared(lambda of: policy_pb2.ActivateBundleRequest(bundle=of.bundle)),
    "gateway.v1.PolicyService/RollbackBundle": _shared(lambda of: policy_pb2.RollbackBundleRequest(digest=of.bundle)),
    "gateway.v1.PolicyService/FollowSource": _shared(lambda _: policy_pb2.FollowSourceRequest(allow_older=True)),
    "gateway.v1.PolicyService/ReplayDecisions": _shared(
        lambda of: policy_pb2.ReplayDecisionsRequest(bundle=of.bundle, mission_id=of.mission)
    ),
    # --- statistics: a tenant's own, but for what rules have used, which is of all ---
    "gateway.v1.StatisticsService/GetStatistics": Rule(
        requests=(lambda _: statistics_pb2.GetStatisticsRequest(),),
        answered=True,
        volatile=("since", "until", "missions", "steps"),
    ),
    "gateway.v1.StatisticsService/ListExecutions": Rule(
        requests=(
            lambda _: statistics_pb2.ListExecutionsRequest(),
            lambda of: statistics_pb2.ListExecutionsRequest(page_token=of.step_token),
        ),
        answered=True,
        volatile=("executions",),  # its own grow meanwhile
    ),
    "gateway.v1.StatisticsService/GetConstraintStatistics": _shared(
        lambda _: statistics_pb2.GetConstraintStatisticsRequest()
    ),
    # --- people ---
    "gateway.v1.PrivacyService/EraseMission": _mission(privacy_pb2.EraseMissionRequest),
    "gateway.v1.PrivacyService/EraseSubject": Rule(
        requests=(
            lambda of: privacy_pb2.EraseSubjectRequest(tenant=of.tenant, subject=of.subject),
            lambda of: privacy_pb2.EraseSubjectRequest(subject=of.subject),
        )
    ),
    "gateway.v1.PrivacyService/LookupSubject": Rule(
        requests=(
            lambda of: privacy_pb2.LookupSubjectRequest(pseudonym=of.pseudonym),
            lambda of: privacy_pb2.LookupSubjectRequest(
                name=privacy_pb2.SubjectName(tenant=of.tenant, subject=of.subject)
            ),
            lambda of: privacy_pb2.LookupSubjectRequest(name=privacy_pb2.SubjectName(subject=of.subject)),
        )
    ),
    # --- what is not ours ---
    "grpc.health.v1.Health/Check": Rule(
        requests=(lambda _: health_pb2.HealthCheckRequest(),), answered=True, by_anybody=True
    ),
    "grpc.health.v1.Health/Watch": Rule(
        requests=(lambda _: health_pb2.HealthCheckRequest(),), answered=True, by_anybody=True
    ),
    "grpc.health.v1.Health/List": Rule(requests=(lambda _: health_pb2.HealthListRequest(),), answered=True),
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule(
        requests=(lambda _: [reflection_pb2.ServerReflectionRequest(list_services="")],), answered=True
    ),
}
