"""How often a step is tried, and how long it waits in between; faults are tried again, refusals never."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from engine.errors import RefusalError, StepError
from engine.values import JsonValue

ATTEMPTS_MAX: Final = 100
BASE_MS_MAX: Final = 3_600_000
DELAY_MS_MAX: Final = 3_600_000  # an exponential delay stops growing here

_T = TypeVar("_T")


class Backoff(StrEnum):
    """How the delay grows: not at all, or doubling with each attempt."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a step is tried again.

    Source: ExecutionConstraints document, Retry Policies; jitter is "full jitter" (M. Brooker, Exponential Backoff
    And Jitter, AWS Architecture Blog, 2015).
    """

    max_attempts: int = 3  # the first one included
    base_ms: int = 1_000
    backoff: Backoff = Backoff.FIXED
    jitter: bool = False

    def __post_init__(self) -> None:
        """Refuse what no document could say."""
        if not 1 <= self.max_attempts <= ATTEMPTS_MAX or not 0 <= self.base_ms <= BASE_MS_MAX:
            raise ValueError(f"max_attempts must be from 1 to {ATTEMPTS_MAX}, base_ms from 0 to {BASE_MS_MAX}")

    def with_exponential_backoff(self) -> "RetryPolicy":
        """Return this policy with delays of base, twice base, four times base and so on."""
        return replace(self, backoff=Backoff.EXPONENTIAL)

    def delay_seconds(self, attempt: int, chance: float) -> float:
        """Return the wait after attempt number `attempt` (from 1) has failed.

        Args:
            attempt: the one that failed.
            chance: 0 ≤ chance < 1; with jitter, the part of the delay that is waited.
        """
        delay_ms = self.base_ms
        if self.backoff is Backoff.EXPONENTIAL:
            delay_ms = min(self.base_ms << (attempt - 1), DELAY_MS_MAX)
        return delay_ms / 1e3 * (chance if self.jitter else 1.0)

    def execute(
        self,
        f: Callable[[], _T],
        *,
        sleep: Callable[[float], object],
        chance: Callable[[], float] = lambda: 0.0,
        retryable: Callable[[BaseException], bool] | None = None,
    ) -> _T:
        """Return what `f` returns, called again after each failure that may pass, until there are no attempts left.

        Args:
            f: what may fail.
            sleep: waits so many seconds.
            chance: numbers from 0 to below 1; asked with jitter only.
            retryable: whether a failure may pass; `is_retryable` where it is not given.

        Raises:
            BaseException: what the last attempt raised.
        """
        may_pass = retryable or is_retryable
        for attempt in range(1, self.max_attempts):
            try:
                return f()
            except Exception as error:
                if not may_pass(error):
                    raise
            sleep(self._wait(attempt, chance))
        return f()

    async def execute_async(
        self,
        f: Callable[[], Awaitable[_T]],
        *,
        sleep: Callable[[float], Awaitable[object]],
        chance: Callable[[], float] = lambda: 0.0,
        retryable: Callable[[BaseException], bool] | None = None,
    ) -> _T:
        """Do the same on an event loop; see `execute`."""
        may_pass = retryable or is_retryable
        for attempt in range(1, self.max_attempts):
            try:
                return await f()
            except Exception as error:
                if not may_pass(error):
                    raise
            await sleep(self._wait(attempt, chance))
        return await f()

    def _wait(self, attempt: int, chance: Callable[[], float]) -> float:
        return self.delay_seconds(attempt, chance() if self.jitter else 0.0)

    def document(self) -> dict[str, JsonValue]:
        """Return the policy as it stands in a mission."""
        return {
            "max_attempts": self.max_attempts,
            "backoff": self.backoff.value,
            "base_ms": self.base_ms,
            "jitter": self.jitter,
        }


def is_retryable(raised: BaseException) -> bool:
    """Return whether trying again may help: a fault or a bug may pass, a refusal or a cancellation stands."""
    if isinstance(raised, StepError):
        return raised.retryable
    return isinstance(raised, Exception) and not isinstance(raised, RefusalError)
