"""The sandbox inside the caller's process: for library use and tests.

`missiongate serve` never uses it: a crash of wasmtime would be the gateway's own.
"""

import asyncio
from collections.abc import Mapping

from engine.constraints import ExecutionConstraints
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport
from gateway.sandbox.runtime import Runtime


class InProcessSandbox:
    """Implements `gateway.sandbox.port.Sandbox` with a thread of this process; runs take turns."""

    def __init__(self, modules: Mapping[str, Artefact]) -> None:
        """Load `modules`.

        Raises:
            SandboxError: `sandbox.unavailable`, an artefact does not load here.
        """
        self._runtime = Runtime({name: artefact.code for name, artefact in modules.items()})

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Implement `gateway.sandbox.port.Sandbox.run`."""
        return await asyncio.to_thread(self._runtime.run, module, document, constraints, given)
