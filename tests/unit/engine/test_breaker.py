import asyncio
import errno
from datetime import datetime

import pytest

from engine.attempt import StepAttempt
from engine.breaker import Breaker, BreakerRunner, Breakers, BreakerSettings, BreakerState, Passage
from engine.errors import FaultError, RefusalError, StepError
from engine.mission import MissionStep
from engine.result import MissionState
from engine.retry import is_retryable
from engine.values import JsonValue
from tests.schedules import ScriptedRunner, codes, forever, plan_of, run_of
from tests.virtual_time import EPOCH, LoopClock, run

SETTINGS = BreakerSettings(failures_max=3, window_seconds=30.0, open_seconds=10.0, probes_max=2, breakers_max=3)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return EPOCH

    def monotonic(self) -> float:
        return self.seconds


class World:
    def __init__(self, settings: BreakerSettings = SETTINGS) -> None:
        self.clock = Clock()
        self.breaker = Breaker(settings, self.clock, "fetch example.org")

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.admit().failed()

    def refused(self) -> StepError:
        with pytest.raises(StepError) as raised:
            self.breaker.admit()
        return raised.value

    def half_open(self) -> Passage:
        """Open the breaker, let its time pass, and return the first probe."""
        self.fail(3)
        self.clock.seconds += 10.0
        return self.breaker.admit()


@pytest.mark.parametrize(
    "wrong",
    [{"failures_max": 0}, {"probes_max": 0}, {"breakers_max": 0}, {"open_seconds": 0.0}, {"window_seconds": -1.0}],
)
def test_settings_that_would_never_open_or_never_close_are_refused(wrong: dict[str, float]) -> None:
    """A breaker without probes would stay open for ever."""
    with pytest.raises(ValueError, match="must be"):
        BreakerSettings(**wrong)  # type: ignore[arg-type]


def test_failures_within_the_window_open_it() -> None:
    """The caller is told that trying later may help, and when."""
    world = World()
    world.fail(2)
    assert world.breaker.state is BreakerState.CLOSED
    world.fail()
    assert world.breaker.state is BreakerState.OPEN
    world.clock.seconds += 7.5
    error = world.refused()
    assert error.code == "breaker.open"
    assert is_retryable(error)
    assert error.message == "fetch example.org has failed too often, and is left alone for another 2.5 seconds"


def test_failures_that_lie_further_apart_than_the_window_do_not() -> None:
    """Successes between them change nothing; the window slides."""
    world = World()
    for _ in range(5):
        world.fail()
        world.breaker.admit().succeeded()
        world.clock.seconds += 16.0
    assert world.breaker.state is BreakerState.CLOSED
    world.fail(2)
    assert world.breaker.state is BreakerState.OPEN, "with the one of 16 seconds ago"


def test_an_exhausted_resource_opens_it_at_once() -> None:
    """Also when the call was admitted long before: it is exhausted now."""
    world = World()
    old = world.breaker.admit()
    world.breaker.admit().failed(exhausted=True)
    assert world.breaker.state is BreakerState.OPEN
    world.clock.seconds += 10.0
    world.breaker.admit().succeeded()
    assert world.breaker.state is BreakerState.CLOSED
    old.failed(exhausted=True)
    assert world.breaker.state is BreakerState.OPEN


def test_an_open_breaker_is_not_opened_anew() -> None:
    """Late failures do not prolong it."""
    world = World()
    late = [world.breaker.admit() for _ in range(2)]
    world.fail(3)
    world.clock.seconds += 9.0
    late[0].failed()
    late[1].failed(exhausted=True)
    world.clock.seconds += 1.0
    world.breaker.admit()
    assert world.breaker.state is BreakerState.HALF_OPEN


def test_a_half_open_breaker_lets_a_few_through_and_closes_when_one_succeeds() -> None:
    """The others wait for that."""
    world = World()
    probe = world.half_open()
    assert world.breaker.state is BreakerState.HALF_OPEN
    world.breaker.admit()
    world.clock.seconds += 1.0
    assert "another 9.0 seconds" in world.refused().message
    probe.succeeded()
    assert world.breaker.state is BreakerState.CLOSED
    world.fail(2)
    assert world.breaker.state is BreakerState.CLOSED, "it begins to count anew"


