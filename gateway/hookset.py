"""The hooks that are active at one moment: the step kinds, and the screens, rewrites and observers in their places."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from engine.constraints import ExecutionConstraints
from gateway.errors import HookRefusedError, SandboxError
from gateway.sandbox.abi_hooks import frame, is_code
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import Sandbox
from gateway.sanitizer.schema import ParameterSchema

PLACED_MAX: Final = 64  # hooks that are in a place: what ran is listed in the event of a verdict, whose line is bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKind:
    """A step kind, prepared: its hook, the compiled schema of its parameters, and what a run of it gets at most."""

    hook: Hook
    schema: ParameterSchema
    constraints: ExecutionConstraints


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a hook is run on, as far as its scope needs to know."""

    step_types: frozenset[str]  # the step's, or all of the mission's
    labels: Mapping[str, str]  # of the mission


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveHook:
    """A hook that is to be in force, of any kind, and its place as an operator has said it. A step has none."""

    hook: Hook
    profile: str | None = None  # instead of the one that the hook names
    order: int = 0
    step_types: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    settings: bytes = b"{}"  # JSON, an object
    entry: str = ""  # where the configuration names it, as errors say it: "hooks[3]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedHook:
    """A hook of kind screen, rewrite or observe in its place: when it runs, on what, and what a run of it gets."""

    hook: Hook
    profile: ExecutionConstraints  # as policy data has it: what follows from a violation, retries, samples
    constraints: ExecutionConstraints  # what one run gets: the profile's, or less, and never repeated or left out
    order: int = 0
    step_types: frozenset[str] = frozenset()  # empty: all
    labels: Mapping[str, str] = field(default_factory=dict)  # of the mission; all of them
    settings: bytes = b"{}"  # JSON, an object: what the site gives this hook

    @property
    def fails_open(self) -> bool:
        """Whether a run that fails counts for nothing, as policy data says; never of a rewrite, always of an observer.

        A rewrite that is left out might be the one that takes a secret away.
        """
        kind = self.hook.kind
        return kind == "observe" or (kind == "screen" and not self.profile.fail_closed)

    def is_about(self, subject: Subject) -> bool:
        """Return whether it runs: for a step of one of its types, or a mission that has one, with all of its labels."""
        if self.step_types and self.step_types.isdisjoint(subject.step_types):
            return False
        return not self.labels or self.labels.items() <= subject.labels.items()

    def framed(self, document: bytes, now: str, seed: str) -> bytes:
        """Return the input of a run: the document, and what the hook is given beside it."""
        hook = self.hook
        return frame(document, kind=hook.kind, at=hook.at or "", now=now, seed=seed, settings=self.settings)

    def own_code(self, code: str) -> str:
        """Return a hook's word as the gateway says it: behind the hook's name, so that it never has the host's voice.

        Raises:
            SandboxError: `sandbox.output_invalid`, it is no code.
        """
        if not is_code(code):
            raise SandboxError(f"a hook cannot answer with the code {code!r}", code="sandbox.output_invalid")
        return f"{self.hook.kind}.{self.hook.name}.{code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSet:
    """All hooks that are active at one moment. What has begun with a set ends with it.

    Raises:
        ValueError: more hooks are in a place than `PLACED_MAX`.
    """

    kinds: Mapping[str, StepKind]
    sandbox: Sandbox  # runs the modules of all of them
    placed: tuple[PlacedHook, ...] = ()
    effects: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)  # by step kind
    _by_place: dict[tuple[str, str], tuple[PlacedHook, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the hooks into their places, each in the order in which they run: by `order`, then by name."""
        if len(self.placed) > PLACED_MAX:
            raise ValueError(f"at most {PLACED_MAX} screens, rewrites and observers")
        placed = tuple(sorted(self.placed, key=lambda each: (each.order, each.hook.name)))
        by_place: dict[tuple[str, str], tuple[PlacedHook, ...]] = {}
        for each in placed:
            place = each.hook.kind, each.hook.at or ""
            by_place[place] = (*by_place.get(place, ()), each)
        object.__setattr__(self, "placed", placed)
        object.__setattr__(self, "effects", {name: kind.hook.effects for name, kind in self.kinds.items()})
        object.__setattr__(self, "_by_place", by_place)

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

    def at(self, kind: str, place: str) -> tuple[PlacedHook, ...]:
        """Return the hooks of a kind in a place, in the order in which they run."""
        return self._by_place.get((kind, place), ())


class Hooks(Protocol):
    """What the pipeline holds: the set may be another one with the next call."""

    @property
    def current(self) -> HookSet:
        """The hooks that are active now."""


@dataclass(frozen=True, slots=True)
class FixedHooks:
    """Hooks that never change."""

    current: HookSet
