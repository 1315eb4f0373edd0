from dataclasses import replace

import pytest

from engine.constraints import FUEL_PER_MS, ExecutionConstraints
from engine.constraints.errors import EnforcementFailureError, InvalidConfigurationError
from engine.constraints.limits import BACKOFF_MS_CEILING, MEMORY_BYTES_CEILING, RETRIES_CEILING, WALL_MS_CEILING

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


@pytest.mark.parametrize(
    "field",
    [
        {"sampling_rate": 1.1},
        {"sampling_rate": -0.1},
        {"sampling_rate": float("nan")},
        {"sampling_rate": True},
        {"sampling_rate": "1"},
        {"fail_closed": 1},
        {"fail_closed": None},
        {"retries_max": -1},
        {"retries_max": RETRIES_CEILING + 1},
        {"retry_backoff_ms": BACKOFF_MS_CEILING + 1},
        {"retry_backoff_ms": 0.5},
    ],
)
def test_what_says_how_a_run_is_repeated_and_judged_is_checked_too(field: dict[str, object]) -> None:
    """The error is typed, has its code, names the field, and is a ValueError as of any value that cannot be made."""
    fields = {"wall_ms_max": 10, "fuel_max": 1000, "memory_bytes_max": 65_536, **field}
    with pytest.raises(InvalidConfigurationError, match=next(iter(field))) as caught:
        ExecutionConstraints(**fields)  # type: ignore[arg-type]
    assert caught.value.code == "constraint.invalid"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("preset", "wall_ms", "memory_bytes", "shares", "closed", "retries", "backoff_ms", "rate"),
    [
        (ExecutionConstraints.fast_rule(), 5, 1024 * 1024, 10, True, 0, 0, 1.0),
        (ExecutionConstraints.semantic_rule(), 100, 10 * 1024 * 1024, 50, False, 2, 10, 1.0),
        (ExecutionConstraints.wasm_hook(), 10, 5 * 1024 * 1024, 20, True, 0, 0, 1.0),
        (ExecutionConstraints.wasm_hook(40), 40, 5 * 1024 * 1024, 20, True, 0, 0, 1.0),
        (ExecutionConstraints.observational(0.25), 2, 512 * 1024, 5, False, 0, 0, 0.25),
    ],
)
def test_the_presets_are_the_documents(
    preset: ExecutionConstraints,
    wall_ms: int,
    memory_bytes: int,
    shares: int,
    closed: bool,
    retries: int,
    backoff_ms: int,
    rate: float,
) -> None:
    """Each profile by rule type has the numbers of the ExecutionConstraints document."""
    assert (preset.wall_ms_max, preset.memory_bytes_max, preset.cpu_shares) == (wall_ms, memory_bytes, shares)
    assert (preset.fail_closed, preset.retries_max, preset.retry_backoff_ms) == (closed, retries, backoff_ms)
    assert preset.sampling_rate == rate
    assert preset.cpu_us_max == wall_ms * 1_000 * shares // 100


def never() -> float:
    raise AssertionError("chance was asked where there is nothing to decide")


def test_samples_are_certain_at_zero_and_one() -> None:
    """Nothing is drawn there; in between what is drawn decides."""
    assert not replace(GRANT, sampling_rate=0).should_sample(never)
    assert replace(GRANT, sampling_rate=1).should_sample(never)
    half = replace(GRANT, sampling_rate=0.5)
    assert half.should_sample(lambda: 0.49)
    assert not half.should_sample(lambda: 0.5)


@pytest.mark.parametrize("drawn", [1.0, -0.1, float("nan")])
def test_a_generator_that_is_none_decides_nothing(drawn: float) -> None:
    """A number that no generator gives is a failure of the enforcement, not a sample."""
    with pytest.raises(EnforcementFailureError) as caught:
        replace(GRANT, sampling_rate=0.5).should_sample(lambda: drawn)
    assert caught.value.code == "constraint.not_enforced"


def test_a_decision_cannot_name_what_happens_on_a_violation() -> None:
    """Only the numbers that bound a run are policy's to narrow by name."""
    for name in ("fail_closed", "sampling_rate", "retries_max", "retry_backoff_ms"):
        with pytest.raises(InvalidConfigurationError, match=name):
            GRANT.narrow_by({name: 1})


def test_retries_are_the_engines_own() -> None:
    """Two retries are three attempts, with the backoff between them."""
    policy = ExecutionConstraints.semantic_rule().retry_policy
    assert (policy.max_attempts, policy.delay_seconds(1, 0.0)) == (3, 0.01)
