"""The sandbox of a process that has no workers: it runs nothing."""

from gateway.errors import SandboxError
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport


class AbsentSandbox:
    """Implements `gateway.sandbox.port.Sandbox` by saying no."""

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Refuse: there is nothing to run a module in.

        Raises:
            SandboxError: `sandbox.unavailable`, always.
        """
        del module, document, constraints, given  # nothing is looked at
        raise SandboxError("modules run in a gateway's workers only", code="sandbox.unavailable")
