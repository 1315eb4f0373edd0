"""The missions that run in this process: how many may, who finds them, and how all of them are stopped."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Final

from engine.errors import SuspendedError
from gateway.errors import LimitedError, OverloadedError
from gateway.limits.amounts import Owner
from gateway.limits.quotas import RUNNING_RETRY_SECONDS, MissionQuotas, StoredBytes
from gateway.missions.execution import Execution
from gateway.missions.ports import STOPPING

FILES_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.05  # between two looks at whether anything is at work, while the gateway stops


class Floor:
    """All executions, by mission."""

    def __init__(self, *, running_max: int, quotas: MissionQuotas, on_ended: Callable[[Execution], None]) -> None:
        """Prepare; `on_ended` hears of each execution that has ended, suspended ones not among them.

        Args:
            running_max: missions of all tenants together.
            quotas: counts those of each.
            on_ended: as above.
        """
        self.suspending = False  # missions are being stopped so that the next start of the gateway goes on with them
        self._running_max = running_max
        self._quotas = quotas
        self._on_ended = on_ended
        self._running: dict[str, tuple[Execution, asyncio.Task[None]]] = {}
        self._parts: dict[str, dict[str, Execution]] = {}  # of a mission, by theirs
        self._files: Counter[Owner | str] = Counter()  # bytes, by principal and by tenant
        self._files_at = -FILES_SECONDS
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

    def parts(self, mission_id: str) -> list[Execution]:
        """Return the executions of the missions that a mission has started."""
        return list(self._parts.get(mission_id, {}).values())

    def below(self, mission_id: str) -> list[Execution]:
        """Return the executions of the missions that a mission has started, and of theirs, and so on."""
        found = self.parts(mission_id)
        for execution in found:  # which grows
            found += self.parts(execution.mission_id)
        return found

    def apart(self) -> list[Execution]:
        """Return the executions of missions that are parts of one that does not run."""
        return [each for each, _ in self._running.values() if each.parent_id and each.parent_id not in self._running]

    def files_bytes(self, owner: Owner) -> tuple[int, int]:
        """Return what the files of missions hold that run: of all of the owner's tenant, and of the owner's.

        Looked at once in FILES_SECONDS for all of them: a thousand missions are a millisecond.
        """
        now = asyncio.get_running_loop().time()
        if now - self._files_at >= FILES_SECONDS:
            self._files_at, self._files = now, Counter()
            for execution, _ in self._running.values():
                self._files[execution.owner] += execution.files_bytes
                self._files[execution.owner[0]] += execution.files_bytes
        return self._files[owner[0]], self._files[owner]

    @contextmanager
    def place(
        self, owner: Owner | None, steps: int, *, stored: StoredBytes | None = None, besides: int = 0
    ) -> Iterator[None]:
        """Reserve a place for a mission that is about to start.

        Args:
            owner: whose quotas have to have room for it; None: nobody's, it is a part of one that runs.
            steps: how many it has.
            stored: what is kept for the owner already.
            besides: others that take up room without running.

        Raises:
            LimitedError: `mission.too_many_running`; `limits.missions`, `limits.steps`, `limits.stored_bytes`.
            OverloadedError: the gateway is stopping.
        """
        if self._closing:
            raise OverloadedError("the gateway is stopping", code=STOPPING)
        if max(len(self._running) + self._starting, besides) >= self._running_max:
            self._quotas.refused["missions_running_max"] += 1
            raise LimitedError(
                f"{self._running_max} missions run already",
                code="mission.too_many_running",
                limit="missions_running_max",
                value=self._running_max,
                retry_seconds=RUNNING_RETRY_SECONDS,
            )
        with self._quotas.place(owner, steps, stored or StoredBytes()) if owner is not None else nullcontext():
            self._starting += 1
            try:
                yield
            finally:
                self._starting -= 1

    def start(self, execution: Execution) -> None:
        """Set a mission going."""
        task = asyncio.create_task(execution.execute(), name=f"mission {execution.mission_id}")
        self._running[execution.mission_id] = execution, task
        if execution.parent_id is not None:
            self._parts.setdefault(execution.parent_id, {})[execution.mission_id] = execution
        self._quotas.begin(execution.owner, execution.steps_total, part=execution.parent_id is not None)
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
        if execution.parent_id is not None:
            siblings = self._parts[execution.parent_id]
            del siblings[execution.mission_id]
            if not siblings:
                del self._parts[execution.parent_id]
        self._quotas.end(execution.owner, execution.steps_total, part=execution.parent_id is not None)
        if not execution.suspended:
            self._on_ended(execution)
