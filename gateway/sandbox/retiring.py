"""The workers of one set of modules: always there while the set is in force, and afterwards only while they are needed.

A step that has begun keeps the modules it began with, and may wait for a person for days before it runs again. Keeping
processes for it would let old sets pile up, ending them would fail it. So a retired set has no processes until a run
asks for one, and none again when the run has ended: what remains meanwhile is machine code in memory, which goes when
the last step lets go of it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.pool import PooledSandbox
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport
from gateway.workers.pool import Standing

RETIRED_SIZE: Final = 1  # workers of a set that is no longer in force


class RetiringSandbox:
    """Implements `gateway.sandbox.port.Sandbox`. Bound to the event loop that starts it."""

    def __init__(self, make: Callable[[int], PooledSandbox], size: int, awake: asyncio.Semaphore) -> None:
        """Take what makes a pool of so many workers.

        Args:
            make: returns a pool that is not started.
            size: workers while the set is in force.
            awake: a place for each retired set that has processes, of all that a gateway has.
        """
        self._make = make
        self._size = size
        self._awake = awake
        self._pool: PooledSandbox | None = None
        self._running = 0
        self._retired = False
        self._closed = False
        self._turn = asyncio.Lock()  # to start or to end the pool

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the ready workers."""
        return self._pool.pids if self._pool is not None else ()

    @property
    def standing(self) -> Standing | None:
        """How it stands with the workers; None while there are none."""
        return self._pool.standing if self._pool is not None else None

    async def start(self) -> None:
        """Start the workers; return once all have loaded the modules.

        Raises:
            SandboxError: `sandbox.unavailable`, they do not come up; nothing is left running.
        """
        self._pool = await self._started(self._size)

    async def retire(self) -> None:
        """Let runs end, then end the workers; later runs bring one back for their own time."""
        self._retired = True
        await self._rest()

    async def close(self) -> None:
        """End the workers for good, runs under way first; once more is no error."""
        self._retired = self._closed = True
        async with self._turn:
            await self._end()

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Implement `gateway.sandbox.port.Sandbox.run`."""
        if not self._retired and self._pool is not None:
            return await self._run_in(self._pool, module, document, constraints, given)
        async with self._awake:
            return await self._run_in(await self._woken(), module, document, constraints, given)

    async def _run_in(
        self, pool: PooledSandbox, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven
    ) -> RunReport:
        self._running += 1  # in the same turn of the loop in which the pool was found: it cannot end in between
        try:
            return await pool.run(module, document, constraints, given)
        finally:
            self._running -= 1
            if self._retired and not self._running:
                await asyncio.shield(self._rest())

    async def _woken(self) -> PooledSandbox:
        async with self._turn:
            if self._closed:
                raise SandboxError("the sandbox is closed", code="sandbox.unavailable")
            if self._pool is None:
                self._pool = await self._started(RETIRED_SIZE)
            return self._pool

    async def _started(self, size: int) -> PooledSandbox:
        pool = self._make(size)
        try:
            await pool.start()
        except BaseException:
            await pool.close()
            raise
        return pool

    async def _rest(self) -> None:
        """End the workers of a retired set, unless a run needs them; the last one that does comes here again."""
        async with self._turn:
            if self._retired and not self._running:
                await self._end()

    async def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
