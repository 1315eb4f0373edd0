"""Policy documents for tests and benchmarks: the shapes of `policies/schemas`, with plain contents."""

from collections.abc import Sequence
from typing import Any

import orjson

KINDS = ("transform", "create_file", "http")
TIME = {"rfc3339": "2026-11-26T14:35:00Z", "weekday": "thursday", "minute_of_day": 875, "unix_seconds": 1_795_703_700}


def principal(roles: Sequence[str] = ("submitter",), *, anonymous: bool = False) -> dict[str, Any]:
    """Return Ann of the red tenant."""
    return {"subject": "ann", "tenant": "red", "roles": list(roles), "anonymous": anonymous}


def rpc(service: str, method: str, *, roles: Sequence[str] = ("submitter",), **resource: str) -> bytes:
    """Return the document of a call."""
    return orjson.dumps(
        {
            "version": 1,
            "principal": principal(roles),
            "rpc": {"service": service, "method": method},
            "resource": resource,
            "time": TIME,
        }
    )


def mission(steps: int, *, roles: Sequence[str] = ("submitter",)) -> bytes:
    """Return the document of a chain of `steps` steps of three kinds."""
    return orjson.dumps(
        {
            "version": 1,
            "principal": principal(roles),
            "mission": {
                "name": "nightly",
                "digest": "sha256:" + "0" * 64,
                "labels": {"team": "red"},
                "config": {
                    "timeout_seconds": 3600.0,
                    "fail_fast": True,
                    "parallel_limit": 16,
                    "strategy": "parallel",
                    "priority": 5,
                    "concurrency_key": None,
                    "max_restarts": 0,
                },
                "security_level": "balanced",
                "variables": {},
                "steps": [
                    {
                        "id": f"s{i}",
                        "name": f"Step {i}",
                        "step_type": KINDS[i % 3],
                        "profile": None,
                        "depends_on": [f"s{i - 1}"] if i else [],
                        "conditional": False,
                        "fan_out": False,
                        "items": None,
                        "max_attempts": 1,
                        "idempotent": False,
                        "parameters": {"path": "out/x", "content": "text"},
                        "secrets": [],
                        "taint": ["client"],
                    }
                    for i in range(steps)
                ],
                "levels": steps,
                "runs": steps,
            },
            "approval": None,
            "time": TIME,
        }
    )


def step(
    kind: str, parameters: dict[str, Any], *, roles: Sequence[str] = ("submitter",), profile: str = "wasm"
) -> bytes:
    """Return the document of a step."""
    return orjson.dumps({**_step(kind, parameters, roles, profile), "time": TIME})


def effect(kind: str, op: str, args: dict[str, Any]) -> bytes:
    """Return the document of an effect."""
    return orjson.dumps(
        {
            **_step(kind, {}, ("submitter",), "wasm"),
            "effect": {"op": op, "index": 0, "args": args, "secrets": []},
            "time": TIME,
        }
    )


def _step(kind: str, parameters: dict[str, Any], roles: Sequence[str], profile: str) -> dict[str, Any]:
    return {
        "version": 1,
        "principal": principal(roles),
        "mission": {"id": "m1", "name": "nightly", "labels": {"team": "red"}, "security_level": "balanced"},
        "step": {
            "id": "a",
            "name": "A",
            "step_type": kind,
            "profile": profile,
            "attempt": 1,
            "item": None,
            "idempotent": False,
            "secrets": [],
        },
        "parameters": parameters,
        "taint": ["client"],
        "approval": None,
    }
