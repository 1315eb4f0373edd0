"""The mission desk: takes submissions, runs what is admitted, and answers questions about it.

Order of writes, so that nothing acknowledged can be lost: mission to the store, admission to the log, a signed
checkpoint over it, then the answer. At the end: results to the store, the end to the log and under a checkpoint,
the end to the store, then the watchers.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Final, TypeVar

import orjson

from engine.audit.log import AuditLog
from engine.clock import Clock
from engine.context import ExecutionContext
from engine.errors import EngineError
from engine.mission import MissionLimits, MissionStep
from engine.result import MissionResult, MissionState, StepFailure, StepResult
from engine.scheduler import MissionRun
from engine.values import JsonObject, JsonValue
from gateway.effects.workspace import Workspaces
from gateway.errors import ConflictError, NotFoundError, OverloadedError
from gateway.events import EventType, digest, reasons_document
from gateway.identity import Principal
from gateway.missions.recorder import Recorder
from gateway.missions.views import (
    MissionEvent,
    MissionView,
    PlanPreview,
    Submission,
    result_document,
    view_of,
)
from gateway.pipeline import Admission, AdmittedMission, SanitizedMission, StepPipeline, actor
from gateway.policy.decision import Decision
from gateway.store.records import MissionRecord, NewMission
from gateway.store.store import Store

REQUEST_ID_MAX: Final = 128  # characters
PAGE_SIZE_MAX: Final = 200
PAGE_SIZE_DEFAULT: Final = 50
_LARGE_FORM_BYTES: Final = 32 * 1024  # parsed in a thread from here on, so that other calls go on

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Live:
    """A mission that runs now."""

    __slots__ = ("admitted", "recorder", "run", "task")

    def __init__(self, admitted: AdmittedMission, recorder: Recorder, run: MissionRun) -> None:
        self.admitted = admitted
        self.recorder = recorder
        self.run = run
        self.task: asyncio.Task[None] | None = None


class _Runner:
    """The scheduler's port, filled by the pipeline for one mission."""

    __slots__ = ("_admitted", "_index", "_pipeline")

    def __init__(self, pipeline: StepPipeline, admitted: AdmittedMission) -> None:
        self._pipeline = pipeline
        self._admitted = admitted
        self._index = admitted.sanitized.plan.graph.index

    async def run_step(self, step: MissionStep, context: ExecutionContext) -> JsonValue:
        return await self._pipeline.run_step(self._admitted, self._index[step.id], context)


