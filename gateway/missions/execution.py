"""One admitted mission from its start to its recorded end.

Order of writes at the end, so that nothing is told that could be lost: results to the store, the end to the log and
under a checkpoint, the final state to the store, then the watchers. Steps are told to watchers as they happen.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

import orjson

from engine.attempt import StepAttempt
from engine.clock import Clock
from engine.context import ExecutionContext
from engine.errors import EngineError
from engine.mission import MissionLimits, MissionStep
from engine.outcome import INTERNAL
from engine.result import MissionResult, MissionState, OverallStatus, StepFailure
from engine.scheduler import MissionRun
from engine.values import JsonValue
from gateway.effects.workspace import Workspaces
from gateway.errors import StoreError
from gateway.events import Audit, EventType, Trail
from gateway.identity import Principal
from gateway.missions.recorder import Recorder
from gateway.missions.views import MissionEvent
from gateway.pipeline import StepPipeline
from gateway.policy.decision import Decision
from gateway.stages import AdmittedMission, SanitizedMission
from gateway.store.store import Store

LINGER_SECONDS: Final = 0.05  # that a transition may wait for others on its way to the store

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every execution stands on."""

    pipeline: StepPipeline
    store: Store
    audit: Audit
    workspaces: Workspaces
    clock: Clock
    limits: MissionLimits


class Execution:
    """A mission whose admission is durable. It is the scheduler's runner, filled by the pipeline."""

    def __init__(
        self,
        ground: Ground,
        *,
        mission_id: str,
        sanitized: SanitizedMission,
        caller: Principal,
        decision: Decision,
        trail: Trail,
    ) -> None:
        plan = sanitized.plan
        self.mission_id = mission_id
        self.trail = trail
        self._ground = ground
        self._sanitized = sanitized
        self._caller = caller
        self._decision = decision
        self._admitted: AdmittedMission | None = None
        self._index = plan.graph.index
        self._recorder = Recorder(mission_id, trail, ground.clock)
        context = ExecutionContext.of(plan.mission, limits=ground.limits, metadata={"submitter": caller.subject})
        self._run = MissionRun(plan, context, self, self._recorder, ground.clock, mission_id)
        self._fault: StepFailure | None = None  # why the gateway itself could not go on

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        """Implement `engine.ports.StepRunner`."""
        if self._admitted is None:
            raise RuntimeError("a step began before its mission")
        return await self._ground.pipeline.run_step(self._admitted, self._index[step.id], attempt)

    def cancel(self, reason: StepFailure) -> bool:
        """Cancel what runs and skip the rest; return whether this call is what stops the mission."""
        return self._run.cancel(reason)

    def watch(self, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield every event from `from_index` on, past and to come, until the mission has ended."""
        return self._recorder.watch(from_index)

    async def execute(self) -> None:
        """Run the mission to its end and record it. Whatever happens, watchers are let go; only cancelling raises."""
        recorder = self._recorder
        try:
            await self._begin()
            result = await self._run_and_keep()
            await self._finish(result)
        except Exception as error:  # noqa: BLE001 - it is logged, and the store and the log still say Executing
            _LOG.exception("mission %s: its end could not be recorded; it is interrupted", self.mission_id)
            code = error.code if isinstance(error, EngineError) else "internal"
            recorder.note("mission.failed", "", {"status": "Failed", "code": code})
        finally:
            self.trail.end()
            if self._admitted is not None:
                self._admitted.workspace.close()
            recorder.end()

    async def _begin(self) -> None:
        """Make ready what the first step needs; a mission for which that fails runs no step, and is Failed."""
        try:
            await self._ground.store.mark_executing(self.mission_id)
            self._admitted = AdmittedMission(
                mission_id=self.mission_id,
                sanitized=self._sanitized,
                caller=self._caller,
                decision=self._decision,
                workspace=self._ground.workspaces.create(self.mission_id),
                trail=self.trail,
                secret=secrets.token_bytes(32),
            )
        except EngineError as error:
            self._stop(error)
        else:
            self._recorder.note("mission.executing", "", {})

    async def _run_and_keep(self) -> MissionResult:
        keeping = asyncio.create_task(self._keep())
        try:
            return await self._run.execute()
        finally:
            self._recorder.settle()
            await keeping  # it ends between two commits, never in one

    async def _keep(self) -> None:
        """Hand transitions to the store, as many at a time as come while it commits and a moment longer."""
        try:
            while not self._recorder.settled:
                await self._recorder.changed(linger_seconds=LINGER_SECONDS)
                await self._save()
        except Exception as error:  # noqa: BLE001 - nothing may happen whose record could not be kept
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        """Stop the mission because the gateway cannot go on with it."""
        _LOG.error("mission %s stops: %s", self.mission_id, error)
        if isinstance(error, EngineError):
            self._fault = StepFailure(code=error.code, message=error.message)
        else:
            self._fault = INTERNAL
        self._run.cancel(self._fault)

    async def _save(self) -> None:
        """Give the store what it has not got; both calls fall into one commit."""
        for failure in await asyncio.gather(self._save_results(), self._save_events(), return_exceptions=True):
            if failure is not None:
                raise failure

    async def _save_results(self) -> None:
        if results := self._recorder.unsaved_results:
            await self._ground.store.save_step_results(self.mission_id, results)
            self._recorder.results_saved(len(results))

    async def _save_events(self) -> None:
        first_index, events = self._recorder.unsaved_events
        if events:
            bodies = [event.to_bytes() for event in events]
            await self._ground.store.append_events(self.mission_id, first_index, bodies)
            self._recorder.events_saved(len(events))

    async def _finish(self, result: MissionResult) -> None:
        """Record the end: results, the signed event, the final state; then tell the watchers.

        Where the store fails, the log still has the end; the next start of the gateway makes the store agree.
        """
        recorder = self._recorder
        try:
            await self._save()
        except StoreError as error:
            self._stop(error)
        result = self._judged(result)
        recorder.log_skipped()
        seq = self.trail.record(EventType.MISSION_ENDED, self.mission_id, _ending(result))
        self.trail.end()
        await self._ground.audit.durable(seq)
        # The durable checkpoint covers every event of the mission: that is what `integrity_verified` says.
        summary = orjson.dumps({"events_logged": self.trail.events, "integrity_verified": True})
        unsaved = recorder.unsaved_results
        await self._ground.store.finish_mission(result, step_results=unsaved, audit_summary=summary)
        recorder.results_saved(len(unsaved))
        recorder.note(f"mission.{result.state.value.lower()}", "", {"status": result.overall_status.value})
        await self._save()

    def _judged(self, result: MissionResult) -> MissionResult:
        """Return the result; where the gateway could not go on, the mission has failed: nobody cancelled it."""
        if self._fault is None:
            return result
        return replace(
            result, state=MissionState.FAILED, overall_status=OverallStatus.FAILED, error=result.error or self._fault
        )


def _ending(result: MissionResult) -> dict[str, JsonValue]:
    out: dict[str, JsonValue] = {
        "state": result.state.value,
        "status": result.overall_status.value,
        "completed": result.steps_completed,
        "failed": result.steps_failed,
        "skipped": result.steps_skipped,
    }
    if result.error is not None:
        out["code"] = result.error.code
    return out
