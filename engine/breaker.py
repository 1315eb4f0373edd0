"""Circuit breakers: what fails again and again is left alone for a while, then tried with care.

    CLOSED ──failures_max failures within window_seconds, or an exhausted resource──▶ OPEN
    OPEN ──the first call after open_seconds──▶ HALF_OPEN
    HALF_OPEN ──a probe succeeds──▶ CLOSED
    HALF_OPEN ──a probe fails, or an exhausted resource──▶ OPEN

Source: M. Nygard, Release It!, 2nd edition, 5.3. What a call does is up to the caller: it is admitted, and tells its
passage what became of it.
"""

import asyncio
import errno
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final

from engine.attempt import StepAttempt
from engine.clock import Clock
from engine.errors import FaultError, StepError
from engine.mission import MissionStep
from engine.ports import StepRunner
from engine.retry import is_retryable
from engine.values import JsonValue

_EXHAUSTED_ERRNOS: Final = frozenset({errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EDQUOT})
_OF_ITS_TIME: Final = 0.99  # a cancellation this late in an attempt's time is its deadline's: timers are not exact


class BreakerState(StrEnum):
    """Whether calls go through: all, none, or a few."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When breakers open, and for how long."""

    failures_max: int = 5  # that many within the window open it
    window_seconds: float = 30.0
    open_seconds: float = 10.0
    probes_max: int = 1  # calls that a half-open breaker lets through at a time
    breakers_max: int = 4_096

    def __post_init__(self) -> None:
        """Refuse settings with which a breaker would never open, or never close."""
        if min(self.failures_max, self.probes_max, self.breakers_max) < 1:
            raise ValueError("failures_max, probes_max and breakers_max must be at least 1")
        if not (self.window_seconds > 0 and self.open_seconds > 0):
            raise ValueError("window_seconds and open_seconds must be above 0")


class Breaker:
    """One breaker. All of it is on one event loop; `state` changes when somebody calls, never by itself."""

    __slots__ = ("_clock", "_failures", "_name", "_opened_at", "_period", "_probes", "_settings", "_state")

    def __init__(self, settings: BreakerSettings, clock: Clock, name: str = "this call") -> None:
        self._settings = settings
        self._clock = clock
        self._name = name
        self._state = BreakerState.CLOSED
        self._failures: deque[float] = deque(maxlen=settings.failures_max)  # moments
        self._opened_at = 0.0
        self._period = 0  # counts transitions
        self._probes: dict[Passage, float] = {}  # of the present half-open period, with the moment of admission

    @property
    def state(self) -> BreakerState:
        """As the last call left it."""
        return self._state

    @property
    def forgettable(self) -> bool:
        """Whether nothing is lost but a count of failures: closed, or open for so long that a call would go through."""
        now = self._clock.monotonic()
        if self._state is BreakerState.HALF_OPEN:
            return not any(self._live(since, now) for since in self._probes.values())
        return self._state is BreakerState.CLOSED or not self._live(self._opened_at, now)

    def require(self) -> None:
        """Return if a call would be let through now; none is.

        Raises:
            StepError: as `admit`.
        """
        now = self._clock.monotonic()
        if self._state is BreakerState.OPEN and self._live(self._opened_at, now):
            raise self._refusal(self._opened_at, now)
        if self._state is BreakerState.HALF_OPEN:
            probing = [since for since in self._probes.values() if self._live(since, now)]
            if len(probing) >= self._settings.probes_max:
                raise self._refusal(min(probing), now)

    def admit(self) -> "Passage":
        """Let a call through.

        Raises:
            StepError: `breaker.open`, not now; the message says for how many seconds.
        """
        now = self._clock.monotonic()
        if self._state is BreakerState.OPEN:
            if self._live(self._opened_at, now):
                raise self._refusal(self._opened_at, now)
            self._turn(BreakerState.HALF_OPEN)
        passage = Passage(self, self._period)
        if self._state is BreakerState.HALF_OPEN:
            # A probe that was lost without a word must not keep its place, and everybody else out, for ever.
            self._probes = {probe: since for probe, since in self._probes.items() if self._live(since, now)}
            if len(self._probes) >= self._settings.probes_max:
                raise self._refusal(min(self._probes.values()), now)
            self._probes[passage] = now
        return passage

    def call(self, *, limit_seconds: float | None = None, excused: Callable[[], bool] = lambda: False) -> "BreakerCall":
        """Return a block that goes through the breaker, which learns from how it ends.

        What `is_retryable` says may pass is a failure, and so is what `is_exhaustion` knows; a refusal says nothing of
        the target's health. A cancellation is a failure where it is the deadline's: where the block has had
        `limit_seconds`, unless its time is `excused`, which is asked then.

        Raises:
            StepError: `breaker.open`, on entering: the block is not entered.
        """
        return BreakerCall(self, self._clock, limit_seconds, excused)

    def settle(self, passage: "Passage", *, good: bool | None, exhausted: bool = False) -> None:
        """Hear from a passage what became of its call; None: nothing can be said.

        What was admitted before the last transition says nothing of the present, except that a resource is exhausted.
        """
        self._probes.pop(passage, None)
        if exhausted and self._state is not BreakerState.OPEN:
            self._open()
        elif passage.period != self._period or good is None:
            return
        elif self._state is BreakerState.HALF_OPEN:
            if good:
                self._turn(BreakerState.CLOSED)
            else:
                self._open()
        elif not good:
            self._count_failure()

    def _count_failure(self) -> None:
        now = self._clock.monotonic()
        self._failures.append(now)  # the oldest of failures_max makes room
        full = len(self._failures) == self._settings.failures_max
        if full and now - self._failures[0] <= self._settings.window_seconds:
            self._open()

    def _open(self) -> None:
        self._opened_at = self._clock.monotonic()
        self._turn(BreakerState.OPEN)

    def _turn(self, state: BreakerState) -> None:
        self._state = state
        self._period += 1
        self._failures.clear()
        self._probes.clear()

    def _live(self, since: float, now: float) -> bool:
        return now - since < self._settings.open_seconds

    def _refusal(self, since: float, now: float) -> StepError:
        seconds = max(self._settings.open_seconds - (now - since), 0.0)
        message = f"{self._name} has failed too often, and is left alone for another {seconds:.1f} seconds"
        return StepError(message, code="breaker.open")


