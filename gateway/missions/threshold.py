"""The threshold of a mission: what it waits for before it begins, holding nothing, and how it is let go from there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from engine.errors import FaultError, SuspendedError

_T = TypeVar("_T")


class Threshold:
    """One execution's."""

    def __init__(self) -> None:
        self._waiting: asyncio.Task[Any] | None = None
        self._what = ""
        self._suspended = False
        self.left = False  # the mission ends, or leaves off, without having begun

    @property
    def waits_for(self) -> str:
        """What is waited for: "approval", "concurrency_key"; or ""."""
        return self._what if self._waiting is not None else ""

    def leave(self, *, suspended: bool = False) -> None:
        """Wait for nothing any more; `suspended` where a later start of the gateway goes on."""
        self.left = True
        self._suspended |= suspended
        if self._waiting is not None:
            self._waiting.cancel()

    async def wait(
        self, what: str, awaited: Coroutine[Any, Any, _T], delayed: Callable[[], None] = lambda: None
    ) -> _T | None:
        """Return what comes of `awaited`; None: the mission was stopped meanwhile, and needs it no longer.

        `delayed` is called where it does not come at once.

        Raises:
            SuspendedError: the mission is left to a later start.
            FaultError: `awaited` was cancelled, and not by `leave`. And whatever `awaited` raises.
        """
        waiting = self._waiting = asyncio.create_task(awaited)
        self._what = what
        try:
            if self.left:
                waiting.cancel()
            await asyncio.sleep(0)
            if not waiting.done():
                delayed()
            outcome: _T | None = await waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                waiting.cancel()
                raise
            if not self.left:  # or a mission would begin that nobody has agreed to
                raise FaultError(f"what the mission waited for was given up ({what})") from None
            outcome = None
        finally:
            self._waiting = None
        if self._suspended:
            raise SuspendedError("the execution was suspended before it began")
        return outcome
