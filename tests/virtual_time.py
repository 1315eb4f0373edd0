"""An event loop whose time passes only when nothing is left to do: exact, instant, and loud about a deadlock."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class DeadlockError(Exception):
    """Nothing is ready, nothing is scheduled, no file is watched: the program would wait for ever."""


class _Selector(selectors.SelectSelector):
    """Lets time pass in place of waiting."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise DeadlockError
            self.loop.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Counts its iterations, and calls `acts[n]` before the n-th: a way to interfere at every moment there is."""

    def __init__(self) -> None:
        self.now = 0.0
        self.iterations = 0
        self.timers_made = 0
        self.acts: dict[int, Callable[[], object]] = {}
        self.complaints: list[str] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(lambda _loop, context: self.complaints.append(str(context)))

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        self.timers_made += 1
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run it here and now: a thread would take real time, of which this loop knows nothing."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        self.iterations += 1
        if (act := self.acts.pop(self.iterations, None)) is not None:
            act()
        super()._run_once()  # type: ignore[misc]


class LoopClock:
    """The clock port on the running loop's time."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a loop of its own, in virtual time; what the loop would only log is an error."""
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    if loop.complaints:
        raise AssertionError(loop.complaints)
    return result
