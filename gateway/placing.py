"""From what a configuration says of hooks to hooks in their places, each with its scope and its profile."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine.constraints import ExecutionConstraints
from gateway.config import HookConfig
from gateway.errors import HookRefusedError
from gateway.hookset import ActiveHook, PlacedHook
from gateway.registry.placement import Placement, settings_bytes
from gateway.sandbox.abi_hooks import ANSWER_BYTES_MAX
from gateway.sandbox.hooks import Hook, load_hook, shipped_hooks
from gateway.sandbox.signature import Publisher


def load_site_hooks(
    home: Path, entries: Sequence[HookConfig], publishers: Sequence[Publisher]
) -> tuple[ActiveHook, ...]:
    """Return the hooks of a configuration.

    Raises:
        HookRefusedError: as `load_hook` and `Placement`; `hook.unknown_builtin`; the message names the entry.
    """
    shipped = shipped_hooks() if any(entry.builtin is not None for entry in entries) else {}
    active: list[ActiveHook] = []
    for at, entry in enumerate(entries):
        try:
            placed = _placement(entry).of(_load(home, entry, shipped, publishers))
            active.append(replace(placed, entry=f"hooks[{at}]"))
        except HookRefusedError as error:
            what = entry.builtin or entry.path
            text = f"hooks[{at}]: {what}: {error.message}"
            raise HookRefusedError(text, code=error.code, field=f"hooks[{at}]") from error
    return tuple(active)


def place(active: ActiveHook, profiles: Mapping[str, ExecutionConstraints], step_types: Collection[str]) -> PlacedHook:
    """Return a screen, a rewrite or an observer in its place.

    Args:
        active: the hook, and what an operator has said of it.
        profiles: of the bundle's data.
        step_types: the kinds there are, so that a mistyped one cannot leave a screen without anything to do.

    Raises:
        HookRefusedError: `hook.unknown_profile`, `hook.unknown_step_type`.
    """
    hook = active.hook
    profile = profile_of(active, profiles)
    if unknown := sorted(active.step_types - set(step_types)):
        message = f"hook {hook.name!r}: there is no step kind {unknown[0]!r}"
        raise HookRefusedError(message, code="hook.unknown_step_type", field=active.entry)
    constraints = replace(profile, sampling_rate=1.0, retries_max=0)  # both are up to who runs it
    if hook.kind != "rewrite":
        constraints = constraints.narrow_by({"output_bytes_max": ANSWER_BYTES_MAX})
    return PlacedHook(
        hook=hook,
        profile=profile,
        constraints=constraints,
        order=active.order,
        step_types=active.step_types,
        labels=active.labels,
        settings=active.settings,
    )


def profile_of(active: ActiveHook, profiles: Mapping[str, ExecutionConstraints]) -> ExecutionConstraints:
    """Return the profile that a hook runs in.

    Raises:
        HookRefusedError: `hook.unknown_profile`.
    """
    name = active.profile or active.hook.profile
    profile = profiles.get(name)
    if profile is None:
        message = f"hook {active.hook.name!r}: there is no profile {name!r}"
        raise HookRefusedError(message, code="hook.unknown_profile", field=active.entry)
    return profile


def _load(home: Path, entry: HookConfig, shipped: Mapping[str, Hook], publishers: Sequence[Publisher]) -> Hook:
    if entry.builtin is None:
        return load_hook(home / (entry.path or ""), sha256=entry.sha256, publishers=publishers)
    if entry.builtin not in shipped:
        known = ", ".join(sorted(shipped))
        raise HookRefusedError(f"no hook of the package has this name; there are {known}", code="hook.unknown_builtin")
    return shipped[entry.builtin]


def _placement(entry: HookConfig) -> Placement:
    return Placement(
        profile=entry.profile,
        order=entry.order,
        step_types=entry.step_types,
        labels=entry.labels,
        settings=settings_bytes(entry.settings),
    )
