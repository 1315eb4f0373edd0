"""The sandbox of a gateway: modules run in worker processes, and nothing of wasmtime is loaded here."""

import os
from collections.abc import Mapping
from typing import Final

import orjson

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError, WorkerError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.calls import WORKER
from gateway.sandbox.constraints import STARVED_REPEATS_MAX
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport
from gateway.sandbox.wire import ANSWER_BYTES_MAX, MODULES_MAX, REQUEST_BYTES_MAX, decode_answer, encode_run
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import Standing, WorkerPool
from gateway.workers.sealed import seal
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote

PRELOAD: Final = ("gateway.sandbox.worker", "gateway.sandbox.jail")
"""What a zygote should have imported, for workers and the jail to start in milliseconds."""

SPARES: Final = 1  # ready to answer the step of a worker that dies: without one it waits for a fork
RETRIES_MAX: Final = 2  # of a run whose worker died: it is pure, and none of the step's attempts
# Past the wall limit of the run and its repetitions. The worker ends a late run by itself, to the
# millisecond; this is for a worker that is stuck, and one that an overloaded host did not run must not look like it.
_GRACE_MS: Final = 1_000
_ADDRESS_SPACE_BYTES_MAX: Final = 1_000_000_000
_OPEN_FILES_MIN: Final = 64  # beside one for the memory image of each module
_CODES: Final = {
    "worker.crashed": "sandbox.crashed",
    "worker.overloaded": "sandbox.overloaded",
    "worker.deadline": "constraint.timeout_exceeded",
    "worker.too_large": "constraint.memory_exceeded",  # as the worker would answer
}


class PooledSandbox:
    """Implements `gateway.sandbox.port.Sandbox` with worker processes of one trust class."""

    def __init__(
        self, zygote: Zygote, modules: Mapping[str, Artefact], size: int, *, depth: int = 1, spares: int = SPARES
    ) -> None:
        """Describe a sandbox of `size` workers, each with all `modules`; `depth` and `spares` as for `WorkerPool`.

        Raises:
            ValueError: too many modules.
            OSError: no memory for the artefacts.
        """
        if len(modules) > MODULES_MAX:
            raise ValueError(f"at most {MODULES_MAX} modules")
        self._index = {name: index for index, name in enumerate(modules)}
        self._artefacts = seal("missiongate-modules", b"".join(a.code for a in modules.values()))
        spec = WorkerSpec(
            entry="gateway.sandbox.worker:serve",
            config=orjson.dumps([(name, len(a.code)) for name, a in modules.items()]),
            fds=(self._artefacts,),
            limits=ResourceLimits(
                address_space_bytes_max=_ADDRESS_SPACE_BYTES_MAX, open_files_max=_OPEN_FILES_MIN + len(modules)
            ),
            calls=WORKER,
            frame_bytes_max=REQUEST_BYTES_MAX,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        self.spares = spares
        self._pool = WorkerPool(zygote, spec, size, depth, spares=spares)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run modules."""
        return self._pool.pids

    @property
    def spare_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for one of those to die."""
        return self._pool.spare_pids

    @property
    def standing(self) -> Standing:
        """How it stands with the workers."""
        return self._pool.standing

    async def start(self) -> None:
        """Fork the workers; return once all have loaded the modules.

        Raises:
            SandboxError: `sandbox.unavailable`, they do not come up.
        """
        try:
            await self._pool.start()
        except WorkerError as error:
            raise SandboxError(error.message, code="sandbox.unavailable") from error

    async def close(self) -> None:
        """Let runs end, then end the workers; once more is no error."""
        await self._pool.close()
        artefacts, self._artefacts = self._artefacts, -1
        if artefacts >= 0:
            os.close(artefacts)

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Implement `gateway.sandbox.port.Sandbox.run`."""
        index = self._index.get(module)
        if index is None:
            raise SandboxError("no such module is loaded", code="sandbox.unavailable")
        deadline_ms = (1 + STARVED_REPEATS_MAX) * constraints.wall_ms_max + _GRACE_MS
        try:
            answer = await self._pool.call(
                encode_run(index, document, constraints, given), deadline_ms=deadline_ms, retries=RETRIES_MAX
            )
        except WorkerError as error:
            raise SandboxError(error.message, code=_CODES.get(error.code, "sandbox.unavailable")) from error
        return decode_answer(answer, constraints)
