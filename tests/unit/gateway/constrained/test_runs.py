"""Modules that are no steps: open ones are passed over, sampled ones left out, disabled ones judged by their policy."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from engine.breaker import BreakerSettings
from engine.constraints import ExecutionConstraints
from engine.constraints.errors import ConstraintViolationError
from engine.constraints.quotas import Quota
from gateway.constrained.data import rules_from
from gateway.constrained.holding import Holding
from gateway.errors import SandboxError
from gateway.events import Trail
from gateway.sandbox.port import RunReport
from tests.unit.engine.constraints.clocks import HandClock
from tests.virtual_time import run
from tests.worlds import ANN, EVE, KINDS, FakeLog, Faults

HOOK = KINDS["pure"].hook
ABSTAIN = RunReport(b'{"verdict":"abstain"}', 0, 0, 0)
OPEN = replace(ExecutionConstraints.wasm_hook(), fail_closed=False)
CLOSED = ExecutionConstraints.wasm_hook()
OVER = SandboxError("over", code="constraint.timeout_exceeded")


class Place:
    """A sandbox whose runs end as the test says, and everything that holds them."""

    def __init__(self, drawn: float = 0.5) -> None:
        self.clock = HandClock()
        self.log = FakeLog(Faults())
        self.trail = Trail(self.log, "acme/ann")
        self.end: BaseException | None = None
        self.ran = 0
        self.held = Holding.of(
            profiles={},
            rules=rules_from({}),
            quota=Quota(),
            breakers=BreakerSettings(failures_max=2, open_seconds=10),
            policy=None,
            audit=self.log,
            clock=self.clock,
            chance=lambda: drawn,
        )

    async def run(self, _module: str, _document: bytes, _constraints: ExecutionConstraints) -> RunReport:
        self.ran += 1
        if self.end is not None:
            raise self.end
        return RunReport(b"{}", 2_000, 65_536, 5)

    def screen(self, constraints: ExecutionConstraints, default: RunReport | None = ABSTAIN, caller: Any = ANN) -> Any:
        return run(
            self.held.runs.run_hook(
                self,
                HOOK,
                b"{}",
                constraints,
                caller=caller,
                trail=self.trail,
                target="m/a",
                default=default,
            )
        )


def test_an_open_hook_that_breaks_its_limits_abstains() -> None:
    """The default stands in, and the log says that it was passed over."""
    place = Place()
    place.end = OVER
    assert place.screen(OPEN) is ABSTAIN
    [event] = place.log.of("constraint.violated")
    assert event.details["policy"] == "open"


def test_a_closed_hook_that_breaks_its_limits_is_a_no() -> None:
    """Whatever default there is."""
    place = Place()
    place.end = OVER
    with pytest.raises(ConstraintViolationError):
        place.screen(CLOSED)
    [event] = place.log.of("constraint.violated")
    assert event.details["policy"] == "closed"


@pytest.mark.parametrize("code", ["sandbox.trap", "sandbox.output_invalid", "sandbox.crashed"])
def test_an_open_hook_that_fails_otherwise_is_the_callers_to_judge(code: str) -> None:
    """Only broken constraints are passed over here."""
    place = Place()
    place.end = SandboxError("it failed", code=code)
    with pytest.raises(SandboxError):
        place.screen(OPEN)


def test_a_sample_that_is_left_out_is_not_run_nor_charged_nor_recorded() -> None:
    """It is counted, and nothing else happens."""
    place = Place(drawn=0.5)
    assert place.screen(replace(OPEN, sampling_rate=0.5)) is ABSTAIN
    assert (place.ran, place.log.events) == (0, [])
    assert place.held.quotas.used((ANN.tenant, ANN.subject)) == (0, 0)
    assert place.held.document()["rules"]["pure@1.0.0"]["sampled_out"] == 1


def test_a_disabled_hook_counts_by_its_failure_policy() -> None:
    """Open: the default, without a run. Closed: `hook.disabled`. For the tenant whose runs broke it, nobody else."""
    place = Place()
    place.end = OVER
    for _ in range(2):
        assert place.screen(OPEN) is ABSTAIN
    assert place.screen(OPEN) is ABSTAIN
    assert place.ran == 2
    with pytest.raises(SandboxError, match="left alone for another 10") as caught:
        place.screen(CLOSED)
    assert caught.value.code == "hook.disabled"
    with pytest.raises(SandboxError) as refused:
        place.held.runs.require(ANN, HOOK)
    assert refused.value.code == "hook.disabled"
    place.held.runs.require(EVE, HOOK)
    place.end = None
    assert place.screen(CLOSED, caller=EVE).output == b"{}"


def test_a_probe_decides_about_a_disabled_hook() -> None:
    """One that keeps its limits enables it; one that does not, or that never ran, does not."""
    place = Place(drawn=0.9)
    place.end = OVER
    for _ in range(2):
        place.screen(OPEN)
    place.clock.seconds += 10
    assert place.screen(replace(OPEN, sampling_rate=0.5)) is ABSTAIN, "left out, so nothing is known"
    place.screen(OPEN)
    assert place.ran == 3
    place.screen(OPEN)
    assert place.ran == 3, "the probe broke its limits"
    place.clock.seconds += 10
    place.end = None
    assert place.screen(CLOSED).output == b"{}"
    place.end = OVER
    place.screen(OPEN)
    place.end = None
    assert place.screen(CLOSED).output == b"{}", "one violation after it was enabled disables nothing"


def test_a_transient_fault_is_tried_again_as_the_profile_says() -> None:
    """Where no worker can be had, and only there."""
    place = Place()
    place.end = SandboxError("none", code="sandbox.unavailable")
    with pytest.raises(SandboxError):
        place.screen(replace(OPEN, retries_max=2))
    assert place.ran == 3
    place.end = SandboxError("trapped", code="sandbox.trap")
    with pytest.raises(SandboxError):
        place.screen(replace(OPEN, retries_max=2))
    assert place.ran == 4


def test_a_step_is_run_whatever_share_of_its_profile_is_sampled() -> None:
    """A step that is left out would have no output."""
    place = Place(drawn=0.9)
    admitted = SimpleNamespace(caller=ANN, trail=place.trail)
    ready = SimpleNamespace(admitted=admitted, kind=KINDS["pure"], target="m/a")
    never = replace(ExecutionConstraints.observational(0.0))
    report = run(place.held.runs.run_step(place, ready, b"{}", never))  # type: ignore[arg-type]
    assert (report.output, place.ran) == (b"{}", 1)
