"""How many calls may be under way while there is too much to do: before the gateway collapses, and while it lasts.

    wide ──waits above the mark at every look for an interval──▶ narrow ──below it, look by look wider──▶ wide

What counts is how long work waits in the queues that it passes (`gateway.rpc.probe`), not how long calls take: those
may wait for a witness or a slow policy, who are no sooner done if fewer ask. A queue that empties now and then is busy,
not overloaded, so at first it is the least wait within an interval that counts, as in CoDel. From then on the calls
under way are bounded, and each look changes the bound by how far the wait is from the mark, as LEDBAT does its window:
it comes to rest where what is let in waits about as long as the mark says. What comes beyond that is turned away at
once, for a small part of what it would cost to serve it.

Work that changes something and work that reads wait in queues of their own, and have a bound each. A tenant that has
less than its share of a bound is let in all the same, so that no tenant holds all of it. Where what is turned away for
other reasons (a credential, a rate) costs more than what is let in, it is those calls that wait for each other inside
of gRPC, and fewer calls of others would change nothing: then only the wait behind that door counts, in queues that no
refused call gets to.

Sources: RFC 8289 (CoDel), 3.1 and 3.2, a standing queue; RFC 6817 (LEDBAT), 2.4.2, the bound.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.limits.amounts import Shedding
from gateway.limits.kinds import CallKind

BOUNDED: Final = (CallKind.MUTATION, CallKind.READ)
_LEAST: Final = 2.0  # calls of a kind that may be under way however long work waits
_GAIN: Final = 0.25  # by which the bound grows at a look where nothing waits
_CUT_MAX: Final = 0.2  # by which it shrinks at most
_MUTATIONS_SHARE: Final = 0.75  # of the calls under way that new work may have: reads have the rest to themselves
# How many refusals cost what one call costs that is let in (`python -m benchmarks.soak --overload`).
_WORTH: Final = {CallKind.MUTATION: 12.0, CallKind.READ: 3.0}
_FADE: Final = 0.8  # of what was counted, from look to look


class Waited(NamedTuple):
    """How long work waits, in seconds."""

    whole: float  # on all of its way
    inside: float  # of that, once it has been let in


class _Bound:
    """How many calls of one kind may be under way, and whose they are."""

    __slots__ = ("_above_since", "calls", "of_tenants", "under_way")

    def __init__(self) -> None:
        self.calls = math.inf  # wide: whatever else bounds them
        self.under_way = 0
        self.of_tenants: Counter[str] = Counter()  # of those under way
        self._above_since: float | None = None

    def look(self, now: float, off: float, *, interval: float, most: float) -> None:
        """Take a look's result: `off` is 1 where nothing waits, 0 at the mark, below 0 above it."""
        if off >= 0.0:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = now
        if self.calls < math.inf:
            self.calls = max(_LEAST, self.calls * (1.0 + max(-_CUT_MAX, _GAIN * off)))
            if self.calls >= most:
                self.calls = math.inf
        elif self._above_since is not None and now - self._above_since >= interval:
            self.calls = max(_LEAST, min(self.under_way, most))

    def has_room(self, tenant: str) -> bool:
        """Whether one more call of a tenant may begin."""
        if self.under_way < self.calls:
            return True
        own = self.of_tenants[tenant]
        tenants = len(self.of_tenants) + (not own)
        return own < max(1.0, self.calls / tenants)

    def add(self, tenant: str) -> None:
        self.under_way += 1
        self.of_tenants[tenant] += 1

    def remove(self, tenant: str) -> None:
        self.under_way -= 1
        self.of_tenants[tenant] -= 1
        if not self.of_tenants[tenant]:
            del self.of_tenants[tenant]


class Shedder:
    """Says of each call whether there is room for it. Pure: time and waits are told."""

    def __init__(self, settings: Shedding) -> None:
        self._settings = settings
        self._bounds = {kind: _Bound() for kind in CallKind}
        self._let_in = 0.0  # of late, as so many refusals as would cost the same
        self._turned_away = 0.0  # of late, for other reasons than that there is too much
        self.waits_ms: dict[CallKind, float] = dict.fromkeys(BOUNDED, 0.0)  # at the last look

    @property
    def level(self) -> int:
        """0: nothing is bounded; 1: new work is; 2: reads are."""
        narrow = [self._bounds[kind].calls < math.inf for kind in BOUNDED]
        return 2 if narrow[1] else int(narrow[0])

    def bound(self, kind: CallKind) -> float:
        """Return how many calls of a kind may be under way because of how long work waits; mostly infinity."""
        return self._bounds[kind].calls

    def adopt(self, settings: Shedding) -> None:
        """From now on go by these; what is bounded is until looks have widened it."""
        self._settings = settings

    def widen(self) -> None:
        """Bound nothing any more: nobody looks."""
        for bound in self._bounds.values():
            bound.calls = math.inf

    def look(self, now: float, waits: Mapping[CallKind, Waited]) -> None:
        """Take a look's result: at `now` (monotonic) work of each kind waited so long."""
        at_the_door = self._turned_away > self._let_in
        self._let_in, self._turned_away = self._let_in * _FADE, self._turned_away * _FADE
        for kind in BOUNDED:
            whole, inside = waits[kind]
            self.waits_ms[kind] = 1e3 * whole
            off = 1.0 - 1e3 * (inside if at_the_door else whole) / self._mark(kind)[1]
            self._bounds[kind].look(now, off, interval=self._settings.interval_ms / 1e3, most=self._most(kind))

    def refusal(self, kind: CallKind, tenant: str) -> tuple[str, float] | None:
        """Return the limit that a call of a kind has to give way to, by name and value; None: there is room."""
        if kind not in BOUNDED:
            return None
        if sum(bound.under_way for bound in self._bounds.values()) >= self._most(kind):
            return "shedding.calls_open_max", self._settings.calls_open_max
        return None if self._bounds[kind].has_room(tenant) else self._mark(kind)

    def begin(self, kind: CallKind, tenant: str) -> None:
        """Count a call that is let in."""
        self._bounds[kind].add(tenant)
        self._let_in += _WORTH.get(kind, 0.0)

    def end(self, kind: CallKind, tenant: str) -> None:
        """Count that it waits for nothing any more that others wait for."""
        self._bounds[kind].remove(tenant)

    def turned_away(self) -> None:
        """Count a call that was refused, for another reason than that there is too much."""
        self._turned_away += 1.0

    def _mark(self, kind: CallKind) -> tuple[str, float]:
        if kind is CallKind.MUTATION:
            return "shedding.wait_ms_max", self._settings.wait_ms_max
        return "shedding.reads_wait_ms_max", self._settings.reads_wait_ms_max

    def _most(self, kind: CallKind) -> int:
        """Return how many calls there may be for one more of a kind to begin."""
        share = _MUTATIONS_SHARE if kind is CallKind.MUTATION else 1.0
        return math.ceil(self._settings.calls_open_max * share)
