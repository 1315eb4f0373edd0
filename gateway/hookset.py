"""The hooks that are in force at one moment, as one value that never changes; a change is another value.

Who begins something takes the set once and keeps it to the end, so that no step sees a part of one set and a part of
the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import HookRefusedError
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import Sandbox
from gateway.stages import StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveHook:
    """A hook that is to be in force, of any kind, and its place as an operator has said it. A step has none."""

    hook: Hook
    order: int = 0
    step_types: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedHook:
    """A hook of kind screen, rewrite or observe in its place. An empty scope is everything."""

    hook: Hook
    constraints: ExecutionConstraints
    order: int  # lower runs first; names decide between equals
    step_types: frozenset[str]
    labels: Mapping[str, str]  # which the mission has, all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSet:
    """All hooks that are active at one moment."""

    kinds: Mapping[str, StepKind]  # by step type
    placed: tuple[PlacedHook, ...]  # by order, then name
    sandbox: Sandbox  # has the modules of all of them, by `Hook.key`

    @property
    def effects(self) -> Mapping[str, tuple[str, ...]]:
        """What each step kind may ask for."""
        return {name: kind.hook.effects for name, kind in self.kinds.items()}

    def kind_of(self, step_type: str, admitted: Mapping[str, tuple[str, ...]]) -> StepKind:
        """Return the kind of a step that begins.

        Args:
            step_type: which.
            admitted: what each kind could ask for when the mission was admitted. Taint was computed from that, so a
                later version may do less and not more.

        Raises:
            HookRefusedError: `hook.disabled`, there was one when the mission was admitted, and no longer;
                `hook.effects_grew`, there is another, which may do what that one could not.
        """
        kind = self.kinds.get(step_type)
        if kind is None:
            message = f"the hook {step_type!r} was disabled after the mission was admitted"
            raise HookRefusedError(message, code="hook.disabled")
        if grown := sorted(set(kind.hook.effects) - set(admitted.get(step_type, ()))):
            message = f"the hook {step_type!r} may now ask for {grown[0]}, and could not when the mission was admitted"
            raise HookRefusedError(message, code="hook.effects_grew")
        return kind


class Hooks(Protocol):
    """Knows the set that is in force."""

    @property
    def current(self) -> HookSet:
        """The set for whatever begins now."""


@dataclass(frozen=True, slots=True)
class FixedHooks:
    """A set that stays: for library use, planning without a gateway, and tests."""

    current: HookSet
