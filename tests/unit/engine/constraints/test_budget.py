"""A budget says what was used, what is left, and which limits were passed, with one read of the clock a check."""

import pytest

from engine.constraints import ExecutionConstraints
from engine.constraints.budget import ExecutionBudget
from engine.constraints.errors import ConstraintViolationError, EnforcementFailureError
from engine.constraints.violations import CpuExceeded, MemoryExceeded, MultipleViolations, TimeoutExceeded
from tests.unit.engine.constraints.clocks import HandClock

LIMITS = ExecutionConstraints.of_shares(wall_ms_max=10, memory_bytes_max=1_000, cpu_shares=50)  # 5 ms of CPU


def budget(clock: HandClock) -> ExecutionBudget:
    return ExecutionBudget(LIMITS, clock, cpu_us=clock.cpu)


def test_time_is_measured_from_the_beginning() -> None:
    """What has passed and what is left add up to the wall, and nothing is left of less than nothing."""
    clock = HandClock()
    account = budget(clock)
    clock.work(4)
    assert account.elapsed_ms() == pytest.approx(4)
    assert account.remaining_ms() == pytest.approx(6)
    assert not account.is_timeout()
    clock.work(7)
    assert account.is_timeout()
    assert account.remaining_ms() == 0.0


def test_a_check_of_a_run_within_its_limits_reads_the_clock_once() -> None:
    """The promise is under three reads; it allocates nothing that would have to be collected."""
    clock = HandClock()
    account = budget(clock)
    reads = clock.reads
    assert account.check() is None
    assert clock.reads - reads == 1
    assert account.check(wall=False) is None
    assert clock.reads - reads == 1
    assert account.violations == ()


def test_each_limit_has_its_violation() -> None:
    """Time, CPU and memory, each alone: a typed value with limit and use."""
    clock = HandClock()
    late = budget(clock)
    clock.work(11)
    assert late.check() == TimeoutExceeded(10, pytest.approx(11))
    busy = budget(clock)
    busy.record_cpu(5_000)
    assert busy.check() is None
    busy.record_cpu(1)
    assert busy.check() == CpuExceeded(5_000, 5_001)
    large = budget(clock)
    large.record_memory(1_000)
    assert large.check() is None
    large.record_memory(1_001)
    large.record_memory(7)
    assert large.check() == MemoryExceeded(1_000, 1_001)


def test_several_at_once_are_one_violation_of_all_the_timeout_first() -> None:
    """Nothing is lost, and the order is that of the document."""
    clock = HandClock()
    account = budget(clock)
    account.record_memory(2_000)
    account.record_cpu(6_000)
    clock.work(20)
    found = account.check()
    assert isinstance(found, MultipleViolations)
    assert found.code == "constraint.multiple"
    assert [one.code for one in found.violations] == [
        "constraint.timeout_exceeded",
        "constraint.cpu_exceeded",
        "constraint.memory_exceeded",
    ]
    assert account.violations == found.violations
    account.check()
    assert len(account.violations) == 3, "a kind is kept once, however often it is found"


def test_without_the_wall_time_does_not_count() -> None:
    """A rule that waited for a busy host has done nothing wrong, unless it computed too much itself."""
    clock = HandClock()
    account = budget(clock)
    clock.work(1_000, cpu=False)
    assert account.check(wall=False) is None
    account.record_cpu(6_000)
    assert account.check(wall=False) == CpuExceeded(5_000, 6_000)


def test_enforce_charges_cpu_time_and_judges_afterwards() -> None:
    """What a function returns is its caller's if it kept to its limits, and nobody's if it did not."""
    clock = HandClock()
    account = budget(clock)
    assert account.enforce(lambda: clock.work(3) or "done") == "done"
    assert account.stats().cpu_time_us == 3_000
    with pytest.raises(ConstraintViolationError) as caught:
        account.enforce(lambda: clock.work(3))
    assert caught.value.code == "constraint.cpu_exceeded"
    with pytest.raises(ConstraintViolationError):
        account.enforce(lambda: pytest.fail("it was begun with nothing left"))


def test_enforce_charges_what_fails_too() -> None:
    """An error passes through, and does not make the work free."""
    clock = HandClock()
    account = budget(clock)

    def fails() -> None:
        clock.work(2)
        raise LookupError("its own")

    with pytest.raises(LookupError):
        account.enforce(fails)
    assert account.stats().cpu_time_us == 2_000


def test_statistics_say_what_was_used() -> None:
    """The peak of memory, the sum of CPU, time from the clock or as the run's host has measured it."""
    clock = HandClock()
    account = budget(clock)
    account.record_memory(700)
    account.record_memory(300)
    account.record_cpu(10)
    clock.work(20, cpu=False)
    account.check()
    stats = account.stats()
    assert (stats.memory_used_bytes, stats.cpu_time_us, stats.violation_count) == (700, 10, 1)
    assert stats.elapsed_ms == pytest.approx(20, abs=0.01)
    account.record_wall(2.5)
    assert account.stats().elapsed_ms == 2.5


@pytest.mark.parametrize("record", [ExecutionBudget.record_cpu, ExecutionBudget.record_memory])
def test_a_measurement_below_zero_is_no_measurement(record: object) -> None:
    """Otherwise a clock that runs backwards would give a run more than it was granted."""
    with pytest.raises(EnforcementFailureError):
        record(budget(HandClock()), -1)  # type: ignore[operator]


def test_a_budget_has_no_room_for_more() -> None:
    """It is one small object of slots."""
    with pytest.raises(AttributeError):
        budget(HandClock()).anything = 1  # type: ignore[attr-defined]
