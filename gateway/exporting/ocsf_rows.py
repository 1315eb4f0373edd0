"""Which class, activity, severity and outcome of OCSF each audit event is; docs/audit-siem.md gives the reasons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from engine.values import JsonObject
from gateway.events import EventType
from gateway.exporting.ocsf_classes import (
    API,
    APPLICATION_ERROR,
    BASE_EVENT,
    DETECTION,
    ENTITY,
    EVENT_LOG,
    LIFECYCLE,
    OTHER,
    Action,
    EventClass,
    Severity,
    Status,
)

_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_FINE: Final = ("Success", "Completed", "Skipped")  # of missions and of steps
_READING: Final = ("Get", "List", "Watch", "Read", "Plan", "Evaluate", "Replay", "Prove", "Export", "Verify", "Follow")
_CREATING: Final = ("Submit", "Publish", "Create", "Check")
_DELETING: Final = ("Delete", "Disable", "Erase", "Forget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one type of event is told."""

    event_class: EventClass
    activity: int
    verb: str = ""  # the activity's name, where its number is OTHER
    status: Callable[[JsonObject], Status] = lambda _: Status.SUCCESS
    severity: Severity = Severity.INFORMATIONAL
    severity_failed: Severity | None = None  # where the status says failure
    action: Callable[[JsonObject], Action | None] = lambda _: None
    operation: str = ""  # of API Activity: what was asked for, where the event itself does not say it
    kind: str = ""  # what the target is: a resource's type, or an entity's


def _failure(_: JsonObject) -> Status:
    return Status.FAILURE


def _pending(_: JsonObject) -> Status:
    return Status.PENDING


def _ended(details: JsonObject) -> Status:
    return Status.SUCCESS if details.get("status") in _FINE else Status.FAILURE


def _stale(details: JsonObject) -> Status:
    return Status.FAILURE if details.get("stale") is not False else Status.SUCCESS


def _allowed(details: JsonObject) -> Action:
    """A yes of a gateway in dry run is one that policy has refused: it is told as observed."""
    return Action.OBSERVED if "would_deny" in details else Action.ALLOWED


def _denied(_: JsonObject) -> Action:
    return Action.DENIED


def _modified(_: JsonObject) -> Action:
    return Action.MODIFIED


def _decided(details: JsonObject) -> Action:
    return Action.ALLOWED if details.get("state") == "approved" else Action.DENIED


def _broken(details: JsonObject) -> Action:
    return Action.OBSERVED if details.get("policy") == "open" else Action.DENIED


def _observed(_: JsonObject) -> Action:
    return Action.OBSERVED


def method_activity(method: str) -> int:
    """Return what a method of the API does, by the verb that its name begins with."""
    if method.startswith(_READING):
        return _READ
    if method.startswith(_CREATING):
        return _CREATE
    return _DELETE if method.startswith(_DELETING) else _UPDATE


def _done(activity: int, operation: str, kind: str, **more: object) -> Row:
    return Row(event_class=API, activity=activity, operation=operation, kind=kind, **more)  # type: ignore[arg-type]


def _other(verb: str, operation: str, kind: str, **more: object) -> Row:
    return _done(OTHER, operation, kind, verb=verb, **more)


def _refused(activity: int, operation: str, kind: str) -> Row:
    verb = "Authorize" if activity == OTHER else ""
    return _done(activity, operation, kind, verb=verb, status=_failure, severity=Severity.MEDIUM, action=_denied)


def _finding(severity: Severity, action: Callable[[JsonObject], Action], kind: str) -> Row:
    return Row(event_class=DETECTION, activity=_CREATE, severity=severity, action=action, kind=kind)


def _log(activity: int, verb: str = "", severity: Severity = Severity.INFORMATIONAL, **more: object) -> Row:
    return Row(event_class=EVENT_LOG, activity=activity, verb=verb, severity=severity, kind="log", **more)  # type: ignore[arg-type]


