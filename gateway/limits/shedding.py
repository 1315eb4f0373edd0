"""How many calls may be under way while there is too much to do: before the gateway collapses, and while it lasts.

    wide ──waits above the mark at every look for an interval──▶ narrow ──below it, look by look wider──▶ wide

What counts is how long work waits in the queues that it passes (`gateway.limits.waiting`), not how long calls take:
those may wait for a witness or a slow policy, who are no sooner done if fewer ask. A queue that empties now and then is
busy, not overloaded, so at first it is the least wait within an interval that counts, as in CoDel. From then on the
calls under way are bounded, and each look changes the bound by how far the wait is from the mark, as LEDBAT's window:
it comes to rest where what is let in waits about as long as the mark says. What comes beyond that is turned away at
once, for a small part of what it would cost to serve it.

Sources: RFC 8289 (CoDel), 3.1 and 3.2, a standing queue; RFC 6817 (LEDBAT), 2.4.2, the bound.
"""

import math
from typing import Final

from gateway.limits.amounts import Shedding
from gateway.limits.kinds import CallKind
from gateway.limits.places import Places

_LEAST: Final = 2  # calls of a kind that may be under way however long work waits
_GAIN: Final = 0.25  # by which the bound grows at a look where nothing waits
_CUT_MAX: Final = 0.2  # by which it shrinks at most
_MUTATIONS_SHARE: Final = 0.75  # of the calls under way that new work may have: reads have the rest to themselves
_NEVER_SHED: Final = frozenset({CallKind.CONTROL, CallKind.HEALTH})


class _Bound:
    """How many calls of one kind may be under way."""

    __slots__ = ("_above_since", "calls")

    def __init__(self) -> None:
        self.calls = math.inf  # wide: whatever else bounds them
        self._above_since: float | None = None

    def look(self, now: float, off: float, *, interval: float, under_way: int, most: float) -> None:
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
            self.calls = max(_LEAST, min(under_way, most))


class Shedder:
    """Says of each call whether there is room for it. Pure: time and waits are told."""

    def __init__(self, settings: Shedding) -> None:
        self._settings = settings
        self._bounds = {CallKind.MUTATION: _Bound(), CallKind.READ: _Bound()}
        self.under_way: Places[CallKind] = Places()  # calls, streams not among them
        self.wait_ms = 0.0  # at the last look

    @property
    def level(self) -> int:
        """0: nothing is shed; 1: new work is bounded; 2: reads are, too."""
        return sum(bound.calls < math.inf for bound in self._bounds.values())

    def bound(self, kind: CallKind) -> float:
        """Return how many calls of a kind may be under way because of how long work waits; mostly infinity."""
        return self._bounds[kind].calls

    def adopt(self, settings: Shedding) -> None:
        """From now on go by these; what is bounded is until looks have widened it."""
        self._settings = settings

    def look(self, now: float, wait_seconds: float) -> None:
        """Take a look's result: at `now` (monotonic) work waited `wait_seconds`."""
        self.wait_ms = wait_seconds * 1e3
        for kind, bound in self._bounds.items():
            bound.look(
                now,
                1.0 - self.wait_ms / self._mark(kind)[1],
                interval=self._settings.interval_ms / 1e3,
                under_way=self.under_way.held(kind),
                most=self._most(kind),
            )

    def refusal(self, kind: CallKind) -> tuple[str, float] | None:
        """Return the limit that a call of a kind has to give way to, by name and value; None: there is room."""
        if kind in _NEVER_SHED:
            return None
        if self.under_way.total >= self._most(kind):
            return "shedding.calls_open_max", self._settings.calls_open_max
        return self._mark(kind) if self.under_way.held(kind) >= self.bound(kind) else None

    def _mark(self, kind: CallKind) -> tuple[str, float]:
        if kind is CallKind.MUTATION:
            return "shedding.wait_ms_max", self._settings.wait_ms_max
        return "shedding.reads_wait_ms_max", self._settings.reads_wait_ms_max

    def _most(self, kind: CallKind) -> int:
        """Return how many calls there may be for one more of a kind to begin."""
        share = _MUTATIONS_SHARE if kind is CallKind.MUTATION else 1.0
        return math.ceil(self._settings.calls_open_max * share)
