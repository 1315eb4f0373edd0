"""The limits that every call passes between who it comes from and what it says: nothing of it has been parsed yet.

Order: (1) is there room at all, (2) may this caller hold another call or stream, (3) may it make one now. A call that
is refused has taken nothing of its principal or tenant. Who has not said who they are is counted by address, beside
the name that such callers share.
"""

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final

from engine.clock import Clock
from engine.values import JsonValue
from gateway.errors import LimitedError
from gateway.identity import Principal
from gateway.limits.amounts import Allowance, CallSettings, Owner, Rate
from gateway.limits.buckets import Buckets
from gateway.limits.kinds import CallKind
from gateway.limits.peers import peer_key
from gateway.limits.places import Places
from gateway.limits.shedding import Shedder

STRANGERS_OPEN_MAX: Final = 1_024  # of all addresses together
SLOW_SHARES: Final = 4  # a tenant may have so many times the slow requests of a principal, all strangers of an address
OPEN_RETRY_SECONDS: Final = 1.0  # nobody knows when a call or a stream ends
_OVERLOADED: Final = "limits.overloaded"

_RATES: Final[dict[CallKind, tuple[str, Callable[[Allowance], Rate]]]] = {
    CallKind.MUTATION: ("mutations_per_second", lambda allowance: allowance.mutations),
    CallKind.READ: ("reads_per_second", lambda allowance: allowance.reads),
    CallKind.CONTROL: ("controls_per_second", lambda allowance: allowance.controls),
}


