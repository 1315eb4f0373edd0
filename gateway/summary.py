"""A mission in a few kilobytes, for screens and observers: 10,000 bare steps are 1.4 MB, which no small profile holds.

Every list is bounded. What is left out of one is counted beside it, so that a screen can deny upon it.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import orjson

from engine.mission import Mission, MissionStep
from engine.reference import has_reference
from engine.values import JsonValue
from gateway.effects.target import HttpTarget
from gateway.errors import EffectError
from gateway.hookset import Subject
from gateway.identity import Principal
from gateway.policy.document import config_document, runs_of
from gateway.stages import SanitizedMission

NAMES_MAX: Final = 256  # of one list


def mission_subject(sanitized: SanitizedMission) -> Subject:
    """Return the mission as the scopes of hooks see it."""
    mission = sanitized.plan.mission
    return Subject(step_types=frozenset(step.step_type for step in mission.steps), labels=mission.labels)


def mission_summary(caller: Principal, sanitized: SanitizedMission) -> bytes:
    """Return the document of a mission for screens and observers (wasm-hooks/abi.md)."""
    mission = sanitized.plan.mission
    kinds = Counter(step.step_type for step in mission.steps)
    told = sorted(kinds)[:NAMES_MAX]
    hosts, hosts_unknown = _hosts(mission)
    summary: dict[str, object] = {
        "name": mission.name,
        "digest": sanitized.digest,
        "labels": dict(mission.labels),
        "config": config_document(mission.config),
        "security_level": sanitized.level.name,
        "steps": len(mission.steps),
        "edges": sum(len(step.depends_on) for step in mission.steps),
        "levels": len(sanitized.plan.graph.levels),
        "runs": sum(runs_of(step) for step in mission.steps),
        "kinds": {kind: kinds[kind] for kind in told},
        "kinds_truncated": len(kinds) - len(told),
        **_listed("hosts", hosts),
        "hosts_unknown": hosts_unknown,
        **_listed("profiles", {step.profile for step in mission.steps if step.profile is not None}),
        "conditional": sum(step.when is not None for step in mission.steps),
        "fan_out": sum(step.foreach is not None for step in mission.steps),
        "taint": sorted(frozenset().union(*sanitized.taint)),
    }
    return orjson.dumps({"principal": caller.document(), "mission": summary})


def _hosts(mission: Mission) -> tuple[set[str], int]:
    """Return the hosts that the parameter `url` of steps names, and how many steps have one that is not known yet."""
    hosts: set[str] = set()
    unknown = 0
    for step in mission.steps:
        url = step.parameters.get("url")
        if url is None:
            continue
        host = _host(step)
        if host:
            hosts.add(host)
        else:
            unknown += 1
    return hosts, unknown


def _host(step: MissionStep) -> str:
    """Return the host of a step's `url`; "" where it holds a reference, wherever in it, or is no URL."""
    url = step.parameters["url"]
    if not isinstance(url, str) or has_reference(url):
        return ""
    try:
        return HttpTarget.parse(url).host
    except EffectError:
        return ""


def _listed(name: str, values: Iterable[str]) -> dict[str, JsonValue]:
    """Return the first names in their order, and how many more there are."""
    ordered = sorted(values)
    told: list[JsonValue] = list(ordered[:NAMES_MAX])
    return {name: told, f"{name}_truncated": len(ordered) - len(told)}
