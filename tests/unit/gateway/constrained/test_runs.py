"""Modules that are no steps: what breaks a constraint is told and raised; who called decides what follows from it."""

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
from gateway.constrained.record import in_trail
from gateway.errors import SandboxError
from gateway.events import Trail
from gateway.identity import actor
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import RunGiven, RunReport
from tests.placed import observer, rewrite, screen
from tests.subjects import own
from tests.unit.engine.constraints.clocks import HandClock
from tests.virtual_time import run
from tests.worlds import ANN, EVE, KINDS, FakeLog, Faults

SCREEN = screen("s").hook
OPEN = replace(ExecutionConstraints.wasm_hook(), fail_closed=False)
CLOSED = ExecutionConstraints.wasm_hook()
OVER = SandboxError("over", code="constraint.timeout_exceeded")
GIVEN = RunGiven(1_700_000_000_000_000, bytes(range(16)))


class Place:
    """A sandbox whose runs end as the test says, and everything that holds them."""

    def __init__(self, drawn: float = 0.5) -> None:
        self.clock = HandClock()
        self.log = FakeLog(Faults())
        self.trail = Trail(self.log, actor(ANN), own(ANN))
        self.end: BaseException | None = None
        self.ran: list[tuple[str, RunGiven]] = []
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

    async def run(
        self, module: str, _document: bytes, _constraints: ExecutionConstraints, given: RunGiven
    ) -> RunReport:
        self.ran.append((module, given))
        if self.end is not None:
            raise self.end
        return RunReport(b"{}", 2_000_000, 65_536, 5)

    def hook(
        self, constraints: ExecutionConstraints, hook: Hook = SCREEN, *, caller: Any = ANN, told: bool = True
    ) -> RunReport:
        report = in_trail(self.trail, "m/a") if told else None
        return run(self.held.runs.run_hook(self, hook, b"{}", constraints, GIVEN, tenant=caller.tenant, report=report))

    def broken(self, constraints: ExecutionConstraints, hook: Hook = SCREEN, *, told: bool = True) -> str:
        """Run a hook over its limit; return what the log says of the consequence, or the code where none was broken."""
        before = len(self.log.events)
        with pytest.raises((ConstraintViolationError, SandboxError)) as caught:
            self.hook(constraints, hook, told=told)
        events = self.log.events[before:]
        return events[0].details["policy"] if events else caught.value.code

    def counted(self, hook: Hook = SCREEN) -> Any:
        return self.held.document()["rules"][hook.key]


@pytest.mark.parametrize(
    ("hook", "constraints", "policy"),
    [
        (SCREEN, OPEN, "open"),
        (SCREEN, CLOSED, "closed"),
        (observer("o").hook, OPEN, "open"),
        (observer("o").hook, CLOSED, "open"),
        (rewrite("r").hook, OPEN, "closed"),
        (rewrite("r").hook, CLOSED, "closed"),
    ],
)
def test_a_broken_constraint_is_told_with_its_consequence_and_raised(
    hook: Hook, constraints: ExecutionConstraints, policy: str
) -> None:
    """A screen is passed over where its profile is open, an observer always, a rewrite never."""
    place = Place()
    place.end = OVER
    assert place.broken(constraints, hook) == policy
    [event] = place.log.of("constraint.violated")
    assert (event.target, event.details["rule"]) == ("m/a", hook.key)
    assert (event.details["kind"], event.details["limit_ms"]) == ("constraint.timeout_exceeded", 10)
    assert place.counted(hook)["violations"] == {"constraint.timeout_exceeded": 1}


def test_what_an_observer_breaks_is_counted_and_not_told_each_time() -> None:
    """Without a report nothing is in the log; the statistics have it, and its caller is told by the error."""
    place = Place()
    place.end = OVER
    assert place.broken(OPEN, observer("o").hook, told=False) == "constraint.timeout_exceeded"
    assert place.log.events == []
    assert place.counted(observer("o").hook)["violations"] == {"constraint.timeout_exceeded": 1}


@pytest.mark.parametrize("code", ["sandbox.trap", "sandbox.output_invalid", "sandbox.crashed"])
def test_an_open_hook_that_fails_otherwise_broke_no_constraint(code: str) -> None:
    """It is a fault of the run: raised as it is, counted, and not told as a violation."""
    place = Place()
    place.end = SandboxError("it failed", code=code)
    with pytest.raises(SandboxError) as caught:
        place.hook(OPEN)
    assert caught.value is place.end
    assert place.log.events == []
    assert (place.counted()["faults"], place.counted()["violations"]) == (1, {})


