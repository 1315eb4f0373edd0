"""Modules by their SHA-256, compiled in the jail and run in a worker of their own: nothing else is in its process."""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final

from engine.constraints import ExecutionConstraints
from gateway.errors import HookRefusedError, NotFoundError
from gateway.replay.outcome import DifferenceFound, Reason
from gateway.replay.ports import Records
from gateway.sandbox.compile import compile_module
from gateway.sandbox.pool import PooledSandbox
from gateway.sandbox.port import RunGiven, RunReport
from gateway.workers.supervisor import Zygote

WORKERS_MAX: Final = 4  # modules that are ready to run; the one that has waited longest makes room for another


class KeptModules:
    """Implements `gateway.replay.ports.Modules` with what a store keeps. Runs take turns."""

    def __init__(self, zygote: Zygote, records: Records) -> None:
        self._zygote = zygote
        self._records = records
        self._ready: OrderedDict[str, PooledSandbox] = OrderedDict()
        self._turn = asyncio.Lock()

    async def run(self, sha256: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven) -> RunReport:
        """Implement `gateway.replay.ports.Modules.run`."""
        async with self._turn:
            sandbox = await self._of(sha256)
            return await sandbox.run(sha256, document, constraints, given)

    async def close(self) -> None:
        """End the workers; once more is no error."""
        while self._ready:
            _, sandbox = self._ready.popitem()
            await sandbox.close()

    async def _of(self, sha256: str) -> PooledSandbox:
        if (ready := self._ready.get(sha256)) is not None:
            self._ready.move_to_end(sha256)
            return ready
        wasm = await self._kept(sha256)
        try:
            artefact = await compile_module(self._zygote, wasm)
        except HookRefusedError as error:
            message = f"the module {sha256} is not accepted any more: {error.message}"
            raise DifferenceFound(Reason.MODULE, message, recorded=sha256) from error
        while len(self._ready) >= WORKERS_MAX:
            _, oldest = self._ready.popitem(last=False)
            await oldest.close()
        sandbox = PooledSandbox(self._zygote, {sha256: artefact}, 1, spares=0)
        try:
            await sandbox.start()
        except BaseException:
            await sandbox.close()
            raise
        self._ready[sha256] = sandbox
        return sandbox

    async def _kept(self, sha256: str) -> bytes:
        """Return the module that has this digest, whatever the store says of what it holds."""
        try:
            wasm = await self._records.hook_module(sha256)
        except NotFoundError as error:
            message = "the module that ran is not kept here"
            raise DifferenceFound(Reason.MODULE, message, recorded=sha256) from error
        if (mine := hashlib.sha256(wasm).hexdigest()) != sha256:
            message = "what is kept in the place of the module that ran is another module"
            raise DifferenceFound(Reason.MODULE, message, recorded=sha256, replayed=mine)
        return wasm
