"""The sandbox as a port: what a caller may rely on, wherever the module runs."""

from dataclasses import dataclass
from typing import Final, Protocol

from engine.constraints import ExecutionConstraints

SEED_BYTES: Final = 16
NOW_US_MAX: Final = 2**53  # the year 2255: exact in JSON, and in nanoseconds far from the end of 64 bits
LOG_BYTES_MAX: Final = 4096  # of what a guest prints


@dataclass(frozen=True, slots=True)
class RunGiven:
    """What a run has in place of a clock and of chance: all that its WASI calls can tell it.

    Raises:
        ValueError: a field is out of range.
    """

    now_us: int  # microseconds since 1970, UTC
    seed: bytes  # SEED_BYTES

    def __post_init__(self) -> None:
        """Check both."""
        if not 0 <= self.now_us <= NOW_US_MAX:
            raise ValueError(f"now_us must be from 0 to {NOW_US_MAX}")
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"seed must have {SEED_BYTES} bytes")


NO_GIVEN: Final = RunGiven(0, bytes(SEED_BYTES))
"""For modules that ask for neither time nor randomness."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that ended within its limits. `output` and `log` are the guest's bytes: untrusted, not yet read.

    `log` is for the module's author. It is part of no decision, and nothing shows it unless it was made printable.
    """

    output: bytes
    fuel_used: int
    memory_bytes: int  # the most that the linear memory had: one that has grown never shrinks
    wall_us: int
    log: bytes = b""  # what the guest wrote to its standard output and error, up to LOG_BYTES_MAX


class Sandbox(Protocol):
    """Runs registered modules as pure functions."""

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Run `module` on `document` in a fresh store; the report is a function of the four, its wall time excepted.

        Raises:
            SandboxError: `constraint.cpu_exceeded`, `constraint.timeout_exceeded`, `constraint.memory_exceeded`: a
                limit was met; `sandbox.host_calls_exceeded`: so was the number of calls of the host;
                `sandbox.trap`, `sandbox.output_invalid`: the module failed or lied; `sandbox.crashed`:
                the worker died, and did again; `sandbox.unavailable`: no worker can be had, or no such module.
                `log` is what the guest had printed until then.
        """
