"""What the steps of one execution share: variables, outputs so far, metadata; bounded, and JSON only.

Source: data-model document, section ExecutionContext. Secrets never enter it: a step holds references to them.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from engine.errors import FaultError, StepError
from engine.json_copy import NotJsonError, encode, read_back
from engine.mission import Mission, MissionLimits
from engine.values import JsonObject, JsonValue

DEFAULT_LIMITS: Final = MissionLimits()


class ContextState(StrEnum):
    """Created → Initialized → Active → Archived."""

    CREATED = "Created"  # has limits, no data
    INITIALIZED = "Initialized"  # has variables and metadata
    ACTIVE = "Active"  # a mission runs and adds outputs
    ARCHIVED = "Archived"  # the mission has ended; nothing changes any more


class ExecutionContext:
    """The shared state of one mission execution.

    What goes in is copied by way of its JSON, so that a runner that keeps and changes its output changes nothing here.
    What comes out is to be read, never written: that is what the types say.
    """

    __slots__ = ("_bytes_used", "_limits", "_metadata", "_outputs", "_state", "_variables", "step_outputs")

    def __init__(self, limits: MissionLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._state = ContextState.CREATED
        self._variables: JsonObject = {}
        self._metadata: Mapping[str, str] = MappingProxyType({})
        self._outputs: dict[str, JsonValue] = {}
        self._bytes_used = 0
        # A live, read-only view: step id → output of every step whose dependents may run; null where it gave none.
        self.step_outputs: Mapping[str, JsonValue] = MappingProxyType(self._outputs)

    @classmethod
    def of(
        cls,
        mission: Mission,
        *,
        limits: MissionLimits = DEFAULT_LIMITS,
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Return an Initialized context that has the variables of `mission`."""
        context = cls(limits)
        context.initialize(mission.variables, metadata or {})
        return context

    @property
    def state(self) -> ContextState:
        """Where in its life the context is."""
        return self._state

    @property
    def variables(self) -> JsonObject:
        """The mission's variables; they do not change while it runs."""
        return self._variables

    @property
    def metadata(self) -> Mapping[str, str]:
        """Who runs this, since when and the like; no step can refer to it."""
        return self._metadata

    @property
    def bytes_used(self) -> int:
        """Bytes of all outputs as compact JSON, at most `MissionLimits.context_bytes_max`."""
        return self._bytes_used

    def initialize(self, variables: JsonObject, metadata: Mapping[str, str]) -> None:
        """Created → Initialized.

        Raises:
            FaultError: `context.state`, not Created; `context.invalid`, the variables are not JSON.
        """
        self._advance(ContextState.CREATED, ContextState.INITIALIZED)
        try:
            self._variables = read_back(encode(variables), variables)
        except NotJsonError as error:
            raise FaultError(f"the variables are not JSON: {error}", code="context.invalid") from error
        self._metadata = MappingProxyType(dict(metadata))

    def activate(self) -> None:
        """Initialized → Active. A context serves one execution.

        Raises:
            FaultError: `context.state`, not Initialized.
        """
        self._advance(ContextState.INITIALIZED, ContextState.ACTIVE)

    def archive(self) -> None:
        """Active → Archived: outputs can be read and no longer added.

        Raises:
            FaultError: `context.state`, not Active.
        """
        self._advance(ContextState.ACTIVE, ContextState.ARCHIVED)

    def store_output(self, step_id: str, output: JsonValue) -> JsonValue:
        """Keep the output of one step for the steps that depend on it; return the copy that was kept.

        An output is kept whole or refused, never truncated.

        Raises:
            StepError: `context.output_invalid`, not a JSON value (a NaN, a key that is no string, an integer beyond
                64 bits, nested over 254 levels, any other object); `context.output_too_large`, over
                `output_bytes_max`; `context.full`, all outputs together over `context_bytes_max`.
            FaultError: `context.state`, not Active.
        """
        if self._state is not ContextState.ACTIVE:
            raise FaultError(f"an output came while the context was {self._state}", code="context.state")
        if output is None:
            self._outputs[step_id] = None
            return None
        try:
            encoded = encode(output)
            self._check_room(len(encoded))
            snapshot: JsonValue = read_back(encoded, output)
        except NotJsonError as error:
            raise StepError(f"the output is not JSON: {error}", code="context.output_invalid") from error
        self._bytes_used += len(encoded)
        self._outputs[step_id] = snapshot
        return snapshot

    def _check_room(self, size: int) -> None:
        """Refuse an output of `size` bytes that is over a limit."""
        if size > self._limits.output_bytes_max:
            raise StepError(
                f"the output is {size} bytes; a step may return {self._limits.output_bytes_max}",
                code="context.output_too_large",
            )
        if self._bytes_used + size > self._limits.context_bytes_max:
            raise StepError(
                f"the outputs of the mission would exceed {self._limits.context_bytes_max} bytes",
                code="context.full",
            )

    def _advance(self, expected: ContextState, to: ContextState) -> None:
        if self._state is not expected:
            raise FaultError(f"a context that is {self._state} cannot become {to}", code="context.state")
        self._state = to
