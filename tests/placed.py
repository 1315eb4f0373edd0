"""Screens, rewrites and observers for tests: made of nothing, and placed."""

from collections.abc import Mapping
from typing import Any

import orjson

from engine.constraints import ExecutionConstraints
from gateway.hookset import ActiveHook, PlacedHook
from gateway.placing import place
from gateway.sandbox.hooks import Hook
from gateway.sandbox.profile import profiles_from

ALLOW = {"verdict": "allow"}
ABSTAIN = {"verdict": "abstain"}
DENY = {"verdict": "deny", "reasons": [{"code": "site.no", "message": "because"}]}


def profiles(**fields: Any) -> Mapping[str, ExecutionConstraints]:
    """Return profiles of which `fast` has other fields."""
    return profiles_from({"profiles": {"fast": fields}})


def placed(kind: str, at: str, name: str = "hook", *, settings: Any = None, **fields: Any) -> PlacedHook:
    """Return a hook in its place; fields of its profile and of its place by name."""
    own = {key: fields.pop(key) for key in ("order", "step_types", "labels") if key in fields}
    hook = Hook(
        name=name,
        version="1.0.0",
        abi=1,
        kind=kind,
        profile="fast",
        effects=(),
        schema={},
        module=b"",
        sha256="a" * 64,
        at=at,
    )
    active = ActiveHook(hook=hook, settings=orjson.dumps(settings or {}), **own)
    return place(active, profiles(**fields), active.step_types)


def screen(name: str = "hook", at: str = "step", **fields: Any) -> PlacedHook:
    return placed("screen", at, name, **fields)


def rewrite(name: str = "hook", at: str = "parameters", **fields: Any) -> PlacedHook:
    return placed("rewrite", at, name, **fields)


def observer(name: str = "hook", at: str = "output", **fields: Any) -> PlacedHook:
    return placed("observe", at, name, **fields)
