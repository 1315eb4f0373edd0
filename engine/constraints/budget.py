"""What one run has used of its constraints, and whether that is more than it may.

A budget is made when a run begins, and belongs to it alone. It reads the clock once when it is made and once for each
check; nothing is allocated until a limit is passed.

Source: ExecutionConstraints document, 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from engine.clock import Clock, thread_cpu_us
from engine.constraints.errors import ConstraintViolationError, EnforcementFailureError
from engine.constraints.limits import FUEL_PER_US, ExecutionConstraints
from engine.constraints.violations import (
    CpuExceeded,
    MemoryExceeded,
    MultipleViolations,
    Single,
    TimeoutExceeded,
    one_of,
)

_T = TypeVar("_T")
_MS: float = 1e3


@dataclass(frozen=True, slots=True)
class BudgetStats:
    """What a run has used so far."""

    elapsed_ms: float
    memory_used_bytes: int  # at its peak
    cpu_time_us: int
    violation_count: int  # kinds of limit that were passed


class ExecutionBudget:
    """The account of one run. One thread uses it; it is not safe for more."""

    __slots__ = (
        "_cpu",
        "_cpu_us",
        "_deadline",
        "_found",
        "_memory_bytes",
        "_now",
        "_started",
        "_wall_ms",
        "constraints",
    )

    def __init__(
        self, constraints: ExecutionConstraints, clock: Clock, *, cpu_us: Callable[[], int] = thread_cpu_us
    ) -> None:
        """Begin.

        Args:
            constraints: the limits.
            clock: measures the wall.
            cpu_us: CPU time of this thread so far, in µs; `enforce` reads it.
        """
        self.constraints = constraints
        self._now = clock.monotonic
        self._cpu = cpu_us
        self._cpu_us = 0
        self._memory_bytes = 0
        self._wall_ms: float | None = None
        self._found: dict[str, Single] | None = None
        self._started = started = self._now()
        self._deadline = started + constraints.wall_ms_max / _MS

    # --- what was used ---

    def record_memory(self, used_bytes: int) -> None:
        """Note how much memory the run has; the most of all that is noted counts.

        Raises:
            EnforcementFailureError: no run has less than none.
        """
        if used_bytes < 0:
            raise EnforcementFailureError("a measurement of memory is below zero")
        self._memory_bytes = max(self._memory_bytes, used_bytes)

    def record_cpu(self, used_us: int) -> None:
        """Add CPU time that the run has taken.

        Raises:
            EnforcementFailureError: time does not run backwards.
        """
        if used_us < 0:
            raise EnforcementFailureError("a measurement of CPU time is below zero")
        self._cpu_us += used_us

    def record_wall(self, used_ms: float) -> None:
        """Note how long the run itself took, where its host has measured it: waiting for a worker is no part of it."""
        self._wall_ms = used_ms

    # --- what is left ---

    def elapsed_ms(self) -> float:
        """Return for how long it has run."""
        return (self._now() - self._started) * _MS

    def remaining_ms(self) -> float:
        """Return how much of its time is left, at least 0."""
        return max((self._deadline - self._now()) * _MS, 0.0)

    def is_timeout(self) -> bool:
        """Return whether its time is over."""
        return self._now() > self._deadline

    def check(self, *, wall: bool = True) -> Single | MultipleViolations | None:
        """Return which limits are passed now, the timeout first; None: none is.

        Without `wall` time is not looked at: somebody else holds the run to it, or a busy host is to blame for it.
        """
        limits = self.constraints
        late = wall and self._now() > self._deadline
        if late or self._cpu_us * FUEL_PER_US > limits.fuel_max or self._memory_bytes > limits.memory_bytes_max:
            return self._violated(late)
        return None

    def require(self, *, wall: bool = True) -> None:
        """Return while no limit is passed.

        Raises:
            ConstraintViolationError: one is, or more are.
        """
        if (violation := self.check(wall=wall)) is not None:
            raise ConstraintViolationError(violation)

    def enforce(self, f: Callable[[], _T], *, wall: bool = True) -> _T:
        """Return what `f` returns if it kept to what was left; its thread's CPU time is charged, whatever happens.

        A Python function cannot be stopped in the middle: what it did is judged when it returns. What has no time left
        is not begun.

        Raises:
            ConstraintViolationError: a limit was passed before it, or by it.
        """
        if wall or self._cpu_us or self._memory_bytes:  # of a new budget nothing but time can be used up
            self.require(wall=wall)
        began = self._cpu()
        try:
            result = f()
        finally:
            self.record_cpu(self._cpu() - began)
        self.require(wall=wall)
        return result

    # --- what became of it ---

    @property
    def violations(self) -> tuple[Single, ...]:
        """The violations that checks have found, each kind once, with what it came to."""
        return () if self._found is None else tuple(self._found.values())

    def stats(self) -> BudgetStats:
        """Return what has been used."""
        wall_us, cpu_us, memory_bytes = self.spent()
        return BudgetStats(wall_us / _MS, memory_bytes, cpu_us, 0 if self._found is None else len(self._found))

    def spent(self) -> tuple[int, int, int]:
        """Return µs of wall, µs of CPU and bytes of memory: `stats` for whoever counts every run."""
        elapsed = (self._now() - self._started) * _MS if self._wall_ms is None else self._wall_ms
        return int(elapsed * _MS), self._cpu_us, self._memory_bytes

    def note(self, violation: Single | MultipleViolations) -> None:
        """Note a violation that the run's host has found."""
        found = self._found = self._found or {}
        for one in violation.violations if isinstance(violation, MultipleViolations) else (violation,):
            found[one.code] = one

    def _violated(self, late: bool) -> Single | MultipleViolations:
        limits, found = self.constraints, list[Single]()
        if late:
            found.append(TimeoutExceeded(limits.wall_ms_max, self.elapsed_ms()))
        if self._cpu_us * FUEL_PER_US > limits.fuel_max:
            found.append(CpuExceeded(limits.cpu_us_max, self._cpu_us))
        if self._memory_bytes > limits.memory_bytes_max:
            found.append(MemoryExceeded(limits.memory_bytes_max, self._memory_bytes))
        violation = one_of(tuple(found))
        self.note(violation)
        return violation