def test_a_half_open_breaker_opens_when_one_probe_fails() -> None:
    """For as long as the first time, whatever the other probe then says."""
    world = World()
    probe = world.half_open()
    other = world.breaker.admit()
    probe.failed()
    assert world.breaker.state is BreakerState.OPEN
    other.succeeded()
    assert world.breaker.state is BreakerState.OPEN
    world.clock.seconds += 9.9
    world.refused()


def test_an_abandoned_probe_gives_its_place_back() -> None:
    """It says neither that things are well nor that they are not."""
    world = World()
    world.half_open().abandoned()
    assert world.breaker.state is BreakerState.HALF_OPEN
    world.breaker.admit()
    world.breaker.admit()
    world.refused()


def test_lost_probes_do_not_keep_the_breaker_half_open_for_ever() -> None:
    """Their places come back after the time for which it was open; what they say later still counts."""
    world = World()
    lost = world.half_open()
    world.clock.seconds += 5.0
    world.breaker.admit()
    world.refused()
    world.clock.seconds += 5.0
    world.breaker.admit()
    world.refused()
    lost.failed()
    assert world.breaker.state is BreakerState.OPEN


def test_what_was_admitted_before_a_transition_says_nothing_of_the_present() -> None:
    """Neither does an old failure open a half-open breaker, nor an old success close it."""
    world = World()
    old = [world.breaker.admit() for _ in range(5)]
    probe = world.half_open()
    old[0].succeeded()
    old[1].failed()
    assert world.breaker.state is BreakerState.HALF_OPEN
    probe.succeeded()
    for each in old[2:]:
        each.failed()
    assert world.breaker.state is BreakerState.CLOSED


def test_a_passage_is_settled_once() -> None:
    """Counting a call twice would be a bug of the caller."""
    passage = World().breaker.admit()
    passage.succeeded()
    for again in (passage.succeeded, passage.failed, passage.abandoned):
        with pytest.raises(FaultError) as raised:
            again()
        assert raised.value.code == "breaker.settled"


def test_each_tenant_kind_and_target_has_its_own() -> None:
    """The same three give the same breaker."""
    breakers = Breakers(SETTINGS, Clock())
    one = breakers.of("t", "fetch", "a")
    assert breakers.of("t", "fetch", "a") is one
    others = [breakers.of("u", "fetch", "a"), breakers.of("t", "write", "a")]
    assert all(other is not one for other in others)
    assert breakers.of("t", "fetch") is not one


def test_the_closed_breaker_that_was_used_longest_ago_makes_room() -> None:
    """An open one does not, however long nobody asked for it, until its time is over."""
    clock = Clock()
    breakers = Breakers(SETTINGS, clock)
    opened, kept, dropped = (breakers.of("t", "fetch", name) for name in ("opened", "kept", "dropped"))
    opened.admit().failed(exhausted=True)
    assert breakers.of("t", "fetch", "kept") is kept
    breakers.of("t", "fetch", "new")
    assert len(breakers) == 3
    assert breakers.of("t", "fetch", "opened") is opened
    assert breakers.of("t", "fetch", "kept") is kept
    assert breakers.of("t", "fetch", "dropped") is not dropped


def test_where_all_keep_calls_away_a_newcomer_is_not_kept() -> None:
    """Failing on many targets must not make the gateway forget the first; their time makes room again."""
    clock = Clock()
    breakers = Breakers(SETTINGS, clock)
    for name in "abc":
        breakers.of("t", "fetch", name).admit().failed(exhausted=True)
    newcomer = breakers.of("t", "fetch", "d")
    assert newcomer.state is BreakerState.CLOSED
    assert breakers.of("t", "fetch", "d") is not newcomer
    clock.seconds += 10.0
    breakers.of("t", "fetch", "a").admit()
    kept = breakers.of("t", "fetch", "d")
    assert breakers.of("t", "fetch", "d") is kept
    assert len(breakers) == 3
    assert breakers.of("t", "fetch", "a").state is BreakerState.HALF_OPEN


