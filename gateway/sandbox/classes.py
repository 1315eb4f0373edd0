"""One sandbox over several pools of workers: modules of one trust class never run in a worker of another."""

from collections.abc import Mapping

from gateway.errors import SandboxError
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport, Sandbox


class ClassedSandbox:
    """Implements `gateway.sandbox.port.Sandbox` by sending each module to the pool that has it loaded."""

    def __init__(self, pools: Mapping[str, Sandbox]) -> None:
        """Take the pool of each module, by what the module is known by."""
        self._pools = dict(pools)

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Implement `gateway.sandbox.port.Sandbox.run`."""
        pool = self._pools.get(module)
        if pool is None:
            raise SandboxError("no such module is loaded", code="sandbox.unavailable")
        return await pool.run(module, document, constraints, given)
