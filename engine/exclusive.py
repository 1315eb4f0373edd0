"""Concurrency keys: of a tenant's missions with one key, one runs at a time, and the others queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from engine.errors import FaultError
from engine.ranking import Ranking

WAITING_MAX: Final = 10_000

_Turns: TypeAlias = Ranking["asyncio.Future[None]"]


class ExclusiveKeys:
    """Who holds each (tenant, key), and who waits for it; a key that nobody holds takes no memory.

    A key that is given up is handed to the next, never free in between, so that nobody slips past those that wait.
    """

    def __init__(self, *, waiting_max: int = WAITING_MAX) -> None:
        """Prepare; at most `waiting_max` wait, for all keys together."""
        self._waiting_max: Final = waiting_max
        self._waiting = 0
        self._queues: dict[tuple[str, str], _Turns] = {}  # of each key that is held

    def waiting(self, tenant: str, key: str) -> int:
        """Return how many wait for `key`."""
        queue = self._queues.get((tenant, key))
        return 0 if queue is None else len(queue)

    @asynccontextmanager
    async def hold(self, tenant: str, key: str, priority: int) -> AsyncIterator[None]:
        """Hold `key` of `tenant` inside the block, waiting for it first: highest priority first, then first come.

        A task that holds a key and asks for it again waits for itself.

        Raises:
            FaultError: `exclusive.too_many`, `waiting_max` wait already.
        """
        name = (tenant, key)
        if (queue := self._queues.get(name)) is None:
            self._queues[name] = Ranking()
        else:
            await self._turn(name, queue, priority)
        try:
            yield
        finally:
            self._hand_on(name)

    async def _turn(self, name: tuple[str, str], queue: _Turns, priority: int) -> None:
        """Return when the key is handed to this caller."""
        if self._waiting >= self._waiting_max:
            raise FaultError("too many wait for concurrency keys", code="exclusive.too_many")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.put(turn, -priority)
        self._waiting += 1
        try:
            await turn
        except BaseException:
            queue.discard(turn)
            if turn.done() and not turn.cancelled():  # handed over in the moment of the cancellation
                self._hand_on(name)
            raise
        finally:
            self._waiting -= 1

    def _hand_on(self, name: tuple[str, str]) -> None:
        queue = self._queues[name]
        while queue:
            if not (turn := queue.pop()).done():  # done: cancelled, and its task has not had its turn since
                turn.set_result(None)
                return
        del self._queues[name]
