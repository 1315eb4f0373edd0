"""What the server's own calls have found out: how long those of one kind wait, and which are worth making."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.limits.shedding import Waited

_METHODS_MAX: Final = 2  # at once
_STANDS_SECONDS: Final = 0.05  # a trip that took longer has waited for something


class Trips:
    """Trips of one kind of calls. Pure: time is told, in seconds of a monotonic clock."""

    __slots__ = ("_entered", "_inside", "_last", "_since", "calls")

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()  # of others, by method, since the last of ours
        self._since: float | None = None  # when ours that is under way was made
        self._last = 0.0  # seconds that the last one took
        self._entered: list[float] = []  # when each that is in our own queues got there
        self._inside = 0.0  # seconds that the last one was there

    def by(self, now: float) -> Waited:
        """Return what is known by now."""
        whole = self._last if self._since is None else max(self._last, now - self._since)
        inside = max(self._inside, now - min(self._entered)) if self._entered else self._inside
        return Waited(whole=whole, inside=min(whole, inside))

    @property
    def stands(self) -> bool:
        """Whether one of ours waits, or the last one did: what it waited for may be there still."""
        return self._since is not None or self._last > _STANDS_SECONDS

    @contextmanager
    def inside(self, now: Callable[[], float]) -> Iterator[None]:
        """Measure how long one of ours is in our own queues."""
        entered = now()
        self._entered.append(entered)
        try:
            yield
        finally:
            self._entered.remove(entered)
            self._inside = now() - entered

    def busiest(self) -> Sequence[str]:
        """Return the methods that were called most since the last time that this was asked.

        What is counted is what gRPC has handed on, which under overload is as many of each method that has a queue.
        """
        most = self.calls.most_common(_METHODS_MAX)
        self.calls.clear()
        return [method for method, count in most if 2 * count >= most[0][1]]

    def begin(self, now: float) -> None:
        """Note that one of ours was made; where one waits still, it is that one."""
        self._since = now if self._since is None else self._since

    def come(self, now: float) -> None:
        """Note that ours came back."""
        if self._since is not None:
            self._last, self._since = now - self._since, None

    def forget(self) -> None:
        """Know nothing."""
        self._last, self._inside, self._since = 0.0, 0.0, None
