"""Puts the screens, rewrites and observers of a configuration in their places, each with its scope and its profile."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from gateway.config import HookConfig
from gateway.errors import HookRefusedError
from gateway.hookset import PLACED_MAX, PlacedHook
from gateway.sandbox.abi_hooks import ANSWER_BYTES_MAX
from gateway.sandbox.hooks import Hook, load_hook, shipped_hooks
from gateway.sandbox.profile import Profile

SETTINGS_BYTES_MAX: Final = 16 * 1024  # of one hook, as JSON


def load_site_hooks(home: Path, entries: Sequence[HookConfig]) -> list[tuple[HookConfig, Hook]]:
    """Return the hooks of a configuration, as loaded, each with its entry.

    Raises:
        HookRefusedError: as `load_hook`; `hook.unknown_builtin`; the message names the entry.
    """
    shipped = shipped_hooks() if any(entry.builtin is not None for entry in entries) else {}
    return [(entry, _load(home, at, entry, shipped)) for at, entry in enumerate(entries)]


def place_hooks(
    loaded: Sequence[tuple[HookConfig, Hook]], profiles: Mapping[str, Profile], step_types: Collection[str]
) -> tuple[PlacedHook, ...]:
    """Return those that are no step kinds, in their places.

    Args:
        loaded: all hooks of the configuration.
        profiles: of the bundle's data.
        step_types: the kinds there are, so that a mistyped one cannot leave a screen without anything to do.

    Raises:
        HookRefusedError: `hook.misplaced`, `hook.duplicate`, `hook.unknown_profile`, `hook.unknown_step_type`,
            `hook.bad_settings`, `hook.too_many`; the message names the entry.
    """
    placed: dict[str, PlacedHook] = {}
    for at, (entry, hook) in enumerate(loaded):
        field = f"hooks[{at}]"
        if hook.kind == "step":
            if entry.is_placed:
                raise _refused("misplaced", field, f"{hook.name!r} is a step kind: it has no order, scope or settings")
            continue
        if hook.name in placed:
            raise _refused("duplicate", field, f"there are two hooks named {hook.name!r}")
        placed[hook.name] = _place(entry, hook, profiles, step_types, field)
    if len(placed) > PLACED_MAX:
        raise _refused("too_many", "hooks", f"at most {PLACED_MAX} may be screens, rewrites and observers")
    return tuple(placed.values())


def _load(home: Path, at: int, entry: HookConfig, shipped: Mapping[str, Hook]) -> Hook:
    field = f"hooks[{at}]"
    if entry.builtin is not None:
        if entry.builtin not in shipped:
            known = ", ".join(sorted(shipped))
            raise _refused("unknown_builtin", field, f"no hook of the package is {entry.builtin!r}; there are {known}")
        return shipped[entry.builtin]
    path = entry.path or ""
    try:
        return load_hook(home / path, sha256=entry.sha256)
    except HookRefusedError as error:
        raise HookRefusedError(f"{field}: {path}: {error.message}", code=error.code, field=field) from error


def _place(
    entry: HookConfig, hook: Hook, profiles: Mapping[str, Profile], step_types: Collection[str], field: str
) -> PlacedHook:
    profile = profiles.get(entry.profile or hook.profile)
    if profile is None:
        raise _refused("unknown_profile", field, f"there is no profile {entry.profile or hook.profile!r}")
    if unknown := sorted(set(entry.step_types) - set(step_types)):
        raise _refused("unknown_step_type", field, f"there is no step kind {unknown[0]!r}")
    constraints = profile.constraints
    if hook.kind != "rewrite":
        constraints = constraints.narrow_by({"output_bytes_max": ANSWER_BYTES_MAX})
    return PlacedHook(
        hook=hook,
        profile=profile,
        constraints=constraints,
        order=entry.order,
        step_types=frozenset(entry.step_types),
        labels=dict(entry.labels),
        settings=_settings(entry, field),
    )


def _settings(entry: HookConfig, field: str) -> bytes:
    """Return what a site gives a hook, as JSON: what JSON cannot say, such as a date or a NaN, is refused."""
    try:
        settings = orjson.dumps(entry.settings, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        raise _refused("bad_settings", field, f"the settings are no JSON: {error}") from error
    if orjson.loads(settings) != entry.settings:
        raise _refused("bad_settings", field, "the settings are no JSON: a number is not finite")
    if len(settings) > SETTINGS_BYTES_MAX:
        raise _refused("bad_settings", field, f"the settings have more than {SETTINGS_BYTES_MAX} bytes as JSON")
    return settings


def _refused(rule: str, field: str, message: str) -> HookRefusedError:
    return HookRefusedError(f"{field}: {message}", code=f"hook.{rule}", field=field)
