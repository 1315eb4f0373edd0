"""What one run of a rule may use, and the only way to combine two such grants.

Source: ExecutionConstraints document, 1; docs/adr/0005-fuel-and-epochs.md and 0010-constraints.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from engine.constraints.errors import EnforcementFailureError, InvalidConfigurationError
from engine.retry import RetryPolicy

FUEL_PER_MS: Final = 2_000_000
"""Fuel that stands for one millisecond of one CPU: a constant, never a measurement, so that running out of it is the
same on every machine and in every replay. One wasm instruction costs one unit; see docs/adr/0005-fuel-and-epochs.md."""

FUEL_PER_US: Final = FUEL_PER_MS // 1_000

WALL_MS_CEILING: Final = 60_000
MEMORY_BYTES_CEILING: Final = 16 * 1024 * 1024  # what a worker's pool reserves for one memory
OUTPUT_BYTES_CEILING: Final = 4 * 1024 * 1024
FUEL_CEILING: Final = WALL_MS_CEILING * FUEL_PER_MS
RETRIES_CEILING: Final = 10
BACKOFF_MS_CEILING: Final = 10_000
OUTPUT_BYTES_DEFAULT: Final = 1024 * 1024
SHARES_MAX: Final = 100  # per cent of one CPU
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConstraints:
    """Bounds one run gets, and what happens where it breaks them. In every field less is stricter; closed is strictest.

    `narrow` and `narrow_by` are the only ways to combine two, so no code path can widen a grant.

    Raises:
        InvalidConfigurationError: `constraint.invalid`, a field is of another type or out of its bounds.
    """

    wall_ms_max: int
    fuel_max: int  # about one unit per wasm instruction; for what is no wasm see `cpu_us_max`
    memory_bytes_max: int  # of the linear memory
    output_bytes_max: int = OUTPUT_BYTES_DEFAULT
    sampling_rate: float = 1.0  # share of runs that take place
    fail_closed: bool = True  # False is honoured for screens and observers only
    retries_max: int = 0  # of transient faults, never of refusals; which faults are, its host says
    retry_backoff_ms: int = 0

    def __post_init__(self) -> None:
        """Check every field: constraints that exist are valid ones."""
        _check(self.wall_ms_max, "wall_ms_max", 1, WALL_MS_CEILING)
        _check(self.fuel_max, "fuel_max", 1, FUEL_CEILING)
        _check(self.memory_bytes_max, "memory_bytes_max", 1, MEMORY_BYTES_CEILING)
        _check(self.output_bytes_max, "output_bytes_max", 1, OUTPUT_BYTES_CEILING)
        _check(self.retries_max, "retries_max", 0, RETRIES_CEILING)
        _check(self.retry_backoff_ms, "retry_backoff_ms", 0, BACKOFF_MS_CEILING)
        if type(self.sampling_rate) not in (float, int) or not 0 <= self.sampling_rate <= 1:
            raise InvalidConfigurationError(f"sampling_rate must be from 0 to 1, not {self.sampling_rate!r}")
        if type(self.fail_closed) is not bool:
            raise InvalidConfigurationError("fail_closed must be true or false")

    # --- presets: "Constraint Profiles by Rule Type" of the document, said here and nowhere else ---

    @classmethod
    def fast_rule(cls) -> "ExecutionConstraints":
        """Header matches and field checks, on the way of everything: 5 ms, 1 MiB, a tenth of a CPU, closed."""
        return cls.of_shares(wall_ms_max=5, memory_bytes_max=_MIB, cpu_shares=10)

    @classmethod
    def semantic_rule(cls) -> "ExecutionConstraints":
        """Analysis of content: 100 ms, 10 MiB, half a CPU, open, two retries 10 ms apart."""
        grant = cls.of_shares(wall_ms_max=100, memory_bytes_max=10 * _MIB, cpu_shares=50)
        return replace(grant, fail_closed=False, retries_max=2, retry_backoff_ms=10)

    @classmethod
    def wasm_hook(cls, max_ms: int = 10) -> "ExecutionConstraints":
        """A site's own module: `max_ms`, 5 MiB, a fifth of a CPU, closed."""
        return cls.of_shares(wall_ms_max=max_ms, memory_bytes_max=5 * _MIB, cpu_shares=20)

    @classmethod
    def observational(cls, sampling_rate: float = 1.0) -> "ExecutionConstraints":
        """Logs and metrics, which block nothing: 2 ms, 512 KiB, a twentieth of a CPU, open, sampled."""
        grant = cls.of_shares(wall_ms_max=2, memory_bytes_max=_MIB // 2, cpu_shares=5)
        return replace(grant, fail_closed=False, sampling_rate=sampling_rate)

    @classmethod
    def of_shares(
        cls,
        *,
        wall_ms_max: int,
        memory_bytes_max: int,
        cpu_shares: int | None,
        output_bytes_max: int = OUTPUT_BYTES_DEFAULT,
    ) -> "ExecutionConstraints":
        """Derive fuel from the wall: `cpu_shares` percent (1 to 100) of one CPU for `wall_ms_max`; None is all of it.

        Raises:
            InvalidConfigurationError: as the class, or `cpu_shares` is out of range.
        """
        shares = SHARES_MAX if cpu_shares is None else cpu_shares
        if type(wall_ms_max) is not int:  # before it is multiplied
            raise InvalidConfigurationError("wall_ms_max must be an integer")
        if type(shares) is not int or not 1 <= shares <= SHARES_MAX:
            raise InvalidConfigurationError(f"cpu_shares must be an integer from 1 to {SHARES_MAX}")
        return cls(
            wall_ms_max=wall_ms_max,
            fuel_max=wall_ms_max * shares * FUEL_PER_MS // SHARES_MAX,
            memory_bytes_max=memory_bytes_max,
            output_bytes_max=output_bytes_max,
        )

    # --- what follows from the fields ---

    @property
    def cpu_us_max(self) -> int:
        """The CPU allocation in µs of thread CPU time, for rules that are no wasm and count no fuel."""
        return self.fuel_max // FUEL_PER_US

    @property
    def cpu_shares(self) -> int:
        """The CPU allocation in per cent of one CPU over the wall, rounded up: 1 to 100."""
        return min(-(-self.fuel_max * SHARES_MAX // (self.wall_ms_max * FUEL_PER_MS)), SHARES_MAX)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How transient faults of the rule are tried again."""
        return _retry_policy(self.retries_max, self.retry_backoff_ms)

    def should_sample(self, chance: Callable[[], float]) -> bool:
        """Return whether this run takes place; `chance` gives numbers from 0 to below 1, and is not asked at 0 and 1.

        Raises:
            EnforcementFailureError: it gave something else.
        """
        rate = self.sampling_rate
        if rate >= 1:
            return True
        if rate <= 0:
            return False
        drawn = chance()
        if not 0 <= drawn < 1:
            raise EnforcementFailureError("the generator of samples gave a number that is not from 0 to below 1")
        return drawn < rate

    # --- narrowing ---

    def narrow(self, other: "ExecutionConstraints") -> "ExecutionConstraints":
        """Return the stricter of both, field by field."""
        if other is self:  # a step that runs in its kind's own profile, which is most of them
            return self
        return ExecutionConstraints(
            wall_ms_max=min(self.wall_ms_max, other.wall_ms_max),
            fuel_max=min(self.fuel_max, other.fuel_max),
            memory_bytes_max=min(self.memory_bytes_max, other.memory_bytes_max),
            output_bytes_max=min(self.output_bytes_max, other.output_bytes_max),
            sampling_rate=min(self.sampling_rate, other.sampling_rate),
            fail_closed=self.fail_closed or other.fail_closed,
            retries_max=min(self.retries_max, other.retries_max),
            retry_backoff_ms=min(self.retry_backoff_ms, other.retry_backoff_ms),
        )

    def narrow_by(self, limits: Mapping[str, int]) -> "ExecutionConstraints":
        """Return these, narrowed by the fields that `limits` names; larger values change nothing.

        Only the numbers that bound the run itself can be named: wall, fuel, memory, output.

        Raises:
            InvalidConfigurationError: an unknown name, or a value that is no positive integer: a decision that cannot
                be understood must not be followed in part.
        """
        narrowed: dict[str, int] = {}
        for name, value in limits.items():
            if name not in _NARROWED_BY:
                raise InvalidConfigurationError(f"unknown constraint {name!r}")
            if type(value) is not int or value < 1:
                raise InvalidConfigurationError(f"{name} must be a positive integer")
            narrowed[name] = min(value, getattr(self, name))
        return replace(
            self,
            wall_ms_max=narrowed.get("wall_ms_max", self.wall_ms_max),
            fuel_max=narrowed.get("fuel_max", self.fuel_max),
            memory_bytes_max=narrowed.get("memory_bytes_max", self.memory_bytes_max),
            output_bytes_max=narrowed.get("output_bytes_max", self.output_bytes_max),
        )


_NARROWED_BY: Final = frozenset({"wall_ms_max", "fuel_max", "memory_bytes_max", "output_bytes_max"})


@lru_cache(maxsize=64)
def _retry_policy(retries_max: int, backoff_ms: int) -> RetryPolicy:
    """Return the policy; there are few, and one is asked for with every run that may be repeated."""
    return RetryPolicy(max_attempts=retries_max + 1, base_ms=backoff_ms)


def _check(value: int, name: str, lowest: int, highest: int) -> None:
    if type(value) is not int:
        raise InvalidConfigurationError(f"{name} must be an integer")
    if not lowest <= value <= highest:
        raise InvalidConfigurationError(f"{name} must be from {lowest} to {highest}, not {value}")
