"""How it stands with the parts of a gateway, and when that is believed."""

from gateway.health import FAILURES_MIN, Component, Health
from tests.bundle_worlds import START, ManualClock


class Probes:
    """Says what the test says."""

    def __init__(self) -> None:
        self.codes = dict.fromkeys(Component, "")

    def health(self, clock: ManualClock) -> Health:
        return Health({c: lambda c=c: self.codes[c] for c in Component}, clock)  # type: ignore[misc] - bound per turn


def test_a_part_counts_as_dead_after_two_looks_and_as_well_after_one() -> None:
    """With the code, and since when."""
    probes, clock = Probes(), ManualClock()
    health = probes.health(clock)
    assert health.serving
    probes.codes[Component.POLICY] = "policy.unavailable"
    clock.pass_(1)
    assert [health.look() for _ in range(FAILURES_MIN - 1)] == [False] * (FAILURES_MIN - 1)
    assert health.serving
    assert health.look()
    [dead] = [state for state in health.states if not state.serving]
    assert (dead.component, dead.code) == (Component.POLICY, "policy.unavailable")
    assert dead.since == clock.now() != START
    assert not health.look()
    probes.codes[Component.POLICY] = ""
    assert health.look()
    assert health.serving


def test_one_bad_look_between_good_ones_is_nothing() -> None:
    """A worker that dies is replaced before anybody has to know."""
    probes = Probes()
    health = probes.health(ManualClock())
    for code in ("sandbox.unavailable", "", "sandbox.unavailable", ""):
        probes.codes[Component.SANDBOX] = code
        assert not health.look()
    assert health.serving
