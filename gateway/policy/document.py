"""The four input documents of policy, version 1, as bytes.

The fields are those of `policies/schemas/*.json` and docs/policy.md. Documents are built here and nowhere else,
so that a rule can rely on their shape. Values are JSON values that the engine has parsed or a module has returned;
orjson refuses integers beyond 64 bits, which regorus would round.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import orjson

from engine.mission import Mission, MissionStep
from engine.plan import Plan
from engine.values import JsonObject
from gateway.identity import Principal

VERSION: Final = 1


def rpc_document(principal: Principal, *, service: str, method: str, resource: Mapping[str, str]) -> bytes:
    """Return the document of one call; `resource` has the fields that are known before the call runs."""
    return orjson.dumps(
        {
            "version": VERSION,
            "principal": principal.document(),
            "rpc": {"service": service, "method": method},
            "resource": dict(resource),
        }
    )


def mission_document(principal: Principal, plan: Plan, digest: str, taint: Sequence[Collection[str]]) -> bytes:
    """Return the document of a whole plan, before anything runs; references in it are not resolved.

    Args:
        principal: who asks.
        plan: the mission, validated.
        digest: `plan.mission.digest()`, which the caller has already.
        taint: source labels by step index.
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
                "config": {
                    "timeout_seconds": mission.config.timeout_seconds,
                    "fail_fast": mission.config.fail_fast,
                    "parallel_limit": mission.config.parallel_limit,
                },
                "variables": mission.variables,
                "steps": [_planned(step, labels) for step, labels in zip(mission.steps, taint, strict=True)],
                "levels": len(plan.graph.levels),
            },
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
    attempt: int = 1,
) -> bytes:
    """Return the document of one ready step; `parameters` are resolved and sanitized, `attempt` counts from 1."""
    return orjson.dumps(_step(principal, mission_id, mission, step, profile, parameters, taint, attempt))


def effect_document(
    principal: Principal,
    mission_id: str,
    mission: Mission,
    step: MissionStep,
    *,
    profile: str,
    parameters: JsonObject,
    taint: Collection[str],
    op: str,
    index: int,
    args: JsonObject,
    attempt: int = 1,
) -> bytes:
    """Return the document of one effect: the step's, and what the step asks the host to do.

    `index` counts from 0 over all effects of the attempt; `args` are sanitized, and completed by the host
    (`gateway.effects.described`).
    """
    document = _step(principal, mission_id, mission, step, profile, parameters, taint, attempt)
    document["effect"] = {"op": op, "index": index, "args": args}
    return orjson.dumps(document)


def _planned(step: MissionStep, taint: Collection[str]) -> dict[str, object]:
    return {
        "id": step.id,
        "name": step.name,
        "step_type": step.step_type,
        "profile": step.profile,  # null: the kind's own
        "depends_on": step.depends_on,
        "parameters": step.parameters,
        "taint": sorted(taint),
    }


def _step(
    principal: Principal,
    mission_id: str,
    mission: Mission,
    step: MissionStep,
    profile: str,
    parameters: JsonObject,
    taint: Collection[str],
    attempt: int,
) -> dict[str, object]:
    return {
        "version": VERSION,
        "principal": principal.document(),
        "mission": {"id": mission_id, "name": mission.name, "labels": dict(mission.labels)},
        "step": {
            "id": step.id,
            "name": step.name,
            "step_type": step.step_type,
            "profile": profile,
            "attempt": attempt,
        },
        "parameters": parameters,
        "taint": sorted(taint),
    }
