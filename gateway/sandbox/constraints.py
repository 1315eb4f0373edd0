"""What one sandboxed run may use, and the only way to combine two such grants.

Source: ExecutionConstraints document, 1; docs/adr/0005-fuel-and-epochs.md. The budget, the enforcer and the violations
of that document build on this class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

FUEL_PER_MS: Final = 2_000_000
"""Fuel that stands for one millisecond of one CPU: a constant, never a measurement, so that running out of it is the
same on every machine and in every replay. One wasm instruction costs one unit; see docs/adr/0005-fuel-and-epochs.md."""

STARVED_REPEATS_MAX: Final = 5
"""How often a run is repeated that met its wall without having had the CPU: it is pure, and a busy host is no fault of
its own. With six runnable processes on two cores, one repetition let one run in 20,000 fail."""

WALL_MS_CEILING: Final = 60_000
MEMORY_BYTES_CEILING: Final = 16 * 1024 * 1024  # what a worker's pool reserves for one memory
OUTPUT_BYTES_CEILING: Final = 4 * 1024 * 1024
FUEL_CEILING: Final = WALL_MS_CEILING * FUEL_PER_MS
MEMORY_PAGE_BYTES: Final = 65_536  # of WebAssembly


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConstraints:
    """Bounds one sandboxed run gets. Every field is a maximum, so less is stricter.

    `narrow` and `narrow_by` are the only ways to combine two, so no code path can widen a grant.

    Raises:
        ValueError: a field is no integer, below one, or above what a worker can give.
    """

    wall_ms_max: int
    fuel_max: int  # about one unit per wasm instruction
    memory_bytes_max: int  # of the linear memory
    output_bytes_max: int = 1024 * 1024

    def __post_init__(self) -> None:
        """Check every field: a constraint that exists is a valid one."""
        for name, ceiling in _CEILINGS.items():
            value = getattr(self, name)
            if type(value) is not int:
                raise ValueError(f"{name} must be an integer")
            if not 1 <= value <= ceiling:
                raise ValueError(f"{name} must be from 1 to {ceiling}, not {value}")

    @classmethod
    def of_shares(
        cls, *, wall_ms_max: int, memory_bytes_max: int, cpu_shares: int | None, output_bytes_max: int = 1024 * 1024
    ) -> "ExecutionConstraints":
        """Derive fuel from the wall: `cpu_shares` percent (1 to 100) of one CPU for `wall_ms_max`; None is all of it.

        Raises:
            ValueError: as the class, or `cpu_shares` is out of range.
        """
        shares = 100 if cpu_shares is None else cpu_shares
        if type(wall_ms_max) is not int:  # before it is multiplied
            raise ValueError("wall_ms_max must be an integer")
        if type(shares) is not int or not 1 <= shares <= 100:  # noqa: PLR2004 - per cent
            raise ValueError("cpu_shares must be an integer from 1 to 100")
        return cls(
            wall_ms_max=wall_ms_max,
            fuel_max=wall_ms_max * shares * FUEL_PER_MS // 100,
            memory_bytes_max=memory_bytes_max,
            output_bytes_max=output_bytes_max,
        )

    def narrow(self, other: "ExecutionConstraints") -> "ExecutionConstraints":
        """Return the stricter of both, field by field."""
        return ExecutionConstraints(
            wall_ms_max=min(self.wall_ms_max, other.wall_ms_max),
            fuel_max=min(self.fuel_max, other.fuel_max),
            memory_bytes_max=min(self.memory_bytes_max, other.memory_bytes_max),
            output_bytes_max=min(self.output_bytes_max, other.output_bytes_max),
        )

    def narrow_by(self, limits: Mapping[str, int]) -> "ExecutionConstraints":
        """Return these, narrowed by the fields that `limits` names; larger values change nothing.

        Raises:
            ValueError: an unknown name, or a value that is no positive integer: a decision that cannot be understood
                must not be followed in part.
        """
        narrowed: dict[str, int] = {}
        for name, value in limits.items():
            if name not in _CEILINGS:
                raise ValueError(f"unknown constraint {name!r}")
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer")
            narrowed[name] = min(value, getattr(self, name))
        return replace(self, **narrowed)


_CEILINGS: Final[Mapping[str, int]] = {
    "wall_ms_max": WALL_MS_CEILING,
    "fuel_max": FUEL_CEILING,
    "memory_bytes_max": MEMORY_BYTES_CEILING,
    "output_bytes_max": OUTPUT_BYTES_CEILING,
}
if set(_CEILINGS) != {field.name for field in fields(ExecutionConstraints)}:
    raise RuntimeError("every constraint has a ceiling")
