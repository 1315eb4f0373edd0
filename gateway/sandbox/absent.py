"""The sandbox of a process that has no workers: it runs nothing."""

from gateway.errors import SandboxError
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.port import RunReport


class AbsentSandbox:
    """Implements `gateway.sandbox.port.Sandbox` by saying no."""

    async def run(self, _module: str, _document: bytes, _constraints: ExecutionConstraints) -> RunReport:
        """Refuse: there is nothing to run a module in.

        Raises:
            SandboxError: `sandbox.unavailable`, always.
        """
        raise SandboxError("modules run in a gateway's workers only", code="sandbox.unavailable")
