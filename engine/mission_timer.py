"""The time that a mission has: it stands still while the mission is paused."""

import asyncio
from collections.abc import Callable


class MissionTimer:
    """Calls `expired` once, when `seconds` have passed without pauses; or `arm`ed for something else, that instead."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._handle = loop.call_later(seconds, expired)
        self._seconds_left = 0.0

    def pause(self) -> None:
        """Stop the time."""
        self._seconds_left = max(0.0, self._handle.when() - self._loop.time())
        self._handle.cancel()

    def resume(self) -> None:
        """Let it go on."""
        self.arm(self._seconds_left, self._expired)

    def arm(self, seconds: float, expired: Callable[[], None]) -> None:
        """Wait for something else from now on."""
        self._handle.cancel()
        self._expired = expired
        self._handle = self._loop.call_later(seconds, expired)

    def cancel(self) -> None:
        """Let nothing be called any more."""
        self._handle.cancel()
