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
        variables: JsonObject | None = None,
        limits: MissionLimits = DEFAULT_LIMITS,
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Return an Initialized context that has the variables of `mission`, and `variables` over them.

        Raises:
            FaultError: `context.invalid`, the variables are not JSON.
        """
        context = cls(limits)
        context.initialize({**mission.variables, **variables} if variables else mission.variables, metadata or {})
        return context

    def fork(self, variables: JsonObject | None = None) -> "ExecutionContext":
        """Return an Initialized context that has what this one has now, and `variables` over it.

        Copy-on-write: the two share every value, and neither ever writes into one. What one of them stores from here
        on, the other does not see. Outputs that were there before count against the fork's own limit as well.

        Raises:
            FaultError: `context.state`, this one has no data yet; `context.invalid`, the variables are not JSON.
        """
        if self._state is ContextState.CREATED:
            raise FaultError("a context that is Created has nothing to share", code="context.state")
        layer = ExecutionContext(self._limits)
        layer.initialize(variables or {}, {})
        if self._variables:
            layer._variables = {**self._variables, **layer._variables}
        layer._metadata = self._metadata
        layer._outputs.update(self._outputs)
        layer._bytes_used = self._bytes_used
        return layer

    @property
    def state(self) -> ContextState:
        """Where in its life the context is."""
        return self._state

    @property
    def limits(self) -> MissionLimits:
        """What the mission may ask for at most."""
        return self._limits

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

    def drop_output(self, step_id: str) -> None:
        """Forget an output whose step begins anew; nobody has seen it."""
        output = self._outputs.pop(step_id, None)
        if output is not None:
            self._bytes_used -= len(encode(output))

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
