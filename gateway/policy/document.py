"""The four input documents of policy, version 1, as bytes.

The fields are those of `policies/schemas/*.json` and docs/policy.md. Documents are built here and nowhere else,
so that a rule can rely on their shape. Values are JSON values that the engine has parsed or a module has returned;
orjson refuses integers beyond 64 bits, which regorus would round.

`time` is the minute in which a decision is taken. It is a minute, so that a decision that was kept is right for as long
as its document stays the same, and it is in the document, so that a policy needs no clock and can be asked again later.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson

from engine.mission import Mission, MissionConfig, MissionStep
from engine.plan import Plan
from engine.values import JsonObject, JsonValue
from gateway.identity import Principal
from gateway.vault.step_secrets import declared_secrets

VERSION: Final = 1
_SECRET: Final = b"secret "
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def time_document(now: datetime) -> dict[str, str | int]:
    """Return the minute of `now`, in UTC, in the forms that a rule compares: texts, a weekday, whole numbers."""
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    return {
        "rfc3339": minute.isoformat()[:-6] + "Z",  # -6: isoformat spells UTC as +00:00
        "weekday": WEEKDAYS[minute.weekday()],
        "minute_of_day": minute.hour * 60 + minute.minute,
        "unix_seconds": int(minute.timestamp()),
    }


def rpc_document(
    principal: Principal, *, service: str, method: str, resource: Mapping[str, JsonValue], now: datetime
) -> bytes:
    """Return the document of one call; `resource` has the fields that are known before the call runs."""
    return orjson.dumps(
        {
            "version": VERSION,
            "principal": principal.document(),
            "rpc": {"service": service, "method": method},
            "resource": dict(resource),
            "time": time_document(now),
        }
    )


def mission_document(
    principal: Principal,
    plan: Plan,
    digest: str,
    taint: Sequence[Collection[str]],
    security_level: str,
    *,
    now: datetime,
) -> bytes:
    """Return the document of a whole plan, before anything runs; references in it are not resolved.

    Args:
        principal: who asks.
        plan: the mission, validated.
        digest: `plan.mission.digest()`, which the caller has already.
        taint: source labels by step index.
        security_level: which the mission has, asked for or not.
        now: when the decision is taken.
    """
    mission = plan.mission
    return orjson.dumps(
        {
            "version": VERSION,
            "principal": principal.document(),
            "mission": {
                "name": mission.name,
                "digest": digest,
                "labels": dict(mission.labels),
                "config": config_document(mission.config),
                "security_level": security_level,
                "variables": mission.variables,
                "steps": [
                    _planned(step, labels, declared_secrets(plan, i))
                    for i, (step, labels) in enumerate(zip(mission.steps, taint, strict=True))
                ],
                "levels": len(plan.graph.levels),
                "runs": sum(runs_of(step) for step in mission.steps),
            },
            "approval": None,
            "time": time_document(now),
        }
    )


def step_document(
    principal: Principal,
    mission_id: str,
    mission: Mission,
    step: MissionStep,
    *,
    profile: str,
    parameters: JsonObject,
    taint: Collection[str],
    security_level: str,
    now: datetime,
    attempt: int = 1,
    item: int | None = None,
    secrets: Sequence[str] = (),
) -> bytes:
    """Return the document of one ready step, or of one item of it.

    `parameters` are resolved and sanitized, `attempt` counts from 1, and `item` from 0; `secrets` are the names
    that the step declares, whose handles stand in the parameters; `now` is when the decision is taken.
    """
    document = _step(
        principal, mission_id, mission, step, profile, parameters, taint, security_level, attempt, item, secrets
    )
    document["time"] = time_document(now)
    return orjson.dumps(document)


def effect_document(
    principal: Principal,
    mission_id: str,
    mission: Mission,
    step: MissionStep,
    *,
    profile: str,
    parameters: JsonObject,
    taint: Collection[str],
    security_level: str,
    op: str,
    index: int,
    args: JsonObject,
    now: datetime | None,
    attempt: int = 1,
    item: int | None = None,
    secrets: Sequence[str] = (),
    used: Sequence[str] = (),
) -> bytes:
    """Return the document of one effect: the step's, and what the step asks the host to do.

    `index` counts from 0 over all effects of the step, or of the item; `args` are sanitized, and completed by the host
    (`gateway.effects.described`); `used` are the names of the secrets whose handles stand in `args`; `now` is
    when the decision is taken, None for a document that only says what the effect is, whenever it is asked for.
    """
    document = _step(
        principal, mission_id, mission, step, profile, parameters, taint, security_level, attempt, item, secrets
    )
    document["effect"] = {"op": op, "index": index, "args": args, "secrets": used}
    if now is not None:
        document["time"] = time_document(now)
    return orjson.dumps(document)


def with_approval(document: bytes, approval: JsonObject) -> bytes:
    """Return a document as it is asked about again, once a person has agreed to what it says."""
    return orjson.dumps({**orjson.loads(document), "approval": approval})


def subject_of(document: bytes, handles: Mapping[str, str]) -> JsonObject:
    """Return what a person agrees to where policy wants that: the document, less all that a later look would change.

    That is the time of the decision, the approval itself, and the number of the attempt. `handles` are those that
    stand for secrets, by name: they are others in each attempt, so the names stand there instead, and in a way that
    no text of a client's or a module's can be taken for: a yes to a text must not be one to a secret in its place.
    """
    if handles:
        document = document.replace(_SECRET, _SECRET + b"~")  # no name begins with one
    for name, handle in handles.items():
        document = document.replace(handle.encode(), _SECRET + name.encode() + b"~")
    subject: dict[str, JsonValue] = orjson.loads(document)
    for changing in ("time", "approval"):
        subject.pop(changing, None)
    if isinstance(step := subject.get("step"), dict):
        subject["step"] = {**step, "attempt": 1}
    return subject


def _planned(step: MissionStep, taint: Collection[str], secrets: Sequence[str]) -> dict[str, object]:
    return {
        "id": step.id,
        "name": step.name,
        "step_type": step.step_type,
        "profile": step.profile,  # null: the kind's own
        "depends_on": step.depends_on,
        "conditional": step.when is not None,
        "fan_out": step.foreach is not None,
        "items": _items(step),
        "max_attempts": 1 if step.retry is None else step.retry.max_attempts,
        "idempotent": step.idempotent,
        "parameters": step.parameters,
        "secrets": secrets,
        "taint": sorted(taint),
    }


def _items(step: MissionStep) -> int | None:
    """Return how many items a step is run for; None where it has none, or nobody knows before it is ready."""
    return len(step.foreach.items) if step.foreach is not None and isinstance(step.foreach.items, list) else None


def runs_of(step: MissionStep) -> int:
    """Return how often a step is run as far as the mission says, retries not counted: at least once."""
    return _items(step) or 1


def config_document(config: MissionConfig) -> dict[str, object]:
    """Return how a mission is to be executed, as policy and hooks see it."""
    return {
        "timeout_seconds": config.timeout_seconds,
        "fail_fast": config.fail_fast,
        "parallel_limit": config.parallel_limit,
        "strategy": config.strategy.value,
        "priority": config.priority,
        "concurrency_key": config.concurrency_key,
        "max_restarts": 0 if config.supervision is None else config.supervision.max_restarts,
    }


def _step(
    principal: Principal,
    mission_id: str,
    mission: Mission,
    step: MissionStep,
    profile: str,
    parameters: JsonObject,
    taint: Collection[str],
    security_level: str,
    attempt: int,
    item: int | None,
    secrets: Sequence[str],
) -> dict[str, object]:
    return {
        "version": VERSION,
        "principal": principal.document(),
        "mission": {
            "id": mission_id,
            "name": mission.name,
            "labels": dict(mission.labels),
            "security_level": security_level,
        },
        "step": {
            "id": step.id,
            "name": step.name,
            "step_type": step.step_type,
            "profile": profile,
            "attempt": attempt,
            "item": item,
            "idempotent": step.idempotent,
            "secrets": secrets,
        },
        "parameters": parameters,
        "taint": sorted(taint),
        "approval": None,
    }
