"""Of which kind every method is to the limits. Each method of the services has a row (tests/test_complete.py)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.limits.kinds import CallKind

_HEALTH: Final = "grpc.health.v1.Health"

_OF_SERVICES: Final[Mapping[str, Mapping[CallKind, tuple[str, ...]]]] = {
    "gateway.v1.MissionService": {
        CallKind.MUTATION: ("SubmitMission", "RetryMission", "PlanMission", "CheckDraft"),
        CallKind.CONTROL: ("CancelMission", "PauseMission", "ResumeMission", "DecideApproval"),
        CallKind.READ: ("GetMission", "ListMissions", "WatchMission", "ListApprovals", "WatchResults"),
    },
    "gateway.v1.AuditService": {
        CallKind.MUTATION: ("ReplayMission",),
        CallKind.READ: (
            "GetCheckpoint",
            "ReadEvents",
            "QueryEvents",
            "ProveInclusion",
            "ProveConsistency",
            "GetVerifierKeys",
        ),
    },
    "gateway.v1.HookService": {
        CallKind.MUTATION: ("PublishHook", "EnableHook"),
        CallKind.CONTROL: ("DisableHook", "RollbackHook"),
        CallKind.READ: ("ListHooks", "GetHook"),
    },
    "gateway.v1.PolicyService": {
        CallKind.MUTATION: ("Evaluate", "PublishBundle", "ReplayDecisions"),
        CallKind.CONTROL: ("ActivateBundle", "RollbackBundle", "FollowSource"),
        CallKind.READ: ("ListBundles", "GetPolicyStatus"),
    },
    "gateway.v1.StatisticsService": {
        CallKind.READ: ("GetStatistics", "ListExecutions", "GetConstraintStatistics"),
    },
    "gateway.v1.PrivacyService": {
        CallKind.MUTATION: ("EraseMission", "EraseSubject"),
        CallKind.READ: ("LookupSubject",),
    },
}
METHODS: Final[Mapping[tuple[str, str], CallKind]] = MappingProxyType(
    {
        (service, method): kind
        for service, kinds in _OF_SERVICES.items()
        for kind, methods in kinds.items()
        for method in methods
    }
)


def kind_of(service: str, method: str) -> CallKind:
    """Return the kind of a method. What has no row here gives way with new work; reflection is such."""
    if service == _HEALTH:
        return CallKind.HEALTH
    return METHODS.get((service, method), CallKind.MUTATION)
