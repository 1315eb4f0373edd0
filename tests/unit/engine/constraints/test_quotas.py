"""Quotas: what is used up says so, is free again when it says, and is forgotten for nobody's benefit."""

import pytest

from engine.constraints.errors import InvalidConfigurationError, ResourceExhaustedError
from engine.constraints.quotas import Quota, Quotas
from tests.unit.engine.constraints.clocks import HandClock

QUOTA = Quota(window_seconds=60, runs_max=3, cpu_ms_max=10)


@pytest.mark.parametrize(
    "field", [{"window_seconds": 0}, {"runs_max": -1}, {"cpu_ms_max": 1.5}, {"runs_max": True}, {"runs_max": 1 << 60}]
)
def test_a_quota_that_is_none_is_refused(field: dict[str, int]) -> None:
    """The message names the field."""
    with pytest.raises(InvalidConfigurationError, match=next(iter(field))):
        Quota(**field)


def test_runs_are_counted_until_the_window_ends() -> None:
    """The refusal names the quota and says when it is free again; then everything is."""
    clock = HandClock()
    quotas = Quotas[str](QUOTA, clock)
    for _ in range(3):
        quotas.require("ann")
        quotas.charge("ann", cpu_us=1)
    clock.seconds += 15
    with pytest.raises(ResourceExhaustedError, match="3 runs is used up; it is free again in 45 seconds") as caught:
        quotas.require("ann")
    assert (caught.value.code, caught.value.free_in_seconds) == ("quota.exceeded", 45.0)
    quotas.require("bob")
    clock.seconds += 45
    quotas.require("ann")
    assert quotas.used("ann") == (0, 0)


def test_cpu_is_counted_whatever_the_runs() -> None:
    """One run may use all of it; less than nothing gives nothing back."""
    quotas = Quotas[str](QUOTA, HandClock())
    quotas.charge("ann", cpu_us=9_999)
    quotas.charge("ann", cpu_us=-9_999)
    quotas.require("ann")
    quotas.charge("ann", cpu_us=1, runs=0)
    with pytest.raises(ResourceExhaustedError, match="10 ms of CPU"):
        quotas.require("ann")
    assert quotas.used("ann") == (2, 10_000)
    assert quotas.document()["refused"] == 1


def test_a_full_table_refuses_a_newcomer_and_forgets_nobody() -> None:
    """Otherwise many names would be a way to have an account forgotten, and its quota anew."""
    clock = HandClock()
    quotas = Quotas[str](QUOTA, clock, principals_max=2)
    quotas.charge("ann", cpu_us=1, runs=3)
    clock.seconds += 10
    quotas.charge("bob", cpu_us=1)
    with pytest.raises(ResourceExhaustedError, match="free again in 50 seconds"):
        quotas.require("eve")
    with pytest.raises(ResourceExhaustedError):
        quotas.require("ann")
    clock.seconds += 50
    quotas.require("eve")
    assert len(quotas) == 1, "the window of ann has ended, that of bob has not"


def test_windows_begin_with_their_first_use() -> None:
    """A charge after the end of a window opens a new one."""
    clock = HandClock()
    quotas = Quotas[str](QUOTA, clock)
    quotas.charge("ann", cpu_us=5)
    clock.seconds += 60
    quotas.charge("ann", cpu_us=7)
    assert quotas.used("ann") == (1, 7)
