"""The sandbox as a port: what a caller may rely on, wherever the module runs."""

from dataclasses import dataclass
from typing import Protocol

from engine.constraints import ExecutionConstraints


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that ended within its limits. `output` is the guest's bytes: untrusted, not yet read."""

    output: bytes
    fuel_used: int
    memory_bytes: int  # the linear memory when the run ended
    wall_us: int


class Sandbox(Protocol):
    """Runs registered modules as pure functions."""

    async def run(self, module: str, document: bytes, constraints: ExecutionConstraints) -> RunReport:
        """Run `module` on `document` in a fresh store.

        Raises:
            SandboxError: `constraint.cpu_exceeded`, `constraint.timeout_exceeded`, `constraint.memory_exceeded`: a
                limit was met; `sandbox.trap`, `sandbox.output_invalid`: the module failed or lied; `sandbox.crashed`:
                the worker died, and did again; `sandbox.unavailable`: no worker can be had, or no such module.
        """