class Passage:
    """One admitted call. Exactly one of its methods is called, once, with what became of it."""

    __slots__ = ("_breaker", "_settled", "period")

    def __init__(self, breaker: Breaker, period: int) -> None:
        self._breaker = breaker
        self._settled = False
        self.period = period  # of the breaker, at the admission

    def succeeded(self) -> None:
        """The call did what it should.

        Raises:
            FaultError: `breaker.settled`, this passage has ended before; so for each of the three.
        """
        self._settle()
        self._breaker.settle(self, good=True)

    def failed(self, *, exhausted: bool = False) -> None:
        """The call failed; `exhausted` says that a resource is used up, which opens the breaker at once."""
        self._settle()
        self._breaker.settle(self, good=False, exhausted=exhausted)

    def abandoned(self) -> None:
        """Nobody knows: the call was cancelled, or refused before it came to anything."""
        self._settle()
        self._breaker.settle(self, good=None)

    def _settle(self) -> None:
        if self._settled:
            raise FaultError("the passage has been settled before", code="breaker.settled")
        self._settled = True


class BreakerCall:
    """A block that goes through a breaker; `Breaker.call` makes it, for one use."""

    __slots__ = ("_begun", "_breaker", "_clock", "_excused", "_limit_seconds", "_passage")

    def __init__(
        self, breaker: Breaker, clock: Clock, limit_seconds: float | None, excused: Callable[[], bool]
    ) -> None:
        self._breaker = breaker
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._excused = excused

    def __enter__(self) -> None:
        self._passage = self._breaker.admit()
        self._begun = self._clock.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._passage.succeeded()
        elif self._is_failure(error):
            self._passage.failed(exhausted=is_exhaustion(error))
        else:
            self._passage.abandoned()

    def _is_failure(self, error: BaseException) -> bool:
        limit = self._limit_seconds
        if isinstance(error, asyncio.CancelledError):
            late = limit is not None and self._clock.monotonic() - self._begun >= limit * _OF_ITS_TIME
            return late and not self._excused()
        return is_retryable(error) or is_exhaustion(error)


class Breakers:
    """A breaker for each tenant, kind of step and target; at most `breakers_max` of them.

    To make room, the closed one that was used longest ago is forgotten. One that keeps calls away never is: where all
    do, a newcomer gets a breaker that is not kept.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._breakers: OrderedDict[tuple[str, str, str], Breaker] = OrderedDict()  # the one used last at the end

    def __len__(self) -> int:
        return len(self._breakers)

    def known(self, tenant: str, kind: str, target: str = "") -> Breaker | None:
        """Return the breaker that is there; None: there is none, so nothing has been counted."""
        return self._breakers.get((tenant, kind, target))

    def of(self, tenant: str, kind: str, target: str = "") -> Breaker:
        """Return the breaker of calls of `kind` to `target`; tenants do not feel each other's failures."""
        key = (tenant, kind, target)
        if (known := self._breakers.get(key)) is not None:
            self._breakers.move_to_end(key)
            return known
        breaker = Breaker(self._settings, self._clock, f"{kind} {target}".rstrip())
        if len(self._breakers) < self._settings.breakers_max or self._forget_one():
            self._breakers[key] = breaker
        return breaker

    def _forget_one(self) -> bool:
        for key, breaker in self._breakers.items():
            if breaker.forgettable:
                del self._breakers[key]
                return True
        return False


class BreakerRunner:
    """A runner whose steps go through breakers, by type of step and target."""

    def __init__(
        self,
        inner: StepRunner,
        breakers: Breakers,
        *,
        tenant: str = "",
        target: Callable[[MissionStep], str] = lambda _step: "",
    ) -> None:
        self._inner = inner
        self._breakers = breakers
        self._tenant = tenant
        self._target = target

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        """Run the step, if its breaker lets it through.

        Raises:
            StepError: `breaker.open`, or the step's own.
        """
        breaker = self._breakers.of(self._tenant, step.step_type, self._target(step))
        with breaker.call(limit_seconds=step.timeout_seconds):
            return await self._inner.run_step(step, attempt)


def is_exhaustion(error: BaseException) -> bool:
    """Return whether a resource is used up: memory, disk, quota or file descriptors, or whatever a step calls so."""
    if isinstance(error, StepError):
        return error.exhausted
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED_ERRNOS)
