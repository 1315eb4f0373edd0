"""Routes a run to the workers of its module's trust class: no two publishers' code is ever in one process."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport, Sandbox
from gateway.sandbox.signature import RESERVED

Duty: TypeAlias = Literal["steps", "screens", "observers"]
_DUTIES: Final[Mapping[str, Duty]] = {
    "step": "steps",
    "screen": "screens",
    "rewrite": "screens",
    "observe": "observers",
}


def duty(hook: Hook) -> Duty:
    """Return what the workers of a hook are there for."""
    return _DUTIES[hook.kind]


def trust_class(hook: Hook) -> str:
    """Return whose workers a hook runs in: its publisher's, each of the three duties apart.

    A step sees one mission's data, a screen or an observer that of all: what a step took over must not hold the other.
    What stands in front of every step shares no worker with an observer, which may keep one busy and delay nothing.
    """
    owner = hook.publisher if hook.publisher in RESERVED else f"publisher:{hook.publisher}"
    return f"{owner} {duty(hook)}"  # no key name has a space


class RoutedSandbox:
    """Implements `gateway.sandbox.port.Sandbox` by handing each module to the sandbox that has it. Never changes."""

    def __init__(self, routes: Mapping[str, Sandbox]) -> None:
        """Take the sandbox of each module, by `Hook.key`."""
        self._routes = dict(routes)

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Implement `gateway.sandbox.port.Sandbox.run`."""
        route = self._routes.get(module)
        if route is None:
            raise SandboxError("no such module is loaded", code="sandbox.unavailable")
        return await route.run(module, document, constraints, given)
