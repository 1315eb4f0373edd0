"""The mission desk: takes submissions, starts what is admitted, and answers questions about it.

Order of writes at admission, so that nothing acknowledged can be lost: mission to the store, `mission.admitted` to
the log, a signed checkpoint over it, then the answer. A refusal is under a checkpoint before the caller hears it.
`gateway.missions.execution` has the order at the end.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from engine.clock import Clock
from engine.errors import FaultError
from engine.mission import MissionLimits
from engine.result import MissionState, StepFailure, StepResult
from engine.values import JsonObject, JsonValue
from gateway.effects.workspace import Workspaces
from gateway.errors import ConflictError, NotFoundError, OverloadedError
from gateway.events import Audit, EventType, Trail, digest, refusal_document
from gateway.identity import Principal
from gateway.missions.execution import Execution, Ground
from gateway.missions.views import MissionEvent, MissionView, PlanPreview, Submission, result_document, view_of
from gateway.pipeline import Admission, StepPipeline, actor, note, require
from gateway.policy.decision import Decision
from gateway.stages import SanitizedMission
from gateway.store.records import MissionRecord, NewMission
from gateway.store.store import Store

REQUEST_ID_MAX: Final = 128  # characters
REASON_MAX: Final = 1_000  # characters, of a cancellation
PAGE_SIZE_MAX: Final = 200
PAGE_SIZE_DEFAULT: Final = 50
_LARGE_FORM_BYTES: Final = 32 * 1024  # parsed in a thread from here on, so that other calls go on
_UNFINISHED: Final = (MissionState.VALIDATED, MissionState.EXECUTING)

_T = TypeVar("_T")


class Desk:
    """All missions of one gateway."""

    def __init__(
        self,
        *,
        admission: Admission,
        pipeline: StepPipeline,
        store: Store,
        audit: Audit,
        workspaces: Workspaces,
        clock: Clock,
        limits: MissionLimits,
        running_max: int,
    ) -> None:
        self._admission = admission
        self._store = store
        self._audit = audit
        self._ground = Ground(
            pipeline=pipeline, store=store, audit=audit, workspaces=workspaces, clock=clock, limits=limits
        )
        self._running_max = running_max
        self._running: dict[str, tuple[Execution, asyncio.Task[None]]] = {}
        self._starting = 0  # submissions that have a place reserved
        self._unadmitted: set[str] = set()  # missions in the store whose admission the log did not take
        self._turns: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()
        self._calls: set[asyncio.Task[Any]] = set()
        self._closing = False

    # --- calls ---

    async def submit(self, principal: Principal, form: bytes | JsonObject, request_id: str) -> Submission:
        """Admit a mission and start it. Cancelling the call cancels nothing that it has set going.

        Raises:
            RefusalError: malformed, refused by sanitizer or policy, or a request id used for another mission.
            FaultError: a stage could not answer; nothing was started. The same request id may be tried again.
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
        if mission_id in self._running:
            execution, _ = self._running[mission_id]
            async for event in execution.watch(from_index):
                yield event
            return
        index = from_index
        while stored := await self._store.events(mission_id, index):
            for each in stored:
                yield MissionEvent.from_bytes(each.body)
            index = stored[-1].index + 1

    async def cancel(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        """Cancel a running mission; the request is durable before it takes effect. Returns once it has ended.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            ConflictError: the mission does not run, or the reason is too long.
        """
        if len(reason) > REASON_MAX:
            raise ConflictError(f"a reason has at most {REASON_MAX} characters", code="mission.bad_reason")
        record = await self._own(principal, mission_id)
        if mission_id not in self._running:
            raise ConflictError(f"the mission is {record.state.value}", code="mission.ended")
        execution, task = self._running[mission_id]
        seq = execution.trail.record(
            EventType.MISSION_CANCEL_REQUESTED, mission_id, {"reason": reason}, actor=actor(principal)
        )
        await self._audit.durable(seq)
        execution.cancel(StepFailure(code="mission.cancelled", message=reason or f"cancelled by {principal.subject}"))
        await asyncio.wait([task])
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
        """End what a killed gateway left unfinished: Failed, code `interrupted`. Returns the mission ids.

        The log is told first: a second kill in between makes it tell twice, never not at all. It was verified when it
        was opened, so with that checkpoint all that it has of these missions is signed, as their results then say.
        """
        for state in _UNFINISHED:
            await self._log_interrupted(state)
        return await self._store.interrupt_unfinished()

    async def _log_interrupted(self, state: MissionState) -> None:
        token = ""
        while True:
            page = await self._store.list_missions(None, state=state, page_size=PAGE_SIZE_MAX, page_token=token)
            seq = -1
            for record in page.missions:
                details: JsonObject = {"code": "interrupted", "state": state.value}
                seq = self._audit.append(
                    EventType.MISSION_INTERRUPTED, actor="gateway", target=record.id, details=details
                )
            if seq >= 0:
                await self._audit.durable(seq)
            token = page.next_page_token
            if not token:
                return

    async def close(self, drain_seconds: float) -> None:
        """Take nothing more; let missions end within `drain_seconds`, then cancel what is left.

        Submissions under way come first: they may still start a mission. Those that come later are refused.
        """
        self._closing = True
        if self._calls:
            await asyncio.wait(set(self._calls))
        if not self._running:
            return
        _, pending = await asyncio.wait([task for _, task in self._running.values()], timeout=drain_seconds)
        for execution, _ in list(self._running.values()):
            execution.cancel(StepFailure(code="mission.cancelled", message="the gateway was stopped"))
        if pending:
            await asyncio.wait(pending)

    @property
    def running(self) -> int:
        """Missions that run now."""
        return len(self._running)

    # --- submission ---

    async def _submit(self, principal: Principal, form: bytes | JsonObject, request_id: str) -> Submission:
        """Answer a submission; whatever the answer, it is durable first."""
        evidence: dict[str, JsonValue] = {"request_id": request_id, "roles": list(principal.roles)}
        try:
            return await self._admit(principal, form, request_id, evidence)
        except Exception as error:
            details = {**evidence, **refusal_document(error)}
            seq = self._audit.append(
                EventType.MISSION_REFUSED, actor=actor(principal), target="mission", details=details
            )
            await self._audit.durable(seq)
            raise

    async def _admit(
        self, principal: Principal, form: bytes | JsonObject, request_id: str, evidence: dict[str, JsonValue]
    ) -> Submission:
        if isinstance(form, bytes):
            evidence["document"] = digest(form)
        sanitized = await self._sanitize(form)  # (1)
        evidence["mission"] = sanitized.digest
        # Requests of one id take turns: the second hears of the first one's mission once its admission is durable.
        turn = self._turns.setdefault((principal.tenant, principal.subject, request_id), asyncio.Lock())
        async with turn:
            known = await self._store.find_request(principal.tenant, principal.subject, request_id)
            if known is not None and known.request_digest != sanitized.digest:
                raise ConflictError("this request_id was used for another mission", code="mission.request_id_reused")
            if known is not None and known.id not in self._unadmitted:
                return Submission(mission_id=known.id, digest=known.mission_digest, created=False, decision=None)
            with self._place():
                decision = await self._admission.ask(sanitized, principal)  # (2), (3)
                note(decision, evidence)
                require(decision)
                mission_id = known.id if known is not None else await self._create(principal, sanitized, request_id)
                await self._start(mission_id, sanitized, principal, decision, evidence)
            return Submission(mission_id=mission_id, digest=sanitized.digest, created=True, decision=decision)

    async def _sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        if isinstance(form, bytes) and len(form) < _LARGE_FORM_BYTES:
            return self._admission.sanitize(form)
        return await asyncio.to_thread(self._admission.sanitize, form)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Reserve a place for a mission that is about to start.

        Raises:
            OverloadedError: there is none, or the gateway is stopping.
        """
        if self._closing:
            raise OverloadedError("the gateway is stopping", code="gateway.stopping")
        if max(len(self._running) + self._starting, len(self._unadmitted)) >= self._running_max:
            raise OverloadedError(f"{self._running_max} missions run already", code="mission.too_many_running")
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    async def _create(self, principal: Principal, sanitized: SanitizedMission, request_id: str) -> str:
        """Bring an allowed mission to the store, and return its id."""
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
        if not creation.created:
            raise FaultError("another writer used this request_id meanwhile", code="mission.request_id_race")
        self._unadmitted.add(creation.mission.id)
        return creation.mission.id

    async def _start(
        self,
        mission_id: str,
        sanitized: SanitizedMission,
        principal: Principal,
        decision: Decision,
        evidence: Mapping[str, JsonValue],
    ) -> None:
        """Make the admission durable, then set the mission going.

        A fault here leaves a mission that is Validated and was never acknowledged: the same request id starts it
        later, or the next start of the gateway ends it.
        """
        trail = Trail(self._audit, actor(principal))
        details = {**evidence, "steps": len(sanitized.plan.mission.steps)}
        await self._audit.durable(trail.record(EventType.MISSION_ADMITTED, mission_id, details))
        self._unadmitted.discard(mission_id)
        execution = Execution(
            self._ground,
            mission_id=mission_id,
            sanitized=sanitized,
            caller=principal,
            decision=decision,
            trail=trail,
        )
        task = asyncio.create_task(execution.execute(), name=f"mission {mission_id}")
        self._running[mission_id] = execution, task
        task.add_done_callback(lambda _: self._running.pop(mission_id, None))

    # --- small parts ---

    async def _own(self, principal: Principal, mission_id: str) -> MissionRecord:
        """Return a mission of the principal's tenant; another tenant's does not exist for it, to the letter."""
        record = await self._store.get_mission(mission_id)
        if record.tenant != principal.tenant:
            raise NotFoundError("there is no such mission", code="mission.not_found")
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
        task.add_done_callback(self._call_ended)
        return await asyncio.shield(task)

    def _call_ended(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # seen: a caller that has hung up does not ask for it, and asyncio would complain