class Desk:
    """All missions of one gateway."""

    def __init__(
        self,
        *,
        admission: Admission,
        pipeline: StepPipeline,
        store: Store,
        audit: AuditLog,
        workspaces: Workspaces,
        clock: Clock,
        limits: MissionLimits,
        running_max: int,
    ) -> None:
        self._admission = admission
        self._pipeline = pipeline
        self._store = store
        self._audit = audit
        self._workspaces = workspaces
        self._clock = clock
        self._limits = limits
        self._running_max = running_max
        self._live: dict[str, _Live] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._closing = False

    # --- calls ---

    async def submit(self, principal: Principal, form: bytes | JsonObject, request_id: str) -> Submission:
        """Admit a mission and start it. Cancelling the call cancels nothing that it has set going.

        Raises:
            RefusalError: malformed, refused by sanitizer or policy, or a request id used for another mission.
            FaultError: a stage could not answer; nothing was started.
        """
        if not 1 <= len(request_id) <= REQUEST_ID_MAX or not request_id.isprintable():
            raise ConflictError(
                f"request_id must have 1 to {REQUEST_ID_MAX} printable characters", code="mission.bad_request_id"
            )
        return await self._detached(self._submit(principal, form, request_id))

    async def plan(self, principal: Principal, form: bytes | JsonObject) -> PlanPreview:
        """Say what `submit` would decide, and run nothing. A policy's no is an answer here, not an error.

        Raises:
            RefusalError: malformed, or refused by the sanitizer.
        """
        sanitized = await self._sanitize(form)
        decision = await self._admission.ask(sanitized, principal)
        return PlanPreview.of(sanitized, decision)

    async def get(self, principal: Principal, mission_id: str) -> MissionView:
        """Return one mission.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
        """
        record = await self._own(principal, mission_id)
        return view_of(record, await self._result(record))

    async def list_missions(
        self, principal: Principal, *, state: MissionState | None, page_size: int, page_token: str
    ) -> tuple[tuple[MissionView, ...], str]:
        """Return a page of the missions of the principal's tenant, newest first, and the next page's token or ""."""
        page = await self._store.list_missions(
            principal.tenant,
            state=state,
            page_size=min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX),
            page_token=page_token,
        )
        return tuple(view_of(record, None) for record in page.missions), page.next_page_token

    async def watch(self, principal: Principal, mission_id: str, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield events from an index on, until the mission has ended.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
        """
        await self._own(principal, mission_id)
        if (live := self._live.get(mission_id)) is not None:
            async for event in live.recorder.watch(from_index):
                yield event
            return
        index = from_index
        while stored := await self._store.events(mission_id, index):
            for each in stored:
                yield MissionEvent.from_bytes(each.body)
            index = stored[-1].index + 1

    async def cancel(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        """Cancel a running mission; the request is durable before it takes effect.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            ConflictError: the mission has ended.
        """
        record = await self._own(principal, mission_id)
        live = self._live.get(mission_id)
        if live is None or live.task is None:
            raise ConflictError(f"the mission is {record.state.value}", code="mission.ended")
        seq = self._audit.append(
            EventType.MISSION_CANCEL_REQUESTED, actor=actor(principal), target=mission_id, details={"reason": reason}
        )
        await self._audit.durable(seq)
        live.run.cancel(StepFailure(code="mission.cancelled", message=reason or f"cancelled by {principal.subject}"))
        await asyncio.wait([live.task])
        return await self.get(principal, mission_id)

    async def owner(self, mission_id: str) -> Mapping[str, str] | None:
        """Return tenant and submitter of a mission, for the decision on a call; None where there is none."""
        try:
            record = await self._store.get_mission(mission_id)
        except NotFoundError:
            return None
        return {"tenant": record.tenant, "submitter": record.submitter}

    # --- life of the desk ---

    async def recover(self) -> tuple[str, ...]:
        """End what a killed gateway left unfinished: Failed, code `interrupted`. Returns the mission ids."""
        interrupted = await self._store.interrupt_unfinished()
        seq = -1
        for mission_id in interrupted:
            seq = self._audit.append(
                EventType.MISSION_INTERRUPTED, actor="gateway", target=mission_id, details={"code": "interrupted"}
            )
        if interrupted:
            await self._audit.durable(seq)
        return interrupted

    async def close(self, drain_seconds: float) -> None:
        """Take nothing more; let missions end within `drain_seconds`, then cancel what is left."""
        self._closing = True
        tasks = [live.task for live in self._live.values() if live.task is not None]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=drain_seconds)
            for live in list(self._live.values()):
                live.run.cancel(StepFailure(code="mission.cancelled", message="the gateway was stopped"))
            if pending:
                await asyncio.wait(pending)
        while self._calls:
            await asyncio.wait(set(self._calls))

    @property
    def running(self) -> int:
        """Missions that run now."""
        return len(self._live)

    # --- submission ---

    async def _submit(self, principal: Principal, form: bytes | JsonObject, request_id: str) -> Submission:
        try:
            sanitized = await self._sanitize(form)
            known = await self._store.find_request(principal.tenant, principal.subject, request_id)
            if known is not None:
                return _again(known, sanitized.digest)
            self._check_room()
            decision = await self._admission.decide(sanitized, principal)
        except EngineError as error:
            await self._refused(principal, request_id, form, error)
            raise
        mission = sanitized.plan.mission
        creation = await self._store.create_mission(
            NewMission(
                id=str(uuid.uuid4()),
                tenant=principal.tenant,
                submitter=principal.subject,
                request_id=request_id,
                request_digest=sanitized.digest,
                mission_digest=sanitized.digest,
                name=mission.name,
                document=mission.canonical(),
                steps_total=len(mission.steps),
            )
        )
        if not creation.created:  # another call with this request id was faster
            return _again(creation.mission, sanitized.digest)
        await self._start(creation.mission.id, sanitized, principal, decision, request_id)
        return Submission(mission_id=creation.mission.id, digest=sanitized.digest, created=True, decision=decision)

    async def _sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        if isinstance(form, bytes) and len(form) < _LARGE_FORM_BYTES:
            return self._admission.sanitize(form)
        return await asyncio.to_thread(self._admission.sanitize, form)

    def _check_room(self) -> None:
        if self._closing:
            raise OverloadedError("the gateway is stopping", code="gateway.stopping")
        if len(self._live) >= self._running_max:
            raise OverloadedError(f"{self._running_max} missions run already", code="mission.too_many_running")

    async def _refused(
        self, principal: Principal, request_id: str, form: bytes | JsonObject, error: EngineError
    ) -> None:
        """Make a refusal durable before the caller hears of it."""
        details: dict[str, JsonValue] = {"code": error.code, "request_id": request_id}
        if isinstance(form, bytes):
            details["document"] = digest(form)
        reasons = getattr(error, "reasons", ())
        if reasons:
            details["reasons"] = reasons_document(reasons)
        seq = self._audit.append(EventType.MISSION_REFUSED, actor=actor(principal), target="mission", details=details)
        await self._audit.durable(seq)

    async def _start(
        self,
        mission_id: str,
        sanitized: SanitizedMission,
        principal: Principal,
        decision: Decision,
        request_id: str,
    ) -> None:
        """Make the admission durable, then set the mission going.

        A fault here leaves a mission that is Validated and was never acknowledged; the next start ends it.
        """
        plan = sanitized.plan
        recorder = Recorder(mission_id, actor(principal), self._audit, self._clock)
        seq = recorder.audit(
            EventType.MISSION_ADMITTED,
            mission_id,
            {
                "mission": sanitized.digest,
                "steps": len(plan.mission.steps),
                "request_id": request_id,
                "bundle": decision.bundle,
            },
        )
        await self._audit.durable(seq)
        admitted = AdmittedMission(
            mission_id=mission_id,
            sanitized=sanitized,
            caller=principal,
            decision=decision,
            workspace=self._workspaces.create(mission_id),
        )
        context = ExecutionContext.of(plan.mission, limits=self._limits, metadata={"submitter": principal.subject})
        run = MissionRun(plan, context, _Runner(self._pipeline, admitted), recorder, self._clock, mission_id)
        live = _Live(admitted, recorder, run)
        self._live[mission_id] = live
        recorder.note("mission.executing", "", {})
        live.task = asyncio.create_task(self._execute(live), name=f"mission {mission_id}")

    # --- execution ---

    async def _execute(self, live: _Live) -> None:
        """Run one mission to its end; whatever happens, its watchers are let go."""
        mission_id, recorder = live.admitted.mission_id, live.recorder
        try:
            await self._store.mark_executing(mission_id)
            keeping = asyncio.create_task(self._keep(live))
            keeping.add_done_callback(lambda task: self._on_kept(live, task))
            try:
                result = await live.run.execute()
            finally:
                await self._stop_keeping(live, keeping)
            await self._finish(live, result)
        except EngineError:
            _LOG.exception("mission %s: its end could not be recorded; it is interrupted", mission_id)
        finally:
            live.admitted.workspace.close()
            del self._live[mission_id]
            recorder.end()

    async def _keep(self, live: _Live) -> None:
        """Hand transitions to the store as they come, as many at a time as came during the last commit."""
        while not live.recorder.settled:
            await live.recorder.changed()
            await self._flush(live)

    @staticmethod
    def _on_kept(live: _Live, task: asyncio.Task[None]) -> None:
        """Stop a mission whose progress can no longer be recorded: nothing may happen without its record."""
        if not task.cancelled() and task.exception() is not None:
            live.run.cancel(StepFailure(code="store.unavailable", message="progress can no longer be recorded"))

    @staticmethod
    async def _stop_keeping(live: _Live, keeping: asyncio.Task[None]) -> None:
        """End `_keep` between two commits, never in one: what was taken from the recorder is with the store."""
        live.recorder.settle()
        await keeping

    async def _flush(self, live: _Live) -> None:
        """Hand over what the store has not seen; the store commits calls in the order in which they are made."""
        first_index, events, results = live.recorder.take()
        if results:
            await self._store.save_step_results(live.admitted.mission_id, results)
        if events:
            await self._store.append_events(live.admitted.mission_id, first_index, [e.to_bytes() for e in events])

    async def _finish(self, live: _Live, result: MissionResult) -> None:
        """Record the end: results, the signed event, the final state."""
        recorder = live.recorder
        await self._flush(live)
        seq = recorder.audit(
            EventType.MISSION_ENDED,
            result.mission_id,
            {
                "state": result.state.value,
                "status": result.overall_status.value,
                "completed": result.steps_completed,
                "failed": result.steps_failed,
                "skipped": result.steps_skipped,
            },
        )
        await self._audit.durable(seq)
        summary = {"events_logged": recorder.audited, "integrity_verified": True}
        await self._store.finish_mission(result, audit_summary=orjson.dumps(summary))
        recorder.note(f"mission.{result.state.value.lower()}", "", {"status": result.overall_status.value})
        await self._flush(live)

    # --- small parts ---

    async def _own(self, principal: Principal, mission_id: str) -> MissionRecord:
        """Return a mission of the principal's tenant; another tenant's does not exist for it."""
        record = await self._store.get_mission(mission_id)
        if record.tenant != principal.tenant:
            raise NotFoundError(f"there is no mission {mission_id!r}", code="mission.not_found")
        return record

    async def _result(self, record: MissionRecord) -> JsonObject | None:
        """Return the documented result of a mission that has ended."""
        if record.ended_at is None:
            return None
        results: list[StepResult] = []
        while page := await self._store.step_results(record.id, offset=len(results)):
            results += page
        return result_document(record, results)

    async def _detached(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await `work` in a task of its own, which goes on where the caller is cancelled."""
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)


def _again(record: MissionRecord, digest_now: str) -> Submission:
    """Answer a repeated request id.

    Raises:
        ConflictError: it named another mission.
    """
    if record.request_digest != digest_now:
        raise ConflictError("this request_id was used for another mission", code="mission.request_id_reused")
    return Submission(mission_id=record.id, digest=record.mission_digest, created=False, decision=None)
