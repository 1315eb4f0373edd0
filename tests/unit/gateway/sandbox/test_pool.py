"""The sandbox over workers: what is said of a run that no worker could answer."""

from typing import Any, cast

import pytest

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError, WorkerError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.pool import PooledSandbox

MODULES = {"a@1.0.0": Artefact(b"code", "0" * 64)}


class FailingPool:
    """Answers every call with one failure."""

    def __init__(self, code: str) -> None:
        self._code = code

    async def call(self, *_: object, **__: object) -> bytes:
        raise WorkerError("no", code=self._code)

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("worker", "sandbox"),
    [
        ("worker.crashed", "sandbox.crashed"),
        ("worker.overloaded", "sandbox.overloaded"),
        ("worker.deadline", "constraint.timeout_exceeded"),
        ("worker.too_large", "constraint.memory_exceeded"),
        ("worker.closed", "sandbox.unavailable"),
        ("worker.unavailable", "sandbox.unavailable"),
    ],
)
async def test_what_a_worker_could_not_do_is_said_as_the_sandbox(worker: str, sandbox: str) -> None:
    """Each failure of the pool has its own code: one that is full is told from one that is not there."""
    pooled = PooledSandbox(cast("Any", None), MODULES, 1)
    pooled._pool = cast("Any", FailingPool(worker))
    try:
        with pytest.raises(SandboxError) as failed:
            await pooled.run("a@1.0.0", b"{}", ExecutionConstraints.fast_rule())
        assert failed.value.code == sandbox
    finally:
        await pooled.close()
