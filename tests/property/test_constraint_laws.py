"""Laws of constraints: a grant can only shrink, and a budget says truly what is left of it."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.constraints import FUEL_PER_MS, ExecutionConstraints
from engine.constraints.budget import ExecutionBudget
from engine.constraints.errors import ResourceExhaustedError
from engine.constraints.limits import (
    BACKOFF_MS_CEILING,
    FUEL_CEILING,
    MEMORY_BYTES_CEILING,
    OUTPUT_BYTES_CEILING,
    RETRIES_CEILING,
    WALL_MS_CEILING,
)
from engine.constraints.quotas import Quota, Quotas
from tests.unit.engine.constraints.clocks import HandClock

FIELDS = ("wall_ms_max", "fuel_max", "memory_bytes_max", "output_bytes_max")

grants = st.builds(
    ExecutionConstraints,
    wall_ms_max=st.integers(1, WALL_MS_CEILING),
    fuel_max=st.integers(1, FUEL_CEILING),
    memory_bytes_max=st.integers(1, MEMORY_BYTES_CEILING),
    output_bytes_max=st.integers(1, OUTPUT_BYTES_CEILING),
    sampling_rate=st.floats(0, 1),
    fail_closed=st.booleans(),
    retries_max=st.integers(0, RETRIES_CEILING),
    retry_backoff_ms=st.integers(0, BACKOFF_MS_CEILING),
)
limits = st.dictionaries(st.sampled_from(FIELDS), st.integers(1, 2 * FUEL_CEILING))


def within(inner: ExecutionConstraints, outer: ExecutionConstraints) -> bool:
    """Whether `inner` is at most as much in every field there is; closed is less than open."""
    less = all(getattr(inner, f.name) <= getattr(outer, f.name) for f in fields(inner) if f.name != "fail_closed")
    return less and inner.fail_closed >= outer.fail_closed


@given(grants, grants)
def test_narrow_never_widens(a: ExecutionConstraints, b: ExecutionConstraints) -> None:
    """Whatever is combined, the result is within both."""
    assert within(a.narrow(b), a)
    assert within(a.narrow(b), b)


@given(grants, grants, grants)
def test_narrow_is_a_meet(a: ExecutionConstraints, b: ExecutionConstraints, c: ExecutionConstraints) -> None:
    """Idempotent, commutative, associative: the order of rules cannot matter; and nothing larger is within both."""
    assert a.narrow(a) == a
    assert a.narrow(b) == b.narrow(a)
    assert a.narrow(b).narrow(c) == a.narrow(b.narrow(c))
    if within(c, a) and within(c, b):
        assert within(c, a.narrow(b))


@given(grants, limits)
def test_narrow_by_never_widens(grant: ExecutionConstraints, by: dict[str, int]) -> None:
    """A decision's numbers, however large, leave a grant within what it was; twice is as once."""
    narrowed = grant.narrow_by(by)
    assert within(narrowed, grant)
    assert narrowed.narrow_by(by) == narrowed
    assert all(getattr(narrowed, field) == min(value, getattr(grant, field)) for field, value in by.items())


@given(st.integers(1, WALL_MS_CEILING), st.integers(1, 100), st.integers(1, 100))
def test_more_shares_are_never_less_fuel(wall_ms: int, low: int, high: int) -> None:
    """Fuel grows with shares and with the wall, and a whole CPU is the most."""
    low, high = min(low, high), max(low, high)
    grant = [
        ExecutionConstraints.of_shares(wall_ms_max=wall_ms, memory_bytes_max=1, cpu_shares=shares).fuel_max
        for shares in (low, high, None)
    ]
    assert grant == sorted(grant)


@given(grants)
def test_what_is_derived_fits_the_fields(grant: ExecutionConstraints) -> None:
    """CPU time is fuel by the fixed rate, and shares are of one CPU over the wall."""
    assert grant.cpu_us_max == grant.fuel_max * 1_000 // FUEL_PER_MS
    assert 1 <= grant.cpu_shares <= 100
    assert grant.retry_policy.max_attempts == grant.retries_max + 1


uses = st.lists(
    st.tuples(st.integers(0, 70_000_000), st.integers(0, 20_000_000), st.integers(0, 2 * MEMORY_BYTES_CEILING)),
    max_size=8,
)


@given(grants, uses)
def test_a_budget_finds_what_is_over_and_nothing_else(grant: ExecutionConstraints, used: list[tuple[int, ...]]) -> None:
    """After any uses: a kind is found exactly where its use is over its limit, more than one as one of all of them."""
    clock = HandClock(seconds=0.0)
    budget = ExecutionBudget(grant, clock)
    wall_us = cpu_us = peak = 0
    for more_wall_us, more_cpu_us, memory_bytes in used:
        wall_us, cpu_us, peak = wall_us + more_wall_us, cpu_us + more_cpu_us, max(peak, memory_bytes)
        clock.seconds = wall_us / 1e6
        budget.record_cpu(more_cpu_us)
        budget.record_memory(memory_bytes)
        over = {
            "constraint.timeout_exceeded": wall_us > grant.wall_ms_max * 1_000,
            "constraint.cpu_exceeded": cpu_us > grant.cpu_us_max,
            "constraint.memory_exceeded": peak > grant.memory_bytes_max,
        }
        expected = [code for code, is_over in over.items() if is_over]
        violation = budget.check()
        found = [] if violation is None else [one.code for one in getattr(violation, "violations", (violation,))]
        assert found == expected
        assert budget.is_timeout() == over["constraint.timeout_exceeded"]
        assert {one.code for one in budget.violations} >= set(found)
    stats = budget.stats()
    assert (stats.cpu_time_us, stats.memory_used_bytes) == (cpu_us, peak)


@given(grants, st.floats(0, 200_000))
def test_a_budgets_time_only_shrinks(grant: ExecutionConstraints, ms: float) -> None:
    """What is left is never below nothing nor above the wall, and what is left of no time is a timeout or the edge."""
    clock = HandClock(seconds=0.0)
    budget = ExecutionBudget(grant, clock)
    assert budget.remaining_ms() == pytest.approx(grant.wall_ms_max)
    clock.seconds = ms / 1e3
    assert 0 <= budget.remaining_ms() <= grant.wall_ms_max * (1 + 1e-9)
    assert not (budget.is_timeout() and budget.remaining_ms() > 0)


amounts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 2_000)), max_size=40)


@given(amounts)
def test_quotas_give_nobody_more_than_a_window_holds(acts: list[tuple[str, int, int]]) -> None:
    """Within a window a principal begins no run that its quota does not hold, whoever else uses theirs meanwhile."""
    clock = HandClock(seconds=0.0)
    quotas = Quotas[str](Quota(window_seconds=60, runs_max=5, cpu_ms_max=4), clock, principals_max=2)
    model: dict[str, tuple[float, int, int]] = {}
    for who, seconds, cpu_us in acts:
        clock.seconds += seconds
        model = {name: entry for name, entry in model.items() if clock.seconds - entry[0] < 60}
        began, runs, used_us = model.get(who, (clock.seconds, 0, 0))
        room = who in model or len(model) < 2
        may = room and runs < 5 and used_us < 4_000
        if not may:
            with pytest.raises(ResourceExhaustedError) as refused:
                quotas.require(who)
            assert 0 < refused.value.free_in_seconds <= 60
            continue
        quotas.require(who)
        quotas.charge(who, cpu_us=cpu_us)
        model[who] = (began, runs + 1, used_us + cpu_us)
        assert quotas.used(who) == model[who][1:]
