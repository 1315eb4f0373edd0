"""The key of an effect: what makes two requests the same act.

It is made with the key of the mission: it stands in the log, beside all that it is made of but the arguments, and is
sent to other servers, so that a plain digest would let anybody guess those.

The attempt is no part of it. A step that is tried again asks with the same key, so a journal, or the service at the
other end (`Idempotency-Key`), can tell a repetition from a second wish.
"""

from typing import Final

import orjson

from engine.values import JsonObject
from gateway.commitments import Commitments

_DOMAIN: Final = "missiongate/effect/v2"


def effect_key(
    commitments: Commitments,
    *,
    mission_id: str,
    step_id: str,
    effect_index: int,
    op: str,
    args: JsonObject,
    foreach_index: int | None = None,
) -> str:
    """Return the key, 64 hex digits: HMAC over the canonical JSON array of everything that identifies the act."""
    identity = [_DOMAIN, mission_id, step_id, foreach_index, effect_index, op, args]
    return commitments.of_effect(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS))
