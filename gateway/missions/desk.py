"""The mission desk: what the outside asks of missions, answered for the principal's own tenant and nobody else's.

How missions start is in `gateway.missions.submissions`, how they run and end in `gateway.missions.execution`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Final

import orjson

from engine.result import MissionState, StepFailure, StepResult
from engine.values import JsonObject
from gateway.admission import Admission
from gateway.detached import Detached
from gateway.drafts import Draft
from gateway.errors import ConflictError, NotFoundError
from gateway.identity import Principal, actor
from gateway.limits.quotas import MissionQuotas
from gateway.missions.approval_view import ApprovalView
from gateway.missions.children import REQUEST_ID_PREFIX, Children
from gateway.missions.control import REASON_MAX, Control
from gateway.missions.earlier import stored_events, stored_results
from gateway.missions.erasure import Erased, Erasure, Log, RecordedDecisions
from gateway.missions.execution import Execution, Ground
from gateway.missions.floor import Floor
from gateway.missions.recovery import PARENT_ENDED, Recovered, recover, stop_of
from gateway.missions.submissions import Submissions
from gateway.missions.tree import Trees
from gateway.missions.views import MissionEvent, MissionView, PlanPreview, Submission, result_document, view_of
from gateway.store.records import MissionRecord

REQUEST_ID_MAX: Final = 128  # characters
PAGE_SIZE_MAX: Final = 200
PAGE_SIZE_DEFAULT: Final = 50
_GATEWAY: Final = "gateway"


class Desk:
    """All missions of one gateway."""

    def __init__(
        self,
        *,
        admission: Admission,
        ground: Ground,
        children: Children,
        running_max: int,
        quotas: MissionQuotas,
        decisions: RecordedDecisions,
        log: Log,
    ) -> None:
        self._admission = admission
        self._ground = ground
        self._store = ground.store
        self._children = children
        self._floor = Floor(running_max=running_max, quotas=quotas, on_ended=self._on_ended)
        trees = Trees(ground.store, steps_max=ground.limits.steps_max)
        self._submissions = Submissions(ground, self._floor, admission, trees)
        self._control = Control(ground, self._floor)
        self._erasure = Erasure(ground, self._floor, decisions, log)
        self._calls = Detached()
        self._recovered = asyncio.Event()  # or nothing is to be recovered
        self._recovered.set()
        ground.approvals.bind(self._tell)
        children.bind(self, self._tell)

    # --- calls ---

    async def submit(
        self, principal: Principal, form: bytes | JsonObject, request_id: str, *, until: float | None = None
    ) -> Submission:
        """Admit a mission and start it. Cancelling the call cancels nothing that it has set going.

        What is not admitted `until` then, in time of the loop, is given up.

        Raises:
            RefusalError: malformed, refused by sanitizer or policy, or a request id used for another mission.
            FaultError: a stage could not answer; nothing was started. The same request id may be tried again.
        """
        if not 1 <= len(request_id) <= REQUEST_ID_MAX or not request_id.isprintable():
            raise ConflictError(
                f"request_id must have 1 to {REQUEST_ID_MAX} printable characters", code="mission.bad_request_id"
            )
        if request_id.startswith(REQUEST_ID_PREFIX):
            message = f"a request_id that begins with {REQUEST_ID_PREFIX!r} is a step's"
            raise ConflictError(message, code="mission.bad_request_id")
        return await self._calls.run(self._submissions.submit(principal, form, request_id, until=until))

    async def plan(self, principal: Principal, form: bytes | JsonObject) -> PlanPreview:
        """Say what `submit` would decide, and run nothing. A policy's no is an answer here, not an error.

        Raises:
            RefusalError: malformed, or refused by the sanitizer.
        """
        sanitized = await self._submissions.sanitize(form)
        decision = await self._admission.ask(sanitized, principal)
        return PlanPreview.of(sanitized, decision)

    async def check_draft(self, form: bytes | JsonObject) -> Draft:
        """Say what is wrong in a mission that may not be finished, and what is not there yet; nobody is asked.

        Raises:
            MissionInvalidError: it is no document at all.
        """
        return await asyncio.to_thread(self._admission.draft, form)

    async def get(self, principal: Principal, mission_id: str, *, document: bool = False) -> MissionView:
        """Return one mission, with its canonical document where that is asked for.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
        """
        record = await self._own(principal, mission_id)
        mission = orjson.loads(await self._store.get_document(mission_id)) if document else None
        return view_of(record, await self._result(record), mission, waits_for=self._waits_for(record))

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
        views = (view_of(record, None, waits_for=self._waits_for(record)) for record in page.missions)
        return tuple(views), page.next_page_token

    async def watch(self, principal: Principal, mission_id: str, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield events from an index on, until the mission has ended, or is suspended with the gateway.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
        """
        await self._own(principal, mission_id)
        index, execution, behind = from_index, self._floor.of(mission_id), True
        while behind:
            begun = index
            if execution is None or index < execution.first_index:
                async for event in stored_events(self._store, mission_id, index):
                    yield event
                    index = event.index + 1
            if execution is None:
                return
            async for event in execution.watch(index):
                yield event
                index = event.index + 1
            behind = (
                begun < index < execution.first_index
            )  # it was slower than the mission, whose events are in the store

    async def results(
        self, principal: Principal, mission_id: str, *, offset: int, follow: bool
    ) -> AsyncIterator[StepResult]:
        """Yield results in the order in which they were saved; with `follow`, until the mission has ended.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
        """
        await self._own(principal, mission_id)
        execution, going = self._floor.of(mission_id), True
        while going:
            going = follow and execution is not None and await execution.saved_beyond(offset)
            async for result in stored_results(self._store, mission_id, offset):
                yield result
                offset += 1

    async def cancel(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        """Cancel a running mission; the request is durable before it takes effect. Returns once it has ended.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            ConflictError: `mission.ended`, or the reason is too long.
        """
        _check_reason(reason)
        await self._own(principal, mission_id)
        reason = reason or f"cancelled by {principal.subject}"
        await self._calls.run(self._control.cancel(actor(principal), mission_id, reason))
        await self._floor.settled(mission_id)
        return await self.get(principal, mission_id)

    async def pause(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        """Let nothing new start in a mission; steps that run go on.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            ConflictError: `mission.ended`, `mission.paused`, or the reason is too long.
        """
        _check_reason(reason)
        await self._own(principal, mission_id)
        await self._calls.run(self._control.pause(actor(principal), mission_id, reason))
        return await self.get(principal, mission_id)

    async def resume(self, principal: Principal, mission_id: str) -> MissionView:
        """Let a paused mission go on.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            ConflictError: `mission.ended`, `mission.not_paused`.
        """
        await self._own(principal, mission_id)
        await self._calls.run(self._control.resume(actor(principal), mission_id))
        return await self.get(principal, mission_id)

    async def retry(self, principal: Principal, mission_id: str, *, repeat_in_doubt: bool) -> MissionView:
        """Begin an ended mission anew, keeping what it has completed; see `Submissions.retry`.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            RefusalError: it has not ended, or is refused now.
        """
        await self._own(principal, mission_id)
        await self._calls.run(self._submissions.retry(mission_id, actor(principal), repeat_in_doubt=repeat_in_doubt))
        return await self.get(principal, mission_id)

    async def erase(self, principal: Principal, mission_id: str, reason: str) -> Erased:
        """Erase what is kept of an ended mission and of its parts; see `Erasure.erase`.

        Raises:
            NotFoundError: none of the principal's tenant has that id.
            ConflictError: `mission.not_ended`, `mission.part`, or the reason is too long.
        """
        _check_reason(reason)
        _require_own(principal, await self._store.bare_mission(mission_id))
        return await self._calls.run(self._erase(actor(principal), mission_id, reason))

    async def decide_approval(
        self,
        principal: Principal,
        mission_id: str,
        approval_id: str,
        *,
        approve: bool,
        digest: str,
        comment: str,
        seen: Collection[str] | None = None,
    ) -> ApprovalView:
        """Record a decision; see `Approvals.decide`."""
        return await self._ground.approvals.decide(
            principal, mission_id, approval_id, approve=approve, digest=digest, comment=comment, seen=seen
        )

    async def approved_by(self, mission_id: str, approval_id: str) -> tuple[str, ...] | None:
        """Return who has approved something else of the mission; see `Approvals.approved_by`."""
        return await self._ground.approvals.approved_by(mission_id, approval_id)

    async def list_approvals(
        self, principal: Principal, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalView, ...]:
        """Return approvals; see `Approvals.list`."""
        return await self._ground.approvals.list(principal, mission_id, pending_only=pending_only)

    async def owner(self, mission_id: str) -> JsonObject | None:
        """Return whose a mission is, for the decision on a call; None where there is none."""
        try:
            record = await self._store.bare_mission(mission_id)
        except NotFoundError:
            return None
        return {"tenant": record.tenant, "submitter": record.submitter, "submitter_roles": list(record.roles)}

    # --- for steps that run missions: `gateway.missions.ports.ChildDesk` ---

    @property
    def suspending(self) -> bool:
        """Whether missions are being stopped so that the next start of the gateway goes on with them."""
        return self._floor.suspending

    async def submit_child(
        self, parent_id: str, caller: Principal, taint: frozenset[str], form: JsonObject, request_id: str
    ) -> Submission:
        """Admit and start a mission as a part of another, or return the one that has this request id.

        Raises:
            RefusalError, FaultError: as `submit`; `mission.too_deep`, `mission.too_many_steps` of the whole tree.
        """
        parent = await self._store.get_mission(parent_id)
        return await self._submissions.submit(caller, orjson.dumps(form), request_id, parent, taint)

    async def ended(self, mission_id: str) -> MissionRecord:
        """Return a mission once it has ended.

        Raises:
            SuspendedError: the gateway stops; a later start goes on with it.
            ConflictError: `mission.not_running`, it has not ended, and nothing of it runs.
        """
        await self._recovered.wait()  # it may be about to go on
        while (record := await self._store.get_mission(mission_id)).ended_at is None:
            if self._floor.of(mission_id) is None:
                raise ConflictError("the mission does not run", code="mission.not_running")
            await self._floor.settled(mission_id)
        return record

    async def cancel_own(self, mission_id: str, reason: str) -> None:
        """Cancel a mission for the gateway's own reasons; one that has ended is left as it is."""
        if self._floor.of(mission_id) is not None:
            await self._control.cancel(_GATEWAY, mission_id, reason)
            await self._floor.settled(mission_id)

    async def retry_own(self, mission_id: str) -> None:
        """Begin an ended mission anew for the gateway's own reasons."""
        await self._submissions.retry(mission_id, _GATEWAY, repeat_in_doubt=False)

    # --- life of the desk ---

    async def recover(self) -> Recovered:
        """Take up what an earlier process left unfinished; before anything is asked of the desk.

        Raises:
            FaultError: policy, log or store cannot answer.
        """
        self._recovered.clear()
        recovered = await recover(self._ground, self._submissions)
        for part in self._floor.apart():  # its whole may have ended while it was begun
            if await stop_of(self._ground, part.parent_id) is not None:
                part.cancel(PARENT_ENDED)
        await self._erasure.resume()
        self._recovered.set()
        return recovered

    def adopt(self, running_max: int) -> None:
        """Let so many missions run at once from now on; those that run go on."""
        self._floor.adopt(running_max)

    async def close(self, drain_seconds: float) -> None:
        """Take nothing more; let steps at work end within `drain_seconds`, then suspend what is left.

        Submissions under way come first: they may still start a mission. Those that come later are refused.
        """
        self._floor.refuse()
        await self._calls.settled()
        await self._floor.close(drain_seconds)
        await self._children.close()
        await self._ground.approvals.close()
        await self._calls.settled()

    @property
    def running(self) -> int:
        """Missions that run now."""
        return len(self._floor)

    @property
    def standing(self) -> dict[str, int]:
        """How many missions are here, by what they do: "running", "waiting", "paused"."""
        return self._floor.standing

    async def erase_own(self, by: str, mission_id: str) -> Erased:
        """Erase a mission because who has submitted it is erased; one that is erased already is left as it is."""
        return await self._erase(by, mission_id, "")

    # --- small parts ---

    async def _erase(self, by: str, mission_id: str, reason: str) -> Erased:
        async with self._submissions.turn(mission_id):  # nobody is about to begin it anew
            return await self._erasure.erase(by, mission_id, reason)

    def _tell(self, mission_id: str, step_id: str, kind: str, details: JsonObject) -> None:
        """Tell the watchers of a mission that a step of it waits, or no longer."""
        if (execution := self._floor.of(mission_id)) is not None:
            execution.tell(step_id, kind, details)

    def _waits_for(self, record: MissionRecord) -> str:
        """Return what a mission waits for before its first step."""
        execution = self._floor.of(record.id)
        return execution.waits_for if execution is not None else ""

    def _on_ended(self, execution: Execution) -> None:
        """Cancel what a mission has started and not waited for: its step was given up."""
        for part in self._floor.parts(execution.mission_id):
            part.cancel(StepFailure(code="mission.cancelled", message="the mission that had started it has ended"))

    async def _own(self, principal: Principal, mission_id: str) -> MissionRecord:
        """Return a mission of the principal's tenant; another tenant's does not exist for it, to the letter."""
        record = await self._store.get_mission(mission_id)
        _require_own(principal, record)
        return record

    async def _result(self, record: MissionRecord) -> JsonObject | None:
        """Return the documented result of a mission that has ended."""
        if record.ended_at is None:
            return None
        if record.erased_at is not None:
            return result_document(record, ())
        return result_document(record, [result async for result in stored_results(self._store, record.id)])


def _require_own(principal: Principal, record: MissionRecord) -> None:
    if record.tenant != principal.tenant:
        raise NotFoundError("there is no such mission", code="mission.not_found")


def _check_reason(reason: str) -> None:
    if len(reason) > REASON_MAX:
        raise ConflictError(f"a reason has at most {REASON_MAX} characters", code="mission.bad_reason")
