"""When calls are turned away because the gateway as a whole has no room: before it collapses, and while it lasts.

    clear ──lag above the mark at every look for a whole interval──▶ shedding ──one look below it──▶ clear

A queue that empties now and then is not overloaded, however long it is at times; one that never does is. So what counts
is the least lag within an interval, as in CoDel, and a single look below the mark ends it. Where shedding begins again
soon, the interval shrinks with the square root of how often that was: under lasting overload the gateway stays near the
mark instead of swinging. Lag is of the event loop, which everything passes; the calls under way, which also grow where
the disk or policy is slow, are bounded beside it.

Source: RFC 8289 (CoDel), 3.1, 3.2 and 5.3 (the control law).
"""

import math
from typing import Final

from gateway.limits.amounts import Shedding
from gateway.limits.kinds import CallKind

_CALM_INTERVALS: Final = 10  # without shedding, after which the next time is the first again
_EPISODES_MAX: Final = 100
_MUTATIONS_SHARE: Final = 0.75  # of the calls under way that new work may have: reads have the rest to themselves
_NEVER_SHED: Final = frozenset({CallKind.CONTROL, CallKind.HEALTH})


class _Mark:
    """One mark of lag: whether it has been passed for long enough."""

    __slots__ = ("_above_since", "_cleared_at", "_episodes", "shedding")

    def __init__(self) -> None:
        self.shedding = False
        self._above_since: float | None = None
        self._cleared_at = -math.inf
        self._episodes = 0

    def look(self, now: float, *, above: bool, interval: float) -> None:
        if not above:
            if self.shedding:
                self._cleared_at = now
            self.shedding, self._above_since = False, None
            return
        if self._above_since is None:
            self._above_since = now
        if self.shedding:
            return
        if now - self._cleared_at > _CALM_INTERVALS * interval:
            self._episodes = 0
        if now - self._above_since >= interval / math.sqrt(1 + self._episodes):
            self.shedding = True
            self._episodes = min(self._episodes + 1, _EPISODES_MAX)


class Shedder:
    """Says of each call whether there is room for it. Pure: time and lag are told."""

    def __init__(self, settings: Shedding) -> None:
        self._settings = settings
        self._work, self._reads = _Mark(), _Mark()
        self.lag_ms = 0.0  # at the last look

    @property
    def level(self) -> int:
        """0: nothing is shed; 1: new work is; 2: reads are, too."""
        return 2 if self._reads.shedding else int(self._work.shedding)

    def adopt(self, settings: Shedding) -> None:
        """From now on go by these; what is being shed is until the next look."""
        self._settings = settings

    def look(self, now: float, lag_seconds: float) -> None:
        """Take a look's result: at `now` (monotonic) the event loop was `lag_seconds` late."""
        settings = self._settings
        self.lag_ms = lag_seconds * 1e3
        interval = settings.interval_ms / 1e3
        self._work.look(now, above=self.lag_ms > settings.lag_ms_max, interval=interval)
        self._reads.look(now, above=self.lag_ms > settings.reads_lag_ms_max, interval=interval)

    def refusal(self, kind: CallKind, calls_open: int) -> tuple[str, float] | None:
        """Return the limit that a call of a kind has to give way to, by name and value; None: there is room."""
        if kind in _NEVER_SHED:
            return None
        settings = self._settings
        share = _MUTATIONS_SHARE if kind is CallKind.MUTATION else 1.0
        if calls_open >= math.ceil(settings.calls_open_max * share):
            return "shedding.calls_open_max", settings.calls_open_max
        if kind is CallKind.MUTATION and self.level >= 1:
            return "shedding.lag_ms_max", settings.lag_ms_max
        if kind is CallKind.READ and self._reads.shedding:
            return "shedding.reads_lag_ms_max", settings.reads_lag_ms_max
        return None
