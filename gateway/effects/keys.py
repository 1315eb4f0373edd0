"""The key of an effect: what makes two requests the same act.

The attempt is no part of it. A step that is tried again asks with the same key, so a journal, or the service at the
other end (`Idempotency-Key`), can tell a repetition from a second wish.
"""

import hashlib
from typing import Final

import orjson

from engine.values import JsonObject

_DOMAIN: Final = "missiongate/effect/v1"


def effect_key(
    *, mission_id: str, step_id: str, effect_index: int, op: str, args: JsonObject, foreach_index: int | None = None
) -> str:
    """Return the key, 64 hex digits: SHA-256 over the canonical JSON array of everything that identifies the act."""
    identity = [_DOMAIN, mission_id, step_id, foreach_index, effect_index, op, args]
    return hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()
