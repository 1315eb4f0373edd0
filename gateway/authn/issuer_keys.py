"""The keys of one issuer over time: kept, asked for anew, rotated, and no longer believed when they are too old.

Nobody who sends tokens decides how often the source is asked: an unknown name of a key asks once in `again_seconds`,
for everybody. A source that fails leaves what was known, until that is `stale_seconds_max` old; then there is no
answer, rather than one by keys that may have been revoked.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from engine.clock import Clock
from gateway.authn.jwks import KeySet, KeySetError, VerificationKey
from gateway.authn.key_sources import KeySource, KeySourceError
from gateway.errors import KeysUnavailableError

WAITING_MAX: Final = 256  # callers at once
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimes:
    """How long keys are kept. `refresh_seconds` is at most `stale_seconds_max`."""

    refresh_seconds: float = 300.0  # older keys are used, and asked for anew beside that
    again_seconds: float = 30.0  # between two questions at least, whoever causes them
    stale_seconds_max: float = 3_600.0  # older keys are not used


class IssuerKeys:
    """Finds the key that a token names."""

    def __init__(self, source: KeySource, times: KeyTimes, clock: Clock) -> None:
        self._source = source
        self._times = times
        self._clock = clock
        self._keys: KeySet | None = None
        self._read_at = 0.0  # when the keys were had
        self._asked_at: float | None = None
        self._waiting = 0
        self._asking: asyncio.Task[None] | None = None
        self._complaint = ""
        self._closed = False

    @property
    def keys(self) -> KeySet | None:
        """What is known now; None: nothing, or nothing that is young enough to be believed."""
        if self._keys is None or self._clock.monotonic() - self._read_at > self._times.stale_seconds_max:
            return None
        return self._keys

    def current(self) -> KeySet | None:
        """Return what is known now, as `keys`, and ask for it anew beside that where it is old enough."""
        if self._keys is not None and self._clock.monotonic() - self._read_at > self._times.refresh_seconds:
            self._begin()
        return self.keys

    async def find(self, kid: str, algorithm: str) -> VerificationKey | None:
        """Return the key of a name for an algorithm; None: the issuer has none.

        Raises:
            KeysUnavailableError: the issuer's keys are not known, or are too old.
        """
        if self.current() is None:
            await self.ask()
        found = self._required().find(kid, algorithm)
        if found is None and await self.ask():
            found = self._required().find(kid, algorithm)
        return found

    async def ask(self) -> bool:
        """Ask the source, unless that was done a moment ago, and say whether it was; a failure is logged, once.

        Raises:
            KeysUnavailableError: enough callers wait for the answer; they are nobody yet, and no limit counts them.
        """
        asking = self._begin()
        if asking is None:
            return False
        if self._waiting >= WAITING_MAX:
            raise KeysUnavailableError("too many callers wait for the issuer's keys")
        self._waiting += 1
        try:
            await asyncio.wait([asking])  # a caller who hangs up takes it from nobody else
        finally:
            self._waiting -= 1
        return True

    def stop(self) -> None:
        """Ask no more, and give up a question that is under way."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()

    async def close(self) -> None:
        """As `stop`; return once the question has ended."""
        self.stop()
        if self._asking is not None:
            await asyncio.wait([self._asking])

    def _required(self) -> KeySet:
        if (keys := self.keys) is None:
            raise KeysUnavailableError("the issuer's keys were not heard of for too long")
        return keys

    def _begin(self) -> "asyncio.Task[None] | None":
        """Return the question that is under way, or a new one; None: it is too soon for that."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        now = self._clock.monotonic()
        if self._closed:
            return None
        if self._asked_at is not None and now - self._asked_at < self._times.again_seconds:
            return None
        self._asked_at = now
        self._asking = asyncio.create_task(self._ask())
        return self._asking

    async def _ask(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            keys = KeySet.parse(await self._source.read())
        except (KeySourceError, KeySetError) as error:
            if str(error) != self._complaint:
                _LOG.error("keys of tokens: %s: %s", self._source.name, error)
            self._complaint = str(error)
            return
        if self._complaint:
            _LOG.info("keys of tokens: %s answers again", self._source.name)
        self._complaint = ""
        self._read_at = asked_at
        if keys != self._keys:
            self._keys = keys
