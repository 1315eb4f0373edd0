"""How long a call is tried: which failures are worth another attempt, how long is waited, and when it is over."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import grpc

from engine.clock import Clock
from gateway.backoff import Backoff
from gateway.client.errors import CallError
from gateway.client.failures import TOO_LARGE, late
from gateway.errors import ConfigurationError

LASTED_SECONDS: Final = 10.0
_AGAIN: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
)
_TORN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED})
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often is tried, and how long waited. The wait doubles, and each is 50 to 100 % of what it could be."""

    attempts_max: int = 5  # of one call, the first included
    reconnects_max: int = 12  # of a stream that had begun, in a row, without anything new in between
    first_seconds: float = 0.25
    seconds_max: float = 5.0


NO_RETRY: Final = Retry(attempts_max=1, reconnects_max=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """Told before each wait."""

    failure: CallError
    failures: int  # in a row
    failures_max: int
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What holds for each call of a client.

    Raises:
        ConfigurationError: `trace.invalid`.
    """

    retry: Retry = field(default_factory=Retry)
    deadline_seconds: float | None = None
    """For all attempts and waits together. None: twice what one attempt may take; of a stream, no end of its own."""

    traceparent: str = ""  # W3C Trace Context, sent along: the gateway's spans are under it then
    on_retry: Callable[[Retrying], None] | None = None

    def __post_init__(self) -> None:
        if self.traceparent and not _TRACEPARENT.fullmatch(self.traceparent):
            message = "traceparent is no W3C trace context: 00-TRACE-PARENT-FLAGS, in lower hex digits"
            raise ConfigurationError(message, code="trace.invalid")


class Patience:
    """The state of one call, or of one stream, over its attempts. It waits for nothing itself."""

    def __init__(
        self,
        options: CallOptions,
        clock: Clock,
        chance: Callable[[], float],
        *,
        attempt_seconds: float | None,
        repeats: bool,
        resumes: bool = False,
    ) -> None:
        """Begin.

        Args:
            options: how often and how long.
            clock: for the deadline.
            chance: from 0 to 1, for the jitter.
            attempt_seconds: what one attempt may take; None: a stream, which may go on.
            repeats: whether the same again comes to the same.
            resumes: whether a stream can go on where it broke.
        """
        self._options = options
        self._clock = clock
        self._attempt_seconds = attempt_seconds
        self._attempts_max = options.retry.attempts_max if repeats else 1
        self._resumes = resumes
        self._backoff = Backoff(
            first_seconds=options.retry.first_seconds, seconds_max=options.retry.seconds_max, chance=chance
        )
        whole = options.deadline_seconds
        if whole is None and attempt_seconds is not None:
            whole = 2 * attempt_seconds
        self._ends = None if whole is None else clock.monotonic() + whole
        self._began = clock.monotonic()
        self._answered = self._let_in = False

    def timeout_seconds(self) -> float | None:
        """Begin an attempt, and return what it may take."""
        self._began, self._let_in = self._clock.monotonic(), False
        if self._ends is None:
            return self._attempt_seconds
        left = max(0.0, self._ends - self._began)
        return left if self._attempt_seconds is None else min(left, self._attempt_seconds)

    def answered(self) -> None:
        """Note that something new has come of a stream."""
        self._answered = self._let_in = True
        self._backoff.reset()

    def opened(self) -> None:
        """Note that the gateway had let a stream in that broke: one that lasted was answered, be it by nothing."""
        self._let_in = True
        if self._clock.monotonic() - self._began >= LASTED_SECONDS:
            self.answered()

    def wait_seconds(self, failure: CallError) -> float:
        """Return how long to wait before the next attempt.

        Raises:
            CallError: `failure`, where there is none.
        """
        now = self._clock.monotonic()
        going_on = self._answered and self._resumes
        failures_max = self._options.retry.reconnects_max if going_on else self._attempts_max - 1
        if self._answered and not self._resumes:
            failures_max = 0
        if (
            failure.status not in self._statuses()
            or failure.code == TOO_LARGE
            or self._backoff.failures >= failures_max
        ):
            raise failure
        seconds = max(self._backoff.next_seconds(), failure.retry_after_seconds or 0.0)
        if self._ends is not None and now + seconds >= self._ends:
            raise failure
        if self._options.on_retry is not None:
            told = Retrying(
                failure=failure, failures=self._backoff.failures, failures_max=failures_max, wait_seconds=seconds
            )
            self._options.on_retry(told)
        return seconds

    def _statuses(self) -> frozenset[grpc.StatusCode]:
        """Return what is worth another attempt; one that is let in shows its credential anew, as it is by now."""
        if self._attempt_seconds is not None:
            return _AGAIN
        return _TORN | {grpc.StatusCode.UNAUTHENTICATED} if self._let_in else _TORN


class Deadline:
    """One deadline over several calls: what is left of it, as the options of the next."""

    def __init__(self, options: CallOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._ends = None if options.deadline_seconds is None else clock.monotonic() + options.deadline_seconds

    def options(self) -> CallOptions:
        """Return the options of the next call.

        Raises:
            CallError: nothing is left.
        """
        if self._ends is None:
            return self._options
        left = self._ends - self._clock.monotonic()
        if left <= 0:
            raise late(f"not ended within {self._options.deadline_seconds:g} s")
        return replace(self._options, deadline_seconds=left)