class CallLimits:
    """The limits of calls of one gateway. Bound to the event loop on which calls come in."""

    def __init__(self, settings: CallSettings, shedder: Shedder, clock: Clock, chance: Callable[[], float]) -> None:
        """Prepare.

        Args:
            settings: what may be had.
            shedder: knows whether there is room at all.
            clock: its monotonic time is what rates are by.
            chance: numbers from 0 to below 1, so that callers who are turned away together do not return together.
        """
        self._settings = settings
        self._shedder = shedder
        self._now = clock.monotonic
        self._chance = chance
        self._principals: Buckets[tuple[CallKind, Owner]] = Buckets()
        self._tenants: Buckets[tuple[CallKind, str]] = Buckets()
        self._strangers: Buckets[str] = Buckets()
        self.open: Places[bool] = Places()  # calls under way; True: streams
        self._of_principals: Places[tuple[str, Owner]] = Places()
        self._of_tenants: Places[tuple[str, str]] = Places()
        self._of_strangers: Places[str] = Places()
        self._slow: Places[tuple[str, Owner]] = Places()
        self.refused: Counter[str] = Counter()  # by limit, without names of tenants

    def adopt(self, settings: CallSettings) -> None:
        """From now on go by these; what is under way stays, and what was used stays used."""
        self._settings = settings
        self._shedder.adopt(settings.shedding)

    @property
    def level(self) -> int:
        """What is shed: 0 nothing, 1 new work, 2 reads as well."""
        return self._shedder.level

    @property
    def wait_seconds(self) -> float:
        """How long the calls that wait longest waited on their way when that was last looked at."""
        return max(self._shedder.waits_ms.values()) / 1e3

    def document(self) -> dict[str, JsonValue]:
        """Return how things stand, as JSON; nobody is named."""
        return {
            "level": self.level,
            "wait_ms": {str(kind): round(wait, 3) for kind, wait in self._shedder.waits_ms.items()},
            "calls_open": self.open.held(False),
            "streams_open": self.open.held(True),
            "refused": dict(self.refused),
        }

    def enter(self, caller: Principal, peer: str, kind: CallKind, *, stream: bool) -> "Entered":
        """Let a call in; what it holds is given back when the returned block is left.

        A stream may be open for days. It is under way to shedding until it is decided: `begun` says so.

        Args:
            caller: who makes it.
            peer: where from, as gRPC says it.
            kind: what it is.
            stream: whether its answers are a stream.

        Raises:
            LimitedError: `limits.overloaded`, `limits.open`, `limits.rate`.
        """
        self._require_room(caller.tenant, kind, stream=stream)
        owner, address = (caller.tenant, caller.subject), peer_key(peer) if caller.anonymous else None
        what = "streams" if stream else "controls" if kind is CallKind.CONTROL else "calls"
        if address is None:
            self._require_open(owner, what)
            self._take(owner, kind)
        else:
            self._require_strangers_open(address)
            self._take_stranger(address)
            self._take(owner, kind)
        self.open.add(stream)
        self._shedder.begin(kind, caller.tenant)
        if address is None:
            self._of_principals.add((what, owner))
            self._of_tenants.add((what, owner[0]))
        else:
            self._of_strangers.add(address)

        counted = Entered(lambda: self._shedder.end(kind, caller.tenant))

        def leave() -> None:
            counted.leave()
            self.open.remove(stream)
            if address is None:
                self._of_principals.remove((what, owner))
                self._of_tenants.remove((what, owner[0]))
            else:
                self._of_strangers.remove(address)

        return Entered(leave, counted.leave if stream else _nothing)

    def slow(self, caller: Principal, peer: str, most: int) -> "Entered":
        """Let a call that is under way take its time to say what it is: what has come of that is held in memory.

        Raises:
            LimitedError: `limits.open`, the caller has `most` of them, or its tenant or all strangers `SLOW_SHARES`
                times as many.
        """
        one = ("address", (peer_key(peer), "")) if caller.anonymous else ("principal", (caller.tenant, caller.subject))
        every = ("strangers", ("", "")) if caller.anonymous else ("tenant", (caller.tenant, ""))
        for key, value in ((one, most), (every, most * SLOW_SHARES)):
            if self._slow.held(key) >= value:
                text, limit = "too many requests are only half there", "connections.requests_slow_max"
                raise self._refused("limits.open", text, limit, limit, most, OPEN_RETRY_SECONDS)
        for key in (one, every):
            self._slow.add(key)

        def leave() -> None:
            for key in (one, every):
                self._slow.remove(key)

        return Entered(leave)

    def stranger(self, peer: str) -> None:
        """Count a call whose caller was not accepted.

        Asked after the credential was looked at, not before: what comes from one address may be a proxy with many
        behind it, of whom a stranger must not be able to lock the others out.

        Raises:
            LimitedError: `limits.rate`.
        """
        self._take_stranger(peer_key(peer))
        self._shedder.turned_away()

    def _require_room(self, tenant: str, kind: CallKind, *, stream: bool) -> None:
        refusal = self._shedder.refusal(kind, tenant)
        streams_max = self._settings.streams_open_max
        if refusal is None and stream and kind is not CallKind.HEALTH and self.open.held(True) >= streams_max:
            refusal = "streams_open_max", streams_max
        if refusal is not None:
            limit, value = refusal
            retry_seconds = self._settings.shedding.retry_seconds * (1.0 + 2.0 * self._chance())
            raise self._refused(_OVERLOADED, "the gateway is overloaded", limit, limit, value, retry_seconds)

    def _require_open(self, owner: Owner, what: str) -> None:
        allowances, tenant = self._settings.allowances, owner[0]
        name = "streams_open_max" if what == "streams" else "calls_open_max"
        for scope, held, allowance in (
            ("principal", self._of_principals.held((what, owner)), allowances.of_principal(tenant)),
            ("tenant", self._of_tenants.held((what, tenant)), allowances.of_tenant(tenant)),
        ):
            most = allowance.streams_open_max if what == "streams" else allowance.calls_open_max
            if held >= most:
                limit = allowances.key(tenant, scope, name)
                text = f"too many {what} are open"
                raise self._refused("limits.open", text, f"{scope}.{name}", limit, most, OPEN_RETRY_SECONDS)

    def _require_strangers_open(self, address: str) -> None:
        most, limit = self._settings.strangers.open_max, "strangers.open_max"
        if self._of_strangers.held(address) >= most or self._of_strangers.total >= STRANGERS_OPEN_MAX:
            text = "too many calls without a credential are open"
            raise self._refused("limits.open", text, limit, limit, most, OPEN_RETRY_SECONDS)

    def _take(self, owner: Owner, kind: CallKind) -> None:
        """Take a call of the principal's rate and of the tenant's, or of neither."""
        if kind not in _RATES:
            return
        now, tenant = self._now(), owner[0]
        allowances = self._settings.allowances
        name, rate_of = _RATES[kind]
        own, whole = rate_of(allowances.of_principal(tenant)), rate_of(allowances.of_tenant(tenant))
        for scope, rate, wait in (
            ("principal", own, self._principals.early((kind, owner), own, now)),
            ("tenant", whole, self._tenants.early((kind, tenant), whole, now)),
        ):
            if wait:
                limit = allowances.key(tenant, scope, name)
                text = f"too many {kind} calls"
                raise self._refused("limits.rate", text, f"{scope}.{name}", limit, rate.per_second, wait)
        self._principals.take((kind, owner), own, now)
        self._tenants.take((kind, tenant), whole, now)

    def _take_stranger(self, address: str) -> None:
        now, rate = self._now(), self._settings.strangers.calls
        if wait := self._strangers.early(address, rate, now):
            limit = "strangers.calls_per_second"
            text = "too many calls from this address without a credential that is accepted"
            raise self._refused("limits.rate", text, limit, limit, rate.per_second, wait)
        self._strangers.take(address, rate, now)

    def _refused(
        self, code: str, text: str, counted: str, limit: str, value: float, retry_seconds: float
    ) -> LimitedError:
        self.refused[counted] += 1
        if code != _OVERLOADED:  # a bound is no reason to widen it
            self._shedder.turned_away()
        return LimitedError(text, code=code, limit=limit, value=value, retry_seconds=retry_seconds)


def _nothing() -> None:
    return


class Entered:
    """What a call holds while it is under way; it is given back once, at the end of the block or before."""

    __slots__ = ("_leave", "begun")

    def __init__(self, leave: Callable[[], None], begun: Callable[[], None] = _nothing) -> None:
        self._leave: Callable[[], None] | None = leave
        self.begun = begun  # to be called when it has been decided

    def __enter__(self) -> None:
        """Nothing is left to do."""

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Give back what the call holds."""
        self.leave()

    def leave(self) -> None:
        """Give back what the call holds, where it does."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
