"""Control of missions that run: cancel, pause and resume; each request is durable before it takes effect."""

from contextlib import suppress
from typing import Final

from engine.result import StepFailure
from gateway.commitments import Evidence, Hidden
from gateway.errors import ConflictError
from gateway.events import EventType
from gateway.missions.execution import Execution, Ground
from gateway.missions.floor import Floor

REASON_MAX: Final = 1_000  # characters


class Control:
    """Acts on missions that run. Whose they are was looked at before."""

    def __init__(self, ground: Ground, floor: Floor) -> None:
        self._ground = ground
        self._floor = floor

    async def cancel(self, by: str, mission_id: str, reason: str) -> None:
        """Cancel a mission; its end follows.

        Raises:
            ConflictError: `mission.ended`, it does not run.
        """
        execution = self._of(mission_id)
        await self._record(execution, EventType.MISSION_CANCEL_REQUESTED, by, reason)
        execution.cancel(StepFailure(code="mission.cancelled", message=reason))

    async def pause(self, by: str, mission_id: str, reason: str) -> None:
        """Let nothing start in a mission, nor in those that its steps have started.

        Raises:
            ConflictError: `mission.ended`, `mission.paused`.
        """
        execution = self._of(mission_id)
        if execution.paused:
            raise ConflictError("the mission is paused already", code="mission.paused")
        await self._pause(execution, by, reason)
        for part in self._floor.below(mission_id):
            if not part.paused:
                with suppress(ConflictError):  # it has ended meanwhile
                    await self._pause(part, by, reason)

    async def resume(self, by: str, mission_id: str) -> None:
        """End a pause, of the missions that its steps have started as well.

        Raises:
            ConflictError: `mission.ended`, `mission.not_paused`.
        """
        execution = self._of(mission_id)
        if not execution.paused:
            raise ConflictError("the mission is not paused", code="mission.not_paused")
        for part in self._floor.below(mission_id):
            if part.paused:
                with suppress(ConflictError):  # it has ended meanwhile
                    await self._resume(part, by)
        await self._resume(execution, by)

    async def _pause(self, execution: Execution, by: str, reason: str) -> None:
        await self._record(execution, EventType.MISSION_PAUSED, by, reason)
        await self._ground.store.set_paused(execution.mission_id, paused=True)
        execution.pause()

    async def _resume(self, execution: Execution, by: str) -> None:
        await self._record(execution, EventType.MISSION_UNPAUSED, by, "")
        await self._ground.store.set_paused(execution.mission_id, paused=False)
        execution.resume()

    def _of(self, mission_id: str) -> Execution:
        execution = self._floor.of(mission_id)
        if execution is None:
            raise ConflictError("the mission has ended", code="mission.ended")
        return execution

    async def _record(self, execution: Execution, event_type: EventType, by: str, reason: str) -> None:
        details: Evidence = {"reason": Hidden(reason)} if reason else {}  # people write names
        seq = execution.trail.record(event_type, execution.mission_id, details, actor=by)
        await self._ground.audit.durable(seq)