class Inner:
    """A runner that raises what it is told to, or returns."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.calls = 0

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        del attempt
        self.calls += 1
        if self.error is not None:
            raise self.error
        return step.id


def step_of(step_id: str = "a", timeout_seconds: float | None = None) -> MissionStep:
    return MissionStep(id=step_id, name=step_id, step_type="fetch", timeout_seconds=timeout_seconds)


ATTEMPT: StepAttempt = None  # type: ignore[assignment]  # it is only passed on


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (ValueError("a bug"), 3),
        (StepError("a fault"), 3),
        (MemoryError(), 1),
        (OSError(errno.ENOSPC, "full"), 1),
        (OSError(errno.ECONNREFUSED, "no"), 3),
        (StepError("not that", retryable=False), 9),
        (RefusalError("never"), 9),
        (asyncio.CancelledError(), 9),
    ],
)
async def test_a_runner_counts_what_may_pass_and_nothing_else(error: BaseException, calls: int) -> None:
    """Refusals and cancellations say nothing of the target, so they never open its breaker."""
    inner = Inner()
    inner.error = error
    runner = BreakerRunner(inner, Breakers(SETTINGS, Clock()), target=lambda step: step.id)
    for _ in range(9):
        with pytest.raises((type(error), StepError)):
            await runner.run_step(step_of(), ATTEMPT)
    assert inner.calls == calls
    inner.error = None
    assert await runner.run_step(step_of("elsewhere"), ATTEMPT) == "elsewhere"


async def test_a_runner_closes_the_breaker_with_a_success() -> None:
    """The step runs, and its output is passed on."""
    clock, inner = Clock(), Inner()
    runner = BreakerRunner(inner, Breakers(SETTINGS, clock), tenant="t")
    inner.error = MemoryError()
    with pytest.raises(MemoryError):
        await runner.run_step(step_of(), ATTEMPT)
    inner.error = None
    with pytest.raises(StepError, match="left alone"):
        await runner.run_step(step_of(), ATTEMPT)
    clock.seconds += 10.0
    for _ in range(5):
        assert await runner.run_step(step_of(), ATTEMPT) == "a"


def test_steps_that_hang_until_their_deadline_open_the_breaker() -> None:
    """A target that never answers is the one that breakers are for; a mission's end counts for nothing."""

    async def main() -> None:
        scripted = ScriptedRunner(dict.fromkeys(("a", "b", "c", "d"), forever))
        runner = BreakerRunner(scripted, Breakers(SETTINGS, LoopClock()))
        chain = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
        plan = plan_of(chain, timeouts=dict.fromkeys(chain, 2.0), tolerant=list(chain))
        result = await run_of(plan, runner).execute()
        assert result.state is not MissionState.CANCELLED
        assert codes(result)["d"] == "breaker.open"
        assert codes(result)["c"] == "step.timeout"

    run(main())


def test_a_breaker_can_be_asked_without_a_call() -> None:
    """`require` says what `admit` would, and neither takes a place among the probes nor changes the state."""
    world = World()
    world.breaker.require()
    world.fail(3)
    with pytest.raises(StepError) as raised:
        world.breaker.require()
    assert raised.value.code == "breaker.open"
    world.clock.seconds += 10.0
    for _ in range(5):
        world.breaker.require()
    assert world.breaker.state is BreakerState.OPEN
    world.breaker.admit()
    world.breaker.require()
    world.breaker.admit()
    with pytest.raises(StepError):
        world.breaker.require()


def test_only_what_was_asked_for_is_known() -> None:
    """`known` makes no breaker."""
    breakers = Breakers(SETTINGS, Clock())
    assert breakers.known("a", "http", "x") is None
    made = breakers.of("a", "http", "x")
    assert breakers.known("a", "http", "x") is made
    assert len(breakers) == 1


def test_time_that_is_excused_is_no_failure() -> None:
    """An attempt that waited for somebody says nothing of its target when its deadline comes; asked at the end."""

    async def main() -> None:
        breaker = Breaker(BreakerSettings(failures_max=1), LoopClock())
        waited = False

        async def late() -> None:
            with breaker.call(limit_seconds=5, excused=lambda: waited):
                await asyncio.sleep(5)
                raise asyncio.CancelledError

        for waited in (True, False):
            with pytest.raises(asyncio.CancelledError):
                await late()
            assert (breaker.state is BreakerState.CLOSED) is waited

    run(main())
