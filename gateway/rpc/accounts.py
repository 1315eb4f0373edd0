"""What the log is told of calls that have no event of their own: counts, by principal and method, once a minute.

Nobody can fill the log by calling: what has an event of its own is taken from a quota, and everything else is a number
in an event that comes at most once a minute for each principal and method. Nobody who is not known causes more than
one event a minute, together with all others. A gateway that is killed loses the numbers of its last minute; every
decision behind them is in the records of decisions, where those are kept.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from engine.clock import Clock, rfc3339
from engine.errors import EngineError
from engine.values import JsonObject, JsonValue
from gateway.authn.refusals import Refusals
from gateway.events import Audit, EventType
from gateway.identity import ANONYMOUS, Principal
from gateway.limits.event_quota import PER_MINUTE_DEFAULT, EventQuota

TOLD_EVERY_SECONDS: Final = 60.0
ENTRIES_MAX: Final = 16_384  # pairs of principal and method that wait to be told
CODES_MAX: Final = 16  # of one entry; others are counted together
CODE_CHARS_MAX: Final = 128
_OTHERS: Final = "others"
_STRANGERS: Final = "anonymous"  # actor of calls whose callers nobody knows
_GATE: Final = "gate"
_LOG: Final = logging.getLogger(__name__)
_Key: TypeAlias = tuple[str, str, str]  # actor, tenant, method


@dataclass(slots=True)
class _Entry:
    """The calls of one method by one principal that the log has not been told of."""

    since: datetime
    allowed: int = 0
    denied: int = 0  # without an event of their own
    over_quota: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # of those that were allowed, by code

    def document(self, tenant: str, until: datetime) -> JsonObject:
        out: dict[str, JsonValue] = {"tenant": tenant, "since": rfc3339(self.since), "until": rfc3339(until)}
        for name in ("allowed", "denied", "over_quota"):
            if count := getattr(self, name):
                out[name] = count
        if self.failed:
            out["failed"] = dict(sorted(self.failed.items()))
        return out


class Accounts:
    """Counts, and tells."""

    def __init__(
        self, audit: Audit, clock: Clock, refusals: Refusals, *, events_per_minute: int = PER_MINUTE_DEFAULT
    ) -> None:
        self.quota: Final = EventQuota(clock, events_per_minute)
        self._audit = audit
        self._clock = clock
        self._refusals = refusals
        self._refused_since = clock.now()
        self._entries: dict[_Key, _Entry] = {}
        self._silent = False  # the log takes nothing, and that was said

    def allowed(self, principal: Principal, method: str) -> None:
        """Count a call that policy allows."""
        self._entry(principal, method).allowed += 1

    def denied(self, principal: Principal, method: str) -> None:
        """Count a call that policy denies and that has no event of its own."""
        self._entry(principal, method).denied += 1

    def over_quota(self, principal: Principal, method: str) -> None:
        """Count a call that was refused since its event was not to be had."""
        self._entry(principal, method).over_quota += 1

    def failed(self, principal: Principal, method: str, code: str) -> None:
        """Count the failure of a call that was allowed."""
        codes, code = self._entry(principal, method).failed, code[:CODE_CHARS_MAX]  # policy's own, some of them
        codes[code if code in codes or len(codes) < CODES_MAX else _OTHERS] += 1

    def settle(self, actor: str) -> None:
        """Tell the log what it has not heard of one actor, of whom it is to hear nothing later."""
        for key in [key for key in self._entries if key[0] == actor]:
            self._tell(key)

    def flush(self) -> None:
        """Tell the log all that it has not heard; what it does not take waits."""
        for key in list(self._entries):
            self._tell(key)
        self._tell_refusals()

    async def run(self) -> None:
        """Tell it once a minute, until this is cancelled."""
        while True:
            await asyncio.sleep(TOLD_EVERY_SECONDS)
            self.flush()

    def _entry(self, principal: Principal, method: str) -> _Entry:
        actor = _STRANGERS if principal.known_as is None else principal.known_as.pseudonym
        key = (actor, principal.tenant, method)
        found = self._entries.get(key)
        if found is None:
            if len(self._entries) >= ENTRIES_MAX and not self._silent:
                self.flush()
            if len(self._entries) >= ENTRIES_MAX:  # the log takes nothing: who comes new is counted, and not named
                key = (_OTHERS, ANONYMOUS.tenant, _OTHERS)
            found = self._entries.setdefault(key, _Entry(self._clock.now()))
        return found

    def _tell(self, key: _Key) -> None:
        """Tell the log of one entry, which is forgotten if that has taken it."""
        actor, tenant, method = key
        details = self._entries[key].document(tenant, self._clock.now())
        if self._append(EventType.RPC_CALLED, actor, method, details):
            del self._entries[key]

    def _tell_refusals(self) -> None:
        counts = self._refusals.take()
        now = self._clock.now()
        if counts:
            _LOG.warning("callers who are not known, since %s: %s", rfc3339(self._refused_since), counts)
            details: JsonObject = {"since": rfc3339(self._refused_since), "until": rfc3339(now), "refused": {**counts}}
            if not self._append(EventType.RPC_UNAUTHENTICATED, _STRANGERS, _GATE, details):
                self._refusals.give_back(counts)
                return
        self._refused_since = now

    def _append(self, event: EventType, actor: str, target: str, details: JsonObject) -> bool:
        try:
            self._audit.append(event, actor=actor, target=target, details=details)
        except EngineError as error:
            if not self._silent:
                _LOG.warning("the log was not told of calls, which wait: %s", error.code)
            self._silent = True
            return False
        self._silent = False
        return True
