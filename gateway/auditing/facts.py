"""What a line of the log is about: the few values by which events are looked for.

The index holds exactly these, and a scan asks them of each line, so that the two cannot disagree.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from gateway.events import EventType

_OF_MISSIONS: Final = frozenset(
    {"mission", "step", "effect", "approval", "constraint"}
)  # what their targets begin with
_NO_MISSION: Final = frozenset({"", "mission", "missions"})  # targets of events that have none yet, or many
_ALLOWS: Final = frozenset(
    {
        EventType.MISSION_ADMITTED,
        EventType.MISSION_CLEARED,
        EventType.MISSION_RETRIED,
        EventType.MISSION_RESUMED,
        EventType.STEP_ALLOWED,
        EventType.EFFECT_ALLOWED,
    }
)
_DENIES: Final = frozenset(
    {
        EventType.RPC_DENIED,
        EventType.MISSION_REFUSED,
        EventType.MISSION_INTERRUPTED,
        EventType.STEP_REFUSED,
        EventType.EFFECT_REFUSED,
        EventType.APPROVAL_REFUSED,
        EventType.HOOK_PUBLISH_REFUSED,
        EventType.BUNDLE_REFUSED,
    }
)
PLACES_MISSION: Final = frozenset({EventType.MISSION_ADMITTED, EventType.MISSION_RETRIED, EventType.MISSION_RESUMED})
"""Events whose `tenant` is that of their mission, too."""

_TELLS_TENANT: Final = PLACES_MISSION | {
    EventType.MISSION_REFUSED,
    EventType.RPC_DENIED,
    EventType.RPC_CALLED,
    EventType.LOG_READ,
}


class Facts(NamedTuple):
    """What one event is about."""

    seq: int
    event_id: str
    timestamp: str  # as in the line
    event_type: str
    actor: str
    target: str
    missions: tuple[str, ...]  # ids; one, for most events
    tenant: str | None  # whose the event is, where it says so by itself
    decision_id: str | None
    allow: bool | None  # None: it is no yes and no no
    code: str | None


def facts_of(line: bytes) -> Facts:
    """Return what a line, given without LF, is about.

    Raises:
        ValueError: it is no event.
    """
    try:
        event: dict[str, Any] = orjson.loads(line)
        event_type, target, details = event["event_type"], event["target"], event["details"]
        tenant = details.get("tenant") if event_type in _TELLS_TENANT else None
        return Facts(
            event["seq"],
            event["event_id"],
            event["timestamp"],
            event_type,
            event["actor"],
            target,
            _missions_of(event_type, target, details),
            tenant if isinstance(tenant, str) else None,
            _text(details.get("decision_id")),
            _allow_of(event_type, details),
            _code_of(details),
        )
    except (KeyError, TypeError, AttributeError) as error:  # JSON of another shape; orjson's own error is a ValueError
        raise ValueError("the line is no event") from error


def _missions_of(event_type: str, target: str, details: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the missions of an event: of its target `MISSION/STEP[ITEM]`, or those that its details name."""
    if event_type.partition(".")[0] in _OF_MISSIONS or event_type == EventType.LOG_REPLAYED:
        mission = target.partition("/")[0]
        if mission not in _NO_MISSION:
            return (mission,)
        named = details.get("missions")
        if isinstance(named, list):
            return tuple(dict.fromkeys(each for each in named if isinstance(each, str)))
        return ()
    asked = _text(details.get("mission_id"))
    return () if asked is None else (asked,)


def _allow_of(event_type: str, details: Mapping[str, Any]) -> bool | None:
    if event_type in _ALLOWS:
        return True
    if event_type in _DENIES:
        return False
    if event_type == EventType.APPROVAL_DECIDED:
        state = details.get("state")
        return True if state == "approved" else False if state == "denied" else None
    return None


def _code_of(details: Mapping[str, Any]) -> str | None:
    """Return the event's code, or that of the first reason."""
    code = _text(details.get("code"))
    if code is not None:
        return code
    reasons = details.get("reasons")
    if isinstance(reasons, list) and reasons and isinstance(reasons[0], dict):
        return _text(reasons[0].get("code"))
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
