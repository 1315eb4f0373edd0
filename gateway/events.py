"""The types of audit events, and what their `details` hold: digests, codes and counts, never payloads."""

import hashlib
from collections.abc import Sequence
from enum import StrEnum

import orjson

from engine.values import JsonValue
from gateway.errors import Reason


class EventType(StrEnum):
    """Every event that this gateway writes; engine.audit writes `audit.*` of its own."""

    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"
    RPC_DENIED = "rpc.denied"
    LOG_READ = "audit.read"
    MISSION_REFUSED = "mission.refused"
    MISSION_ADMITTED = "mission.admitted"
    MISSION_CANCEL_REQUESTED = "mission.cancel_requested"
    MISSION_ENDED = "mission.ended"
    MISSION_INTERRUPTED = "mission.interrupted"
    STEP_REFUSED = "step.refused"
    STEP_ALLOWED = "step.allowed"
    STEP_ENDED = "step.ended"
    EFFECT_REFUSED = "effect.refused"
    EFFECT_INTENDED = "effect.intended"
    EFFECT_PERFORMED = "effect.performed"
    EFFECT_FAILED = "effect.failed"


def digest(value: object) -> str:
    """Return `sha256:<hex>` of a JSON value's canonical form (sorted keys, no white space), or of bytes as given."""
    raw = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def reasons_document(reasons: Sequence[Reason]) -> list[JsonValue]:
    """Return reasons as they stand in events and decisions."""
    return [{"code": r.code, "message": r.message, "rule": r.rule} for r in reasons]
