"""The missions that run in this process: how many may, who finds them, and how all of them are stopped."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from engine.errors import SuspendedError
from gateway.errors import OverloadedError
from gateway.missions.execution import Execution
from gateway.missions.ports import STOPPING

_LOOK_SECONDS: Final = 0.05  # between two looks at whether anything is at work, while the gateway stops


class Floor:
    """All executions, by mission."""

    def __init__(self, *, running_max: int, on_ended: Callable[[Execution], None]) -> None:
        """Prepare; `on_ended` hears of each execution that has ended, suspended ones not among them."""
        self.suspending = False  # missions are being stopped so that the next start of the gateway goes on with them
        self._running_max = running_max
        self._on_ended = on_ended
        self._running: dict[str, tuple[Execution, asyncio.Task[None]]] = {}
        self._starting = 0  # missions that have a place reserved
        self._closing = False

    def adopt(self, running_max: int) -> None:
        """Let so many run from now on; of those that run none is stopped."""
        self._running_max = running_max

    def __len__(self) -> int:
        return len(self._running)

    def of(self, mission_id: str) -> Execution | None:
        """Return the execution of a mission, if it runs."""
        running = self._running.get(mission_id)
        return running[0] if running is not None else None

    @property
    def standing(self) -> dict[str, int]:
        """How many missions are here, by what they do."""
        waiting = sum(1 for execution, _ in self._running.values() if execution.waits_for)
        paused = sum(1 for execution, _ in self._running.values() if execution.paused and not execution.waits_for)
        return {"running": len(self._running) - waiting - paused, "waiting": waiting, "paused": paused}

    def below(self, mission_id: str) -> list[Execution]:
        """Return the executions of the missions that a mission has started, and of theirs, and so on."""
        parts: dict[str | None, list[Execution]] = {}
        for execution, _ in self._running.values():
            parts.setdefault(execution.parent_id, []).append(execution)
        found: list[Execution] = list(parts.get(mission_id, ()))
        for execution in found:  # which grows
            found += parts.get(execution.mission_id, ())
        return found

    def apart(self) -> list[Execution]:
        """Return the executions of missions that are parts of one that does not run."""
        return [each for each, _ in self._running.values() if each.parent_id and each.parent_id not in self._running]

    @contextmanager
    def place(self, *, besides: int = 0) -> Iterator[None]:
        """Reserve a place for a mission that is about to start; `besides` others take up room without running.

        Raises:
            OverloadedError: there is none, or the gateway is stopping.
        """
        if self._closing:
            raise OverloadedError("the gateway is stopping", code=STOPPING)
        if max(len(self._running) + self._starting, besides) >= self._running_max:
            raise OverloadedError(f"{self._running_max} missions run already", code="mission.too_many_running")
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def start(self, execution: Execution) -> None:
        """Set a mission going."""
        task = asyncio.create_task(execution.execute(), name=f"mission {execution.mission_id}")
        self._running[execution.mission_id] = execution, task
        task.add_done_callback(lambda _: self._ended(execution))

    async def settled(self, mission_id: str) -> None:
        """Return when the mission does not run, or no longer.

        Raises:
            SuspendedError: it was stopped, and a later start of the gateway goes on.
        """
        running = self._running.get(mission_id)
        if running is None:
            return
        execution, task = running
        await asyncio.wait([task])
        if execution.suspended:
            raise SuspendedError("the mission was suspended")

    def refuse(self) -> None:
        """Take nothing more."""
        self._closing = True

    async def close(self, drain_seconds: float) -> None:
        """Let steps that are at work end within `drain_seconds`, and missions with them; suspend what is left then.

        What only waits, for a person or for another mission, is not waited for.
        """
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                while any(execution.busy for execution, _ in self._running.values()):  # noqa: ASYNC110 - asked, not told
                    await asyncio.sleep(_LOOK_SECONDS)
        self.suspending = True
        left = list(self._running.values())
        for execution, _ in left:
            execution.suspend()
        if left:
            await asyncio.wait([task for _, task in left])

    def _ended(self, execution: Execution) -> None:
        self._running.pop(execution.mission_id, None)
        if not execution.suspended:
            self._on_ended(execution)
