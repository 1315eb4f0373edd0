import pytest

from engine.constraints import FUEL_PER_MS
from gateway.errors import PolicyInvalidError
from gateway.sandbox.profile import PROFILES_MAX, profiles_from


@pytest.mark.parametrize(
    ("name", "wall_ms", "memory_bytes", "fuel_ms", "on_violation", "retries", "backoff_ms"),
    [
        ("fast", 5, 1024 * 1024, 0.5, "closed", 0, 0),
        ("semantic", 100, 10 * 1024 * 1024, 50, "open", 2, 10),
        ("wasm", 10, 5 * 1024 * 1024, 2, "closed", 0, 0),
        ("observational", 2, 512 * 1024, 0.1, "open", 0, 0),
    ],
)
def test_the_defaults_are_the_documented_ones(
    name: str, wall_ms: int, memory_bytes: int, fuel_ms: float, on_violation: str, retries: int, backoff_ms: int
) -> None:
    """The four profiles of the ExecutionConstraints document, without any data."""
    profile = profiles_from({})[name]
    assert profile.wall_ms_max == wall_ms
    assert profile.memory_bytes_max == memory_bytes
    assert profile.fuel_max == fuel_ms * FUEL_PER_MS
    on_breach = "closed" if profile.fail_closed else "open"
    assert (on_breach, profile.retries_max, profile.retry_backoff_ms) == (on_violation, retries, backoff_ms)


def test_data_overrides_and_adds() -> None:
    """An entry changes what it names; a new name stands on its own."""
    data = {
        "profiles": {
            "wasm": {"wall_ms": 20},
            "batch": {"wall_ms": 50, "memory_bytes": 65_536, "cpu_shares": None, "sampling_rate": 0.5},
        }
    }
    profiles = profiles_from(data)
    assert profiles["wasm"].wall_ms_max == 20
    assert profiles["wasm"].memory_bytes_max == 5 * 1024 * 1024
    assert profiles["batch"].fuel_max == 50 * FUEL_PER_MS
    assert profiles["batch"].sampling_rate == 0.5
    assert set(profiles) == {"fast", "semantic", "wasm", "observational", "batch"}


@pytest.mark.parametrize(
    "data",
    [
        {"profiles": []},
        {"profiles": {f"p{n}": {} for n in range(PROFILES_MAX + 1)}},
        {"profiles": {"wasm": 5}},
        {"profiles": {"wasm": {"wal_ms": 5}}},
        {"profiles": {"wasm": {"wall_ms": "5"}}},
        {"profiles": {"wasm": {"wall_ms": 0}}},
        {"profiles": {"wasm": {"memory_bytes": 10**12}}},
        {"profiles": {"wasm": {"cpu_shares": 101}}},
        {"profiles": {"wasm": {"on_violation": "ignore"}}},
        {"profiles": {"wasm": {"on_violation": ["open"]}}},
        {"profiles": {"wasm": {"retries": -1}}},
        {"profiles": {"wasm": {"backoff_ms": True}}},
        {"profiles": {"wasm": {"sampling_rate": 1.1}}},
        {"profiles": {"new": {"wall_ms": 5}}},
    ],
)
def test_an_entry_that_is_not_understood_refuses_the_bundle(data: dict[str, object]) -> None:
    """Unknown fields, wrong types and values out of range are never dropped."""
    with pytest.raises(PolicyInvalidError) as caught:
        profiles_from(data)  # type: ignore[arg-type]
    assert caught.value.code == "policy.profile_invalid"