def _entity(kind: str, activity: int, verb: str = "", /, **more: object) -> Row:
    return Row(event_class=ENTITY, activity=activity, verb=verb, kind=kind, **more)  # type: ignore[arg-type]


_NOT_TAKEN: Final[Mapping[str, object]] = {"status": _failure, "severity": Severity.MEDIUM, "action": _denied}

ROWS: Final[Mapping[str, Row]] = {
    # --- the gateway ---
    EventType.GATEWAY_STARTED: Row(event_class=LIFECYCLE, activity=3, kind="gateway"),
    EventType.GATEWAY_STOPPED: Row(event_class=LIFECYCLE, activity=4, kind="gateway"),
    EventType.GATEWAY_RELOADED: _entity("configuration", _UPDATE, severity=Severity.LOW),
    EventType.RELOAD_REFUSED: _entity("configuration", _UPDATE, "", **_NOT_TAKEN),
    EventType.RPC_DENIED: _refused(_UPDATE, "", "method"),  # the activity is the method's, in this and the next
    EventType.RPC_CALLED: _done(_UPDATE, "", "method"),
    EventType.RPC_UNAUTHENTICATED: _refused(OTHER, "rpc", "gate"),
    EventType.LOG_READ: _done(_READ, "", "method"),
    EventType.LOG_REPLAYED: _done(_READ, "mission.replay", "mission"),
    # --- missions ---
    EventType.MISSION_REFUSED: _refused(_CREATE, "mission.submit", "mission"),
    EventType.MISSION_ADMITTED: _done(_CREATE, "mission.submit", "mission", action=_allowed),
    EventType.MISSION_HELD: _other("Hold", "mission.submit", "mission", status=_pending),
    EventType.MISSION_CLEARED: _other("Clear", "mission.submit", "mission", action=_allowed),
    EventType.MISSION_CANCEL_REQUESTED: _done(_UPDATE, "mission.cancel", "mission"),
    EventType.MISSION_PAUSED: _done(_UPDATE, "mission.pause", "mission"),
    EventType.MISSION_UNPAUSED: _done(_UPDATE, "mission.resume", "mission"),
    EventType.MISSION_ENDED: _other("End", "mission.run", "mission", status=_ended, severity_failed=Severity.LOW),
    EventType.MISSION_RETRIED: _done(_UPDATE, "mission.retry", "mission", action=_allowed),
    EventType.MISSION_SUSPENDED: _other("Suspend", "mission.run", "mission", status=_pending),
    EventType.MISSION_RESUMED: _other("Resume", "mission.run", "mission", action=_allowed),
    EventType.STEPS_KEPT: _other("Keep", "mission.recover", "mission"),
    EventType.EFFECTS_KEPT: _other("Keep", "mission.recover", "mission", severity=Severity.LOW),
    EventType.MISSION_INTERRUPTED: _other(
        "Interrupt", "mission.recover", "mission", status=_failure, severity=Severity.MEDIUM
    ),
    EventType.MISSION_PRUNED: _done(_DELETE, "mission.prune", "missions"),
    "mission.erased": _done(_DELETE, "mission.erase", "mission", severity=Severity.LOW),
    "mission.erasure_ended": _done(_DELETE, "mission.erase", "mission"),
    # --- steps ---
    EventType.STEP_REFUSED: _refused(OTHER, "step.run", "step"),
    EventType.STEP_HELD: _other("Hold", "step.run", "step", status=_pending),
    EventType.STEP_ALLOWED: _other("Authorize", "step.run", "step", action=_allowed),
    EventType.OUTPUT_REWRITTEN: _done(_UPDATE, "step.output", "step", action=_modified),
    EventType.RESULT_REUSED: _done(_READ, "step.result", "step"),
    EventType.OUTPUT_REDACTED: _done(_UPDATE, "step.output", "step", action=_modified),
    EventType.STEP_ENDED: _other("End", "step.run", "step", status=_ended, severity_failed=Severity.LOW),
    EventType.STEP_SKIPPED: _other("Skip", "step.run", "mission", status=_failure, severity=Severity.LOW),
    # --- effects ---
    EventType.EFFECT_REFUSED: _refused(OTHER, "effect", "step"),
    EventType.EFFECT_HELD: _other("Hold", "effect", "step", status=_pending),
    EventType.EFFECT_ALLOWED: _other("Authorize", "effect", "step", action=_allowed),
    EventType.EFFECT_INTENDED: _other("Intend", "effect", "step", status=_pending),
    EventType.EFFECT_PERFORMED: _other("Perform", "effect", "step"),
    EventType.EFFECT_REPLAYED: _other("Replay", "effect", "step"),
    EventType.EFFECT_FAILED: _other("Perform", "effect", "step", status=_failure, severity=Severity.LOW),
    # --- people ---
    EventType.APPROVAL_REQUESTED: _done(_CREATE, "approval.request", "approval", status=_pending),
    EventType.APPROVAL_DECIDED: _other("Decide", "approval.decide", "approval", action=_decided),
    EventType.APPROVAL_REFUSED: _refused(_UPDATE, "approval.decide", "approval"),
    # --- rules ---
    EventType.CONSTRAINT_VIOLATED: _finding(Severity.HIGH, _broken, "step"),
    EventType.HOOK_FAILED_OPEN: _finding(Severity.HIGH, _observed, "hook"),
    EventType.HOOK_PUBLISHED: _entity("hook", _CREATE),
    EventType.HOOK_PUBLISH_REFUSED: _entity("hook", _CREATE, "", **_NOT_TAKEN),
    EventType.HOOK_ENABLED: _entity("hook", 8, severity=Severity.LOW),
    EventType.HOOK_DISABLED: _entity("hook", 9, severity=Severity.MEDIUM),
    EventType.HOOK_ROLLED_BACK: _entity("hook", _UPDATE, severity=Severity.LOW),
    EventType.BUNDLE_PUBLISHED: _entity("policy", _CREATE),
    EventType.BUNDLE_ASKED: _entity("policy", 10, status=_pending),
    EventType.BUNDLE_ACTIVATED: _entity("policy", 10, severity=Severity.LOW),
    EventType.BUNDLE_REFUSED: _entity("policy", 10, "", **_NOT_TAKEN),
    EventType.SHADOW_DISAGREED: _entity("policy", OTHER, "Compare", severity=Severity.LOW, action=_observed),
    EventType.BUNDLE_STALE: Row(
        event_class=APPLICATION_ERROR, activity=1, status=_stale, severity_failed=Severity.MEDIUM, kind="policy"
    ),
    # --- persons ---
    "subject.erased": _entity("user", _DELETE, severity=Severity.LOW),
    "subject.erasure_ended": _entity("user", _DELETE),
    "subject.looked_up": _entity("user", _READ, severity=Severity.LOW),
    # --- the log ---
    EventType.DECISION_LOG_DROPPED: _log(OTHER, "Drop", Severity.HIGH, status=_failure),
    EventType.EXPORT_GAP: _log(3, severity=Severity.HIGH, status=_failure),
    EventType.EXPORT_STOPPED: _log(7, severity=Severity.CRITICAL, status=_failure),
    EventType.WITNESS_REFUSED: _finding(Severity.CRITICAL, _observed, "log"),
    EventType.ANCHOR_REFUSED: _finding(Severity.CRITICAL, _observed, "log"),
    "audit.opened": _log(6),
    "audit.recovered": _log(8, severity=Severity.MEDIUM),
    "audit.heartbeat": _log(OTHER, "Heartbeat"),
    "audit.stopped": _log(7, severity=Severity.CRITICAL, status=_failure),
    "audit.pruned": _log(2, severity=Severity.LOW),
    "audit.key_rotated": _entity("key", _UPDATE, severity=Severity.MEDIUM),
}
"""Every event of the gateway, and the log's own."""

UNKNOWN: Final = Row(event_class=BASE_EVENT, activity=OTHER, verb="Unmapped")
"""What an event is that a newer release has written: told all the same, and never left out."""
