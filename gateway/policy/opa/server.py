"""A connection to an OPA: every request has one deadline for all its tries, and a dead server is not waited for.

    admitted by the breaker ─▶ try ─▶ answer (4xx and OPA's own errors included)
                                │ not reached, lost, 5xx
                                └─▶ short pause ─▶ try … at most `retries` times, and never past the deadline

Decisions have no effects, so asking again is always right.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from secrets import SystemRandom
from typing import Final

from engine.breaker import Breaker, BreakerSettings, BreakerState, Passage
from engine.clock import Clock, SystemClock
from engine.errors import StepError
from gateway.policy.opa.client import Answer, Client, GarbageError, TransportError
from gateway.policy.opa.reply import is_error
from gateway.policy.opa.settings import OpaSettings

PAUSE_MS_MAX: Final = 20  # before the second try, twice that before the third, …
PAUSE_DOUBLINGS_MAX: Final = 5
BREAKER: Final = BreakerSettings(failures_max=5, window_seconds=30.0, open_seconds=1.0, probes_max=1)
_RANDOM: Final = SystemRandom()
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429


class OpaError(Exception):
    """There is no answer; `code` is the deny's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OpaServer:
    """One OPA. Connections are made when they are needed, within the running loop."""

    def __init__(
        self,
        settings: OpaSettings,
        *,
        breaker: BreakerSettings = BREAKER,
        clock: Clock | None = None,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self._clock = clock or SystemClock()
        self._retries = settings.retries
        self._client = Client(settings)
        self._breaker = Breaker(breaker, self._clock, "OPA")
        self._chance = chance
        self._answered_at = self._clock.monotonic()
        self._last_failure = ""
        self._claims: Counter[tuple[str, str]] = Counter()

    @property
    def state(self) -> BreakerState:
        """Whether the server is spoken to, as the last request left it."""
        return self._breaker.state

    def claim(self, revision: str, digest: str) -> bool:
        """Take a revision's answers for this bundle's; False: another bundle's engine does already."""
        if any(taken == revision and other != digest for taken, other in self._claims):
            return False
        self._claims[revision, digest] += 1
        return True

    def release(self, revision: str, digest: str) -> None:
        """Undo one `claim`."""
        self._claims[revision, digest] -= 1
        self._claims += Counter()  # without those at zero

    async def close(self) -> None:
        """Close the connections; the requests under way fail."""
        await self._client.close_connection()

    async def ask(
        self, method: str, path: str, body: bytes | None = None, *, bytes_max: int, deadline_ms: float
    ) -> Answer:
        """Return the server's answer to one request, whatever its status below 500, or OPA's own error.

        Args:
            method: GET or POST.
            path: percent-encoded, from `/v1`.
            body: JSON.
            bytes_max: an answer that is larger is none.
            deadline_ms: for all tries together.

        Raises:
            OpaError: `policy.unavailable`, `policy.timeout` or `policy.malformed`.
        """
        try:
            passage = self._breaker.admit()
        except StepError as error:
            raise OpaError("policy.unavailable", f"{error} ({self._last_failure})") from error
        begun = self._clock.monotonic()
        try:
            answer = await self._tries(method, path, body, bytes_max, deadline_ms)
        except OpaError as error:
            self._settle_failure(passage, error, begun)
            raise
        except BaseException:
            passage.abandoned()
            raise
        self._answered_at = self._clock.monotonic()
        passage.succeeded()
        return answer

    def _settle_failure(self, passage: Passage, error: OpaError, begun: float) -> None:
        """Tell the breaker. A document that takes a policy too long must not close the door for every other one.

        So a timeout counts only when the server has said nothing to anybody meanwhile, and an answer that is too large
        or garbled not at all: it came, and cost nobody a wait.
        """
        self._last_failure = str(error)
        slow = error.code == "policy.timeout" and self._answered_at <= begun
        if slow or error.code == "policy.unavailable":
            passage.failed()
        else:
            passage.abandoned()

    async def _tries(self, method: str, path: str, body: bytes | None, bytes_max: int, deadline_ms: float) -> Answer:
        failure: OpaError | None = None
        try:
            async with asyncio.timeout(deadline_ms / 1e3):
                for attempt in range(self._retries + 1):
                    if failure is not None:
                        await asyncio.sleep(self._pause_seconds(attempt))
                    failure = None  # so that a deadline in the middle of a try is a timeout
                    try:
                        return await self._once(method, path, body, bytes_max)
                    except OpaError as error:
                        if error.code != "policy.unavailable":
                            raise
                        failure = error
        except TimeoutError as error:
            if failure is None:
                raise OpaError("policy.timeout", f"OPA gave no answer within {deadline_ms:.0f} ms") from error
        raise failure or OpaError("policy.unavailable", "OPA was not asked")

    async def _once(self, method: str, path: str, body: bytes | None, bytes_max: int) -> Answer:
        try:
            answer = await self._client.fetch(method, path, body, bytes_max)
        except TransportError as error:
            raise OpaError("policy.unavailable", f"OPA cannot be asked: {error}") from error
        except GarbageError as error:
            raise OpaError("policy.malformed", f"OPA: {error}") from error
        broken = answer.status > _SERVER_ERROR or (answer.status == _SERVER_ERROR and not is_error(answer.body))
        if broken or answer.status == _TOO_MANY:
            raise OpaError("policy.unavailable", f"OPA, or what stands before it, answered {answer.status}")
        return answer

    def _pause_seconds(self, attempt: int) -> float:
        """Return between half and all of the pause before try `attempt` (the first is 0)."""
        pause_ms = PAUSE_MS_MAX << min(attempt - 1, PAUSE_DOUBLINGS_MAX)
        return pause_ms * (0.5 + self._chance() / 2) / 1e3
