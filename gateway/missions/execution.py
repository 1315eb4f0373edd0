"""One admitted mission from its start, or from where an earlier execution has left it, to its recorded end.

Order of writes at the end, so that nothing is told that could be lost: results to the store, the end to the log and
under a checkpoint, the final state to the store, then the watchers. Steps are told to watchers as they happen. Events
go to the store before results: a later start of the gateway must know that a mission was stopping at least as early
as it knows the step that was to blame.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import orjson

from engine.attempt import StepAttempt
from engine.clock import Clock
from engine.context import ExecutionContext
from engine.errors import EngineError, RefusalError, SuspendedError
from engine.exclusive import ExclusiveKeys
from engine.mission import MissionLimits, MissionStep
from engine.outcome import INTERNAL
from engine.result import MissionResult, MissionState, OverallStatus, StepFailure
from engine.scheduler import MissionRun
from engine.slots import SharedSlots
from engine.values import JsonObject, JsonValue
from gateway.consent import Consent
from gateway.effects.workspace import Workspaces
from gateway.events import Audit, EventType, Trail
from gateway.identity import Principal
from gateway.journal import MissionJournal
from gateway.missions.approvals import Approvals
from gateway.missions.clearance import Clearance
from gateway.missions.earlier import Earlier
from gateway.missions.endings import ending_document, status_of
from gateway.missions.recorder import Recorder
from gateway.missions.threshold import Threshold
from gateway.missions.views import MissionEvent
from gateway.pipeline import StepPipeline
from gateway.policy.decision import Decision
from gateway.reusing import KeptResults
from gateway.stages import AdmittedMission, SanitizedMission
from gateway.store.store import Store
from gateway.subjects.subjects import Subjects
from gateway.watch import UNWATCHED, Position, Watch

LINGER_SECONDS: Final = 0.05  # that a transition may wait for others on its way to the store
_MS_PER_SECOND: Final = 1e3

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every execution stands on."""

    pipeline: StepPipeline
    store: Store
    audit: Audit
    workspaces: Workspaces
    subjects: Subjects
    approvals: Approvals
    consent: Consent
    clock: Clock
    limits: MissionLimits
    slots: SharedSlots  # shared fairly by the steps of all tenants
    keys: ExclusiveKeys
    watch: Watch = UNWATCHED
    results: KeptResults | None = None  # of runs, to be used again


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A mission whose admission is in the log: what an execution is made of."""

    mission_id: str
    parent_id: str | None
    sanitized: SanitizedMission
    caller: Principal
    decision: Decision
    trail: Trail
    clearance: Clearance | None = None  # what it waits for before its first step


class Execution:
    """A mission whose admission is durable. It is the scheduler's runner, filled by the pipeline."""

    def __init__(self, ground: Ground, assignment: Assignment, earlier: Earlier) -> None:
        plan = assignment.sanitized.plan
        self.mission_id: Final = assignment.mission_id
        self.parent_id: Final = assignment.parent_id
        self.tenant: Final = assignment.caller.tenant
        self.owner: Final = (assignment.caller.tenant, assignment.caller.subject)
        self.steps_total: Final = len(plan.mission.steps)
        self.trail: Final = assignment.trail
        self.config: Final = plan.mission.config
        self._ground = ground
        self._assignment = assignment
        self._earlier = earlier
        self._admitted: AdmittedMission | None = None
        self._index = plan.graph.index
        self._kinds = {step.id: step.step_type for step in plan.mission.steps}
        self._recorder = Recorder(
            self.mission_id, self.trail, ground.clock, first_index=earlier.events, watch=ground.watch
        )
        self._places = ground.slots.member(self.tenant, self.config.priority, self._wake, owner=self.owner[1])
        self._run = MissionRun(
            plan,
            ExecutionContext.of(plan.mission, limits=ground.limits, metadata={"submitter": assignment.caller.subject}),
            self,
            self._recorder,
            ground.clock,
            self.mission_id,
            prior=earlier.results,
            slots=self._places,
            spent_seconds=earlier.spent_seconds,
            stopped=earlier.stopped,
        )
        if earlier.paused:
            self._run.pause()
        self._decisions: tuple[Decision, ...] = (assignment.decision,)  # the last is that under which it runs
        self._threshold = Threshold()
        self._suspended = False
        self._position: Position | None = None  # in its trace: what wakes its steps may be another mission
        self._fault: StepFailure | None = None  # why the gateway itself could not go on

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        """Implement `engine.ports.StepRunner`."""
        if self._admitted is None:
            raise RuntimeError("a step began before its mission")
        with self._ground.watch.step(step.step_type, self.mission_id, self._position):
            return await self._ground.pipeline.run_step(self._admitted, self._index[step.id], attempt)

    # --- control; where it returns anything, then whether this call is what changes it ---

    def cancel(self, reason: StepFailure) -> bool:
        """Cancel what runs and skip the rest."""
        self._threshold.leave()
        return self._run.cancel(reason)

    def suspend(self) -> None:
        """Stop, so that the next start of the gateway goes on."""
        self._suspended = True
        self._threshold.leave(suspended=True)
        self._run.suspend()

    def pause(self) -> bool:
        """Let nothing start."""
        if not self._run.pause():
            return False
        self._recorder.note("mission.paused", "", {})
        return True

    def resume(self) -> bool:
        """Let steps start again."""
        if not self._run.resume():
            return False
        self._recorder.note("mission.unpaused", "", {})
        return True

    @property
    def paused(self) -> bool:
        """Whether nothing starts until `resume`."""
        return self._run.paused

    @property
    def busy(self) -> bool:
        """Whether a step is at work, or about to be, and not only waiting for a person or another mission."""
        about_to = self._run.state is MissionState.VALIDATED and not self.waits_for and not self.paused
        return self._run.busy or about_to

    @property
    def suspended(self) -> bool:
        """Whether it ended, or is about to, without a result."""
        return self._suspended and self._run.result is None

    @property
    def files_bytes(self) -> int:
        """What its workspace and its blobs hold; 0 before it has begun."""
        return self._admitted.workspace.held_bytes if self._admitted is not None else 0

    @property
    def waits_for(self) -> str:
        """What the mission as a whole waits for before its first step: "approval", "concurrency_key"; or ""."""
        return self._threshold.waits_for

    # --- what can be seen of it ---

    def tell(self, step_id: str, kind: str, details: JsonObject) -> None:
        """Tell watchers that a step waits, or no longer."""
        self._recorder.note(kind, step_id, details)

    @property
    def first_index(self) -> int:
        """The index of the first event that is here; those before it are in the store."""
        return self._recorder.first_index

    def watch(self, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield events from `from_index` on, past and to come, until it has ended, or the next one is not here."""
        return self._recorder.watch(from_index)

    async def saved_beyond(self, count: int) -> bool:
        """Return when the store has more results of the mission than `count`; False: the execution has ended."""
        return await self._recorder.saved_beyond(count - len(self._earlier.results))

    # --- its life ---

    async def execute(self) -> None:
        """Run the mission to its end and record it. Whatever happens, watchers are let go; only cancelling raises."""
        with self._ground.watch.mission(self.mission_id) as self._position:
            await self._execute()

    async def _execute(self) -> None:
        recorder = self._recorder
        try:
            async with AsyncExitStack() as held:
                await self._get_clearance()
                await self._take_turn(held)
                await self._begin()
                await self._finish(await self._run_and_keep())
        except SuspendedError:
            await self._leave_off()
        except Exception:  # noqa: BLE001 - the store still says Executing, and watchers are told of no end
            _LOG.exception("mission %s: its end could not be recorded; the next start takes it up", self.mission_id)
        finally:
            self.trail.end()
            self._places.close()
            if self._admitted is not None:
                self._admitted.workspace.close()
            recorder.end()

    async def _get_clearance(self) -> None:
        """Wait until a person agrees that the mission begins, where policy wants that; a refusal fails it."""
        clearance = self._assignment.clearance
        if clearance is None or self._earlier.stopped is not None:
            return
        keeping = asyncio.create_task(self._keep())  # people take their time: what watchers have heard must outlast it
        try:
            cleared = await self._threshold.wait("approval", clearance.decisions())
        except RefusalError as error:
            self._refused(error)
        except EngineError as error:
            self._stop(error)
        else:
            self._decisions += cleared or ()
        finally:
            self._recorder.settle()
            await keeping
            self._recorder.unsettle()

    async def _take_turn(self, held: AsyncExitStack) -> None:
        """Hold the concurrency key, which may mean to wait for it; a mission that is stopped needs it no longer."""
        key = self.config.concurrency_key
        if key is None or self._earlier.stopped is not None or self._threshold.left or self._fault is not None:
            return
        turn = self._ground.keys.hold(self.tenant, key, self.config.priority)
        what = "concurrency_key"
        delayed = partial(self._recorder.note, "mission.waiting", "", {"for": what, "key": key})
        await self._threshold.wait(what, held.enter_async_context(turn), delayed)

    def _wake(self) -> None:
        self._run.wake()

    async def _begin(self) -> None:
        """Make ready what the first step needs; a mission for which that fails runs no step, and is Failed."""
        if self._earlier.opening is not None:
            self._recorder.note(self._earlier.opening, "", {"kept": len(self._earlier.results)})
        assignment, fresh = self._assignment, self._earlier.opening is None
        workspaces = self._ground.workspaces
        try:
            await self._ground.store.mark_executing(self.mission_id)
            key = await self._ground.store.mission_key(self.mission_id)
            take = workspaces.create if fresh else workspaces.reopen
            self._admitted = AdmittedMission(
                mission_id=self.mission_id,
                sanitized=assignment.sanitized,
                caller=assignment.caller,
                decision=self._decisions[-1],
                earlier=self._decisions[:-1],
                workspace=take(self.mission_id, key),
                trail=self.trail,
                journal=MissionJournal(self._ground.store, self.mission_id, fresh=fresh),
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
        self._run.fail(self._fault)

    def _refused(self, error: RefusalError) -> None:
        """End the mission because it may not begin."""
        self._fault = StepFailure(code=error.code, message=error.message)
        self._run.refuse(self._fault)

    async def _save(self) -> None:
        """Give the store what it has not got; both calls fall into one commit."""
        for failure in await asyncio.gather(self._save_events(), self._save_results(), return_exceptions=True):
            if failure is not None:
                raise failure

    async def _save_results(self) -> None:
        if results := self._recorder.unsaved_results:
            await self._ground.store.save_step_results(self.mission_id, results, kinds=self._kinds)
            self._recorder.results_saved(len(results))

    async def _save_events(self) -> None:
        first_index, events = self._recorder.unsaved_events
        if events:
            bodies = [event.to_bytes() for event in events]
            await self._ground.store.append_events(self.mission_id, first_index, bodies)
            self._recorder.events_saved(len(events))

    async def _leave_off(self) -> None:
        """Record that a later start of the gateway goes on; where that fails, it does so all the same."""
        self.trail.end()
        with suppress(EngineError):
            self.trail.record(EventType.MISSION_SUSPENDED, self.mission_id, {})
            await self._save()  # what watchers were told while it waited for its key
            if self.files_bytes:
                await self._ground.store.set_files_bytes(self.mission_id, self.files_bytes)

    async def _finish(self, result: MissionResult) -> None:
        """Record the end: results, the signed event, the final state; then tell the watchers.

        Where the store fails, the log still has the end; the next start of the gateway makes the store agree.
        """
        recorder = self._recorder
        try:
            await self._save()
            earlier = self._earlier.opening is not None
            await self._ground.approvals.withdraw(self.tenant, self.mission_id, earlier=earlier)
        except EngineError as error:
            self._stop(error)
        result = self._judged(result)
        recorder.log_skipped()
        seq = self.trail.record(EventType.MISSION_ENDED, self.mission_id, ending_document(result))
        self.trail.end()
        await self._ground.audit.durable(seq)
        unsaved = recorder.unsaved_results
        summary, files = self._audit_summary(), self.files_bytes
        await self._ground.store.finish_mission(
            result, step_results=unsaved, audit_summary=summary, kinds=self._kinds, files_bytes=files
        )
        recorder.results_saved(len(unsaved))
        self._ground.watch.mission_ended(status_of(result), result.total_duration_ms)
        recorder.note(f"mission.{result.state.value.lower()}", "", {"status": result.overall_status.value})
        await self._save()

    def _audit_summary(self) -> bytes:
        """Return the summary: the durable checkpoint covers every event of the mission (`integrity_verified`).

        Events of an execution that was killed were counted by nobody: the figure is left out.
        """
        summary: dict[str, JsonValue] = {"integrity_verified": True}
        if self._earlier.opening is None:
            summary["events_logged"] = self.trail.events
        return orjson.dumps(summary)

    def _judged(self, result: MissionResult) -> MissionResult:
        """Return the result of all executions together; where the gateway could not go on, the mission has failed."""
        total_duration_ms = result.total_duration_ms + self._earlier.spent_seconds * _MS_PER_SECOND
        if self._fault is None:
            return replace(result, total_duration_ms=total_duration_ms)
        return replace(
            result,
            state=MissionState.FAILED,
            overall_status=OverallStatus.FAILED,
            error=result.error or self._fault,
            total_duration_ms=total_duration_ms,
        )
