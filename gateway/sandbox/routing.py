"""Routes a run to the workers of its module's trust class: no two publishers' code is ever in one process."""

from collections.abc import Mapping

from gateway.errors import SandboxError
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import RunReport, Sandbox
from gateway.sandbox.signature import RESERVED


def trust_class(hook: Hook) -> str:
    """Return whose workers a hook runs in: its publisher's, those of steps apart from those of everything else.

    A step sees one mission's data, a screen or an observer that of all: what a step took over must not hold the other.
    """
    owner = hook.publisher if hook.publisher in RESERVED else f"publisher:{hook.publisher}"
    return owner if hook.kind == "step" else f"{owner} screens"  # no key name has a space


class RoutedSandbox:
    """Implements `gateway.sandbox.port.Sandbox` by handing each module to the sandbox that has it. Never changes."""

    def __init__(self, routes: Mapping[str, Sandbox]) -> None:
        """Take the sandbox of each module, by `Hook.key`."""
        self._routes = dict(routes)

    async def run(self, module: str, document: bytes, constraints: ExecutionConstraints) -> RunReport:
        """Implement `gateway.sandbox.port.Sandbox.run`."""
        route = self._routes.get(module)
        if route is None:
            raise SandboxError("no such module is loaded", code="sandbox.unavailable")
        return await route.run(module, document, constraints)
