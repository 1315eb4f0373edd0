"""Laws of the circuit breaker, over every order of calls, outcomes and time."""

from datetime import datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from engine.breaker import Breaker, BreakerSettings, BreakerState, Passage
from engine.errors import StepError
from tests.virtual_time import EPOCH

LEGAL = {
    (BreakerState.CLOSED, BreakerState.OPEN),
    (BreakerState.OPEN, BreakerState.HALF_OPEN),
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),
    (BreakerState.HALF_OPEN, BreakerState.OPEN),
}


class Clock:
    seconds = 0.0

    def now(self) -> datetime:
        return EPOCH

    def monotonic(self) -> float:
        return self.seconds


class BreakerMachine(RuleBasedStateMachine):
    """Beside the breaker: a naive account of the present period, a transition being the start of the next."""

    passages = Bundle("passages")

    @initialize(failures=st.integers(1, 4), probes=st.integers(1, 3))
    def begin(self, failures: int, probes: int) -> None:
        self.settings = BreakerSettings(failures_max=failures, probes_max=probes, window_seconds=8.0, open_seconds=5.0)
        self.clock = Clock()
        self.breaker = Breaker(self.settings, self.clock)
        self.since = 0.0  # of the present period
        self.own: dict[Passage, float] = {}  # passages of the present period, and when they were admitted
        self.failures: list[float] = []

    def moved(self, before: BreakerState) -> bool:
        """Check a transition, if there was one, and begin the account anew."""
        after = self.breaker.state
        if before is after:
            return False
        assert (before, after) in LEGAL
        self.since, self.own, self.failures = self.clock.seconds, {}, []
        return True

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 5.0, 9.0]))
    def wait(self, seconds: float) -> None:
        before = self.breaker.state
        self.clock.seconds += seconds
        assert self.breaker.state is before

    @rule(target=passages)
    def admit(self) -> object:
        before, now = self.breaker.state, self.clock.seconds
        probing = sum(now - at < 5.0 for at in self.own.values())
        try:
            passage = self.breaker.admit()
        except StepError:
            assert self.breaker.state is before
            if before is BreakerState.OPEN:
                assert now - self.since < 5.0
            else:
                assert before is BreakerState.HALF_OPEN
                assert probing >= self.settings.probes_max
            return multiple()
        if before is BreakerState.OPEN:
            assert now - self.since >= 5.0
            assert self.breaker.state is BreakerState.HALF_OPEN
            self.moved(before)
        else:
            assert self.breaker.state is before
            assert before is BreakerState.CLOSED or probing < self.settings.probes_max
        self.own[passage] = now
        return passage

    @rule(passage=consumes(passages))
    def succeed(self, passage: Passage) -> None:
        before, own = self.breaker.state, passage in self.own
        self.own.pop(passage, None)
        passage.succeeded()
        assert self.moved(before) == (own and before is BreakerState.HALF_OPEN)
        assert self.breaker.state is not BreakerState.OPEN or before is BreakerState.OPEN

    @rule(passage=consumes(passages))
    def abandon(self, passage: Passage) -> None:
        before = self.breaker.state
        self.own.pop(passage, None)
        passage.abandoned()
        assert self.breaker.state is before

    @rule(passage=consumes(passages))
    def fail(self, passage: Passage) -> None:
        before, own, now = self.breaker.state, passage in self.own, self.clock.seconds
        self.own.pop(passage, None)
        passage.failed()
        if own and before is BreakerState.CLOSED:
            self.failures.append(now)
        recent = sum(now - at <= 8.0 for at in self.failures)
        too_many = before is BreakerState.CLOSED and own and recent >= self.settings.failures_max
        assert self.moved(before) == (too_many or (own and before is BreakerState.HALF_OPEN))
        assert self.breaker.state is not BreakerState.CLOSED or before is BreakerState.CLOSED

    @rule(passage=consumes(passages))
    def exhaust(self, passage: Passage) -> None:
        before = self.breaker.state
        self.own.pop(passage, None)
        passage.failed(exhausted=True)
        assert self.breaker.state is BreakerState.OPEN
        assert self.moved(before) == (before is not BreakerState.OPEN)

    @rule(passage=consumes(passages))
    def lose(self, passage: Passage) -> None:
        """The caller forgets it: nothing is ever said of that call."""
        del passage

    @invariant()
    def it_is_never_closed_to_all_for_longer_than_its_time(self) -> None:
        if hasattr(self, "breaker"):
            assert len(self.breaker._probes) <= self.settings.probes_max
            assert len(self.breaker._failures) <= self.settings.failures_max

    def teardown(self) -> None:
        """Whatever was lost: after `open_seconds` somebody gets through, and a success closes it."""
        if hasattr(self, "breaker"):
            self.clock.seconds += self.settings.open_seconds
            self.breaker.admit().succeeded()
            assert self.breaker.state is BreakerState.CLOSED


BreakerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
test_breaker = BreakerMachine.TestCase
