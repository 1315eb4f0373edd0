"""One attempt at a step, as the runner sees it: what it may read, which attempt this is, and a way to wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from engine.context import ExecutionContext
from engine.reference import ItemScope, Scope
from engine.values import JsonValue


class Seats(Protocol):
    """Where attempts have their places among the running steps; `engine.places.Places` is it."""

    def leave(self, key: int) -> None:
        """Free the place of an attempt that is going to wait."""

    async def come_back(self, key: int) -> None:
        """Return when the attempt has a place again."""


class StepAttempt:
    """What a runner gets beside the step."""

    __slots__ = ("_key", "_seats", "context", "item", "number", "value", "waited")

    def __init__(
        self,
        context: ExecutionContext,
        *,
        number: int = 1,
        item: int | None = None,
        value: JsonValue = None,
        seats: Seats | None = None,
        key: int = 0,
    ) -> None:
        self.context = context
        self.number = number  # from 1
        self.item = item  # which item of a fan-out, from 0; None: the step is none
        self.value = value  # the item
        self.waited = False  # it has waited for something outside: its time is no measure of anything else
        self._seats = seats
        self._key = key

    @property
    def scope(self) -> Scope:
        """What the references of the parameters see."""
        return self.context if self.item is None else ItemScope(self.context, self.value)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Let other steps run while this one waits for something outside: an approval, another mission.

        Inside the block the attempt counts for no limit of running steps; the block's end waits for a place again, and
        for the end of a pause. The deadline of the attempt goes on. Where the block raises, the attempt is about to
        end, and gets no place.
        """
        self.waited = True
        if self._seats is not None:
            self._seats.leave(self._key)
        yield
        if self._seats is not None:
            await self._seats.come_back(self._key)
