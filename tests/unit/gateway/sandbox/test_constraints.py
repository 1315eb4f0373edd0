import pytest

from engine.constraints import FUEL_PER_MS, ExecutionConstraints
from engine.constraints.limits import MEMORY_BYTES_CEILING, WALL_MS_CEILING

GRANT = ExecutionConstraints(wall_ms_max=10, fuel_max=1000, memory_bytes_max=65_536)


@pytest.mark.parametrize(
    "field",
    [
        {"wall_ms_max": 0},
        {"fuel_max": -1},
        {"memory_bytes_max": MEMORY_BYTES_CEILING + 1},
        {"wall_ms_max": WALL_MS_CEILING + 1},
        {"fuel_max": True},
        {"output_bytes_max": 1.5},
        {"wall_ms_max": "9"},
    ],
)
def test_what_no_worker_can_give_is_no_constraint(field: dict[str, object]) -> None:
    """A constraint that exists is a valid one."""
    fields = {"wall_ms_max": 10, "fuel_max": 1000, "memory_bytes_max": 65_536, **field}
    with pytest.raises(ValueError, match=next(iter(field))):
        ExecutionConstraints(**fields)  # type: ignore[arg-type]


def test_fuel_is_the_share_of_the_wall() -> None:
    """20 shares of 10 ms are 2 ms of fuel; no shares at all means a whole CPU."""
    some = ExecutionConstraints.of_shares(wall_ms_max=10, memory_bytes_max=65_536, cpu_shares=20)
    full = ExecutionConstraints.of_shares(wall_ms_max=10, memory_bytes_max=65_536, cpu_shares=None)
    assert some.fuel_max == 2 * FUEL_PER_MS
    assert full.fuel_max == 10 * FUEL_PER_MS


@pytest.mark.parametrize("shares", [0, 101, 2.5, True])
def test_shares_are_per_cent(shares: object) -> None:
    """Nothing outside of 1 to 100 is a share."""
    with pytest.raises(ValueError, match="cpu_shares"):
        ExecutionConstraints.of_shares(wall_ms_max=10, memory_bytes_max=65_536, cpu_shares=shares)  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", [{"fuel": 1}, {"fuel_max": 0}, {"fuel_max": True}, {"fuel_max": "1"}])
def test_a_narrowing_that_is_not_understood_is_refused(limits: dict[str, int]) -> None:
    """A decision is followed in full or not at all."""
    with pytest.raises(ValueError, match="fuel"):
        GRANT.narrow_by(limits)


def test_narrowing_by_names_touches_those_only() -> None:
    """Larger values change nothing, names that are not given stay."""
    narrowed = GRANT.narrow_by({"wall_ms_max": 5, "fuel_max": 10**15})
    assert narrowed == ExecutionConstraints(wall_ms_max=5, fuel_max=1000, memory_bytes_max=65_536)
