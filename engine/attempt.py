"""One attempt at a step, as the runner sees it: what it may read, which attempt this is, and a way to wait."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from engine.context import ExecutionContext
from engine.reference import Scope
from engine.values import JsonValue


class Slot(Protocol):
    """The place among the running steps that an attempt holds."""

    def waiting(self) -> AbstractAsyncContextManager[None]:
        """Give the place back for the time of the block, and wait for one at its end."""


@dataclass(frozen=True, slots=True)
class ItemScope:
    """What references of one item of a fan-out see: everything that the step sees, and `${item}`."""

    context: Scope
    item: JsonValue

    @property
    def variables(self) -> Mapping[str, JsonValue]:
        """The mission's variables."""
        return self.context.variables

    @property
    def step_outputs(self) -> Mapping[str, JsonValue]:
        """Step id to output, of every step that has finished."""
        return self.context.step_outputs


class StepAttempt:
    """What a runner gets beside the step."""

    __slots__ = ("_slot", "context", "item", "number", "value")

    def __init__(
        self,
        context: ExecutionContext,
        *,
        number: int = 1,
        item: int | None = None,
        value: JsonValue = None,
        slot: Slot | None = None,
    ) -> None:
        self.context = context
        self.number = number  # from 1
        self.item = item  # which item of a fan-out, from 0; None: the step is none
        self.value = value  # the item
        self._slot = slot

    @property
    def scope(self) -> Scope:
        """What the references of the parameters see."""
        return self.context if self.item is None else ItemScope(self.context, self.value)

    def waiting(self) -> AbstractAsyncContextManager[None]:
        """Let other steps run while this one waits for something outside: an approval, another mission.

        Inside the block the attempt counts for no limit of running steps; the block's end waits for a place again.
        Its deadline goes on.
        """
        return nullcontext() if self._slot is None else self._slot.waiting()
