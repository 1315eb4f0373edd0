"""What a rule did that its constraints do not allow, as typed values with stable codes.

Source: ExecutionConstraints document, 4, ConstraintViolationType.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from engine.values import JsonValue

TIMEOUT_CODE: Final = "constraint.timeout_exceeded"
CPU_CODE: Final = "constraint.cpu_exceeded"
MEMORY_CODE: Final = "constraint.memory_exceeded"


@dataclass(frozen=True, slots=True)
class TimeoutExceeded:
    """It took longer than it may; `used_ms` is at least that long, where it was stopped at its limit."""

    code: ClassVar[str] = TIMEOUT_CODE
    limit_ms: int
    used_ms: float

    def __str__(self) -> str:
        return f"it took {self.used_ms:.1f} ms of at most {self.limit_ms}"

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {"kind": self.code, "limit_ms": self.limit_ms, "used_ms": round(self.used_ms, 3)}


@dataclass(frozen=True, slots=True)
class CpuExceeded:
    """It used more than its CPU allocation; `used_us` is at least that much, where it was stopped at its limit."""

    code: ClassVar[str] = CPU_CODE
    limit_us: int
    used_us: int

    def __str__(self) -> str:
        return f"it used {self.used_us} µs of CPU of at most {self.limit_us}"

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {"kind": self.code, "limit_us": self.limit_us, "used_us": self.used_us}


@dataclass(frozen=True, slots=True)
class MemoryExceeded:
    """It needed more memory than it may have."""

    code: ClassVar[str] = MEMORY_CODE
    limit_bytes: int
    used_bytes: int

    def __str__(self) -> str:
        return f"it used {self.used_bytes} bytes of memory of at most {self.limit_bytes}"

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {"kind": self.code, "limit_bytes": self.limit_bytes, "used_bytes": self.used_bytes}


@dataclass(frozen=True, slots=True)
class SampledOut:
    """It was not run at all: only a share of such runs takes place."""

    code: ClassVar[str] = "constraint.sampled_out"
    rate: float

    def __str__(self) -> str:
        return f"it was not run: {self.rate:g} of such runs take place"

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {"kind": self.code, "rate": self.rate}


Single: TypeAlias = TimeoutExceeded | CpuExceeded | MemoryExceeded


@dataclass(frozen=True, slots=True)
class MultipleViolations:
    """More than one limit was passed at once; `violations` has at least two, the timeout first."""

    code: ClassVar[str] = "constraint.multiple"
    violations: tuple[Single, ...]

    def __str__(self) -> str:
        return "; ".join(str(one) for one in self.violations)

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {"kind": self.code, "violations": [one.document() for one in self.violations]}


ConstraintViolation: TypeAlias = Single | SampledOut | MultipleViolations


def one_of(found: tuple[Single, ...]) -> Single | MultipleViolations:
    """Return the one violation that was found, or all of them as one; `found` is not empty."""
    return found[0] if len(found) == 1 else MultipleViolations(found)
