"""Laws of constraints: a grant can only shrink."""

from hypothesis import given
from hypothesis import strategies as st

from engine.constraints import ExecutionConstraints
from engine.constraints.limits import FUEL_CEILING, MEMORY_BYTES_CEILING, OUTPUT_BYTES_CEILING, WALL_MS_CEILING

FIELDS = ("wall_ms_max", "fuel_max", "memory_bytes_max", "output_bytes_max")

grants = st.builds(
    ExecutionConstraints,
    wall_ms_max=st.integers(1, WALL_MS_CEILING),
    fuel_max=st.integers(1, FUEL_CEILING),
    memory_bytes_max=st.integers(1, MEMORY_BYTES_CEILING),
    output_bytes_max=st.integers(1, OUTPUT_BYTES_CEILING),
)
limits = st.dictionaries(st.sampled_from(FIELDS), st.integers(1, 2 * FUEL_CEILING))


def within(inner: ExecutionConstraints, outer: ExecutionConstraints) -> bool:
    return all(getattr(inner, field) <= getattr(outer, field) for field in FIELDS)


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
