"""The fields of a mission, and how what was read of them becomes values once nothing is wrong."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from engine import fields
from engine.condition import parse_condition
from engine.fields import Field, Reader, read_object
from engine.findings import Findings, Path
from engine.foreach import read_items
from engine.mission import (
    PRIORITY_MAX,
    ForEach,
    Mission,
    MissionConfig,
    MissionLimits,
    MissionStep,
    RestartScope,
    Strategy,
    Supervision,
)
from engine.reference import Reference
from engine.retry import ATTEMPTS_MAX, BASE_MS_MAX, Backoff, RetryPolicy
from engine.values import JsonValue

VERSION: Final = "1.0"


def mission_fields(limits: MissionLimits, steps: Reader) -> Mapping[str, Field]:
    """Return the fields of a mission, of which `steps` reads the steps."""
    version = fields.exactly(VERSION, "mission.bad_version", f'the version must be the string "{VERSION}", in quotes')
    return {
        "version": Field(version, required=True),
        "name": Field(fields.text(limits.text_bytes_max), required=True),
        "description": Field(fields.text(limits.text_bytes_max, may_be_empty=True)),
        "labels": Field(fields.labels(limits.labels_max, limits.text_bytes_max)),
        "config": Field(_config(limits)),
        "variables": Field(fields.variables),
        "steps": Field(steps, required=True),
    }


def step_fields(limits: MissionLimits, step_types: Collection[str]) -> Mapping[str, Field]:
    """Return the fields of a step."""
    return {
        "id": Field(fields.identifier, required=True),
        "name": Field(fields.text(limits.text_bytes_max), required=True),
        "step_type": Field(fields.step_type(step_types), required=True),
        "depends_on": Field(fields.names),
        "when": Field(_condition(limits)),
        "foreach": Field(_foreach(limits)),
        "timeout_seconds": Field(fields.seconds(limits.step_timeout_seconds_max)),
        "continue_on_error": Field(fields.boolean),
        "retry": Field(_object(_RETRY)),
        "idempotent": Field(fields.boolean),
        "profile": Field(fields.identifier),
        "parameters": Field(fields.json_object, required=True),
    }


_RETRY: Final = {
    "max_attempts": Field(fields.count(ATTEMPTS_MAX)),
    "backoff": Field(fields.one_of(Backoff)),
    "base_ms": Field(fields.count(BASE_MS_MAX, minimum=0)),
    "jitter": Field(fields.boolean),
}


def _object(members: Mapping[str, Field]) -> Reader:
    return lambda value, path, findings: read_object(value, path, members, findings)


def _config(limits: MissionLimits) -> Reader:
    read = _object(
        {
            "timeout_seconds": Field(fields.seconds(limits.mission_timeout_seconds_max)),
            "fail_fast": Field(fields.boolean),
            "parallel_limit": Field(fields.count(limits.parallel_limit_max)),
            "strategy": Field(fields.one_of(Strategy)),
            "priority": Field(fields.count(PRIORITY_MAX, minimum=0)),
            "concurrency_key": Field(fields.concurrency_key),
            "security_level": Field(fields.identifier),
            "supervision": Field(
                _object(
                    {
                        "strategy": Field(fields.one_of(RestartScope)),
                        "max_restarts": Field(fields.count(limits.restarts_max, minimum=0)),
                        "within_seconds": Field(fields.seconds(limits.mission_timeout_seconds_max)),
                    }
                )
            ),
        }
    )

    def read_config(value: JsonValue, path: Path, findings: Findings) -> dict[str, Any]:
        config: dict[str, Any] = read(value, path, findings)
        scope = config.get("supervision", {}).get("strategy")
        strategy = config.get("strategy", Strategy.PARALLEL)  # None: it is wrong already
        if scope is RestartScope.ONE_FOR_ALL and strategy not in {Strategy.LEVELS, None}:
            message = "one_for_all begins a level anew, so it needs the strategy levels in config.strategy"
            findings.add((*path, "supervision", "strategy"), "mission.needs_levels", message)
        return config

    return read_config


def _condition(limits: MissionLimits) -> Reader:
    nodes_max = limits.condition_nodes_max
    return lambda value, path, findings: parse_condition(value, path, findings, nodes_max=nodes_max)


def _foreach(limits: MissionLimits) -> Reader:
    items_max = limits.items_max
    return _object(
        {
            "items": Field(
                lambda value, path, findings: read_items(value, path, findings, items_max=items_max), required=True
            ),
            "parallel_limit": Field(fields.count(limits.parallel_limit_max)),
        }
    )


_MADE: Final = frozenset({"when", "foreach", "retry"})  # values of their own


def mission_of(members: Mapping[str, Any]) -> Mission:
    """Return the mission of which `mission_fields` has read every member, and found nothing wrong."""
    config = dict(members.get("config", {}))
    if "supervision" in config:
        config["supervision"] = Supervision(**config["supervision"])
    steps = tuple(map(_step, members["steps"]))
    return Mission(**{**members, "config": MissionConfig(**config), "steps": steps})


def _step(members: Mapping[str, Any]) -> MissionStep:
    if _MADE.isdisjoint(members):
        return MissionStep(**members)
    values = dict(members)
    if "when" in values:
        values["when"] = values["when"].document
    if "foreach" in values:
        values["foreach"] = _fan_out(**values["foreach"])
    if "retry" in values:
        values["retry"] = RetryPolicy(**values["retry"])
    return MissionStep(**values)


def _fan_out(items: Reference | Sequence[JsonValue], parallel_limit: int | None = None) -> ForEach:
    written = str(items) if isinstance(items, Reference) else list(items)
    return ForEach(items=written, parallel_limit=parallel_limit)
