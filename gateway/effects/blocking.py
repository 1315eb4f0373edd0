"""A bounded place for calls that block: file system and name resolution.

A small cached read takes 4 µs, and 75 µs through a thread, so threads do not pay for themselves in time. They are
there because the same read from a cold or hung disk, and every fsync, takes milliseconds to minutes, during which
the event loop would answer nobody: no other mission's deadline, no health check. The pool is our own, not the
loop's: a resolver that hangs must not hold up files, and a queue without a maximum is a leak.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gateway.errors import EffectError

T = TypeVar("T")


class DeadlineError(EffectError):
    """The time was over; a call that had begun goes on."""

    default_code = "effect.timeout"


class BlockingPool:
    """A few threads and a bounded queue before them."""

    def __init__(self, name: str, *, threads: int, waiting_max: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(threads + waiting_max)

    async def run(self, call: Callable[[], T], *, timeout_seconds: float) -> T:
        """Run `call` in a thread and return what it returns. A thread cannot be stopped: late calls run to their end.

        Raises:
            DeadlineError: it took longer than `timeout_seconds`, the wait for a thread included.
            EffectError: `effect.overloaded`, too many calls are waiting.
        """
        future = self._submit(call)
        deadline = asyncio.timeout(timeout_seconds)
        try:
            async with deadline:
                return await asyncio.wrap_future(future)
        except TimeoutError as err:
            if not deadline.expired():
                raise  # the call's own ETIMEDOUT
            raise DeadlineError("the time for this effect was over") from err

    def _submit(self, call: Callable[[], T]) -> "Future[T]":
        if not self._places.acquire(blocking=False):
            raise EffectError("too many effects are waiting for a thread", code="effect.overloaded")
        try:
            future = self._executor.submit(call)
        except RuntimeError as err:  # after close
            self._places.release()
            raise EffectError("the gateway is stopping", code="effect.overloaded") from err
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """Drop what waits, let what runs end, and join the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)