@pytest.mark.parametrize(("rate", "left_out"), [(0.0, True), (0.5, True), (0.6, False), (1.0, False)])
def test_a_sample_that_is_left_out_is_counted_and_nothing_else(rate: float, left_out: bool) -> None:
    """It is not run, not charged and not recorded."""
    place = Place(drawn=0.5)
    assert place.held.runs.left_out(observer("o").hook, replace(OPEN, sampling_rate=rate)) is left_out
    assert (place.ran, place.log.events) == ([], [])
    rules = place.held.document()["rules"]
    assert (rules["o@1.0.0"]["sampled_out"] if left_out else rules.get("o@1.0.0")) == (1 if left_out else None)


def test_a_hook_runs_whatever_share_is_sampled() -> None:
    """Samples are drawn by the observers, once: what comes here takes place, also a screen in a sampled profile."""
    place = Place(drawn=0.9)
    assert place.hook(replace(OPEN, sampling_rate=0.0)).output == b"{}"
    assert len(place.ran) == 1


def test_a_hook_costs_its_site_and_not_the_principal() -> None:
    """Its runs are in the statistics under its key, and use up no quota of whoever submitted the mission."""
    place = Place()
    place.hook(CLOSED)
    place.end = OVER
    place.broken(CLOSED)
    counted = place.counted()
    assert (counted["runs"], counted["cpu_us"]) == (2, 1_000 + CLOSED.cpu_us_max)
    assert (counted["memory_bytes_peak"], counted["faults"]) == (65_536, 0)
    assert place.held.quotas.used((ANN.tenant, ANN.subject)) == (0, 0)


def test_a_hook_has_the_clock_and_the_chance_that_it_was_given() -> None:
    """Under its own key: the very ones of its attempt, so that a run can be repeated."""
    place = Place()
    place.hook(CLOSED)
    assert place.ran == [("s@1.0.0", GIVEN)]


def test_a_hook_that_breaks_its_limits_too_often_is_disabled() -> None:
    """It is not run for the tenant whose runs broke it, and for nobody else less."""
    place = Place()
    place.end = OVER
    assert [place.broken(CLOSED) for _ in range(2)] == ["closed", "closed"]
    assert place.broken(CLOSED) == "hook.disabled"
    assert len(place.ran) == 2
    with pytest.raises(SandboxError, match="left alone for another 10") as caught:
        place.hook(CLOSED)
    assert caught.value.code == "hook.disabled"
    with pytest.raises(SandboxError) as refused:
        place.held.runs.require(ANN, SCREEN)
    assert refused.value.code == "hook.disabled"
    place.held.runs.require(EVE, SCREEN)
    place.end = None
    assert place.hook(CLOSED, caller=EVE).output == b"{}"


def test_a_screen_that_fails_open_is_never_disabled() -> None:
    """It is run each time: what it can judge, it judges. An observer judges nothing."""
    place = Place()
    place.end = OVER
    assert {place.broken(OPEN) for _ in range(5)} == {"open"}
    watching = observer("o").hook
    assert [place.broken(OPEN, watching) for _ in range(3)] == ["open", "open", "hook.disabled"]


def test_a_probe_decides_about_a_disabled_hook() -> None:
    """One that keeps its limits enables it; one that does not, or that never ran, does not."""
    place = Place()
    place.end = OVER
    for _ in range(2):
        place.broken(CLOSED)
    place.clock.seconds += 10
    place.end = SandboxError("none", code="sandbox.unavailable")
    assert place.broken(CLOSED) == "sandbox.unavailable", "never ran, so nothing is known"
    place.end = OVER
    assert place.broken(CLOSED) == "closed"
    assert len(place.ran) == 4
    assert place.broken(CLOSED) == "hook.disabled"
    assert len(place.ran) == 4, "the probe broke its limits"
    place.clock.seconds += 10
    place.end = None
    assert place.hook(CLOSED).output == b"{}"
    place.end = OVER
    place.broken(CLOSED)
    place.end = None
    assert place.hook(CLOSED).output == b"{}", "one violation after it was enabled disables nothing"


def test_a_transient_fault_is_tried_again_as_the_profile_says() -> None:
    """Where no worker can be had, and only there."""
    place = Place()
    place.end = SandboxError("none", code="sandbox.unavailable")
    with pytest.raises(SandboxError):
        place.hook(replace(OPEN, retries_max=2))
    assert len(place.ran) == 3
    place.end = SandboxError("trapped", code="sandbox.trap")
    with pytest.raises(SandboxError):
        place.hook(replace(OPEN, retries_max=2))
    assert len(place.ran) == 4


def test_a_step_is_run_whatever_share_of_its_profile_is_sampled() -> None:
    """A step that is left out would have no output."""
    place = Place(drawn=0.9)
    admitted = SimpleNamespace(caller=ANN, trail=place.trail)
    ready = SimpleNamespace(admitted=admitted, kind=KINDS["pure"], target="m/a")
    never = replace(ExecutionConstraints.observational(0.0))
    report = run(place.held.runs.run_step(place, ready, b"{}", never, GIVEN))  # type: ignore[arg-type]
    assert (report.output, place.ran) == (b"{}", [("pure@1.0.0", GIVEN)])
