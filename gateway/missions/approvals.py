"""Approvals: asks people on behalf of a step, or of policy, keeps question and answer, and lets what waits go on.

A request: record in the store, event in the log under a checkpoint, watchers told, wait. A decision: the rules
(`gateway.missions.approval_rules`), record in the store, event in the log under a checkpoint, the step goes on. A
gateway that is killed anywhere in between finds the record again by the effect's key. Nothing here decides that the
step may run: policy is asked again after the wait, by the pipeline.
"""

import asyncio
import math
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import timedelta
from typing import Final

from engine.clock import Clock, rfc3339
from engine.errors import FaultError, RefusalError
from engine.values import JsonObject
from gateway.consent import Agreement, Question
from gateway.detached import Detached
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.waits import ApprovalTerms
from gateway.errors import (
    ConflictError,
    EffectError,
    NotFoundError,
    OverloadedError,
    PolicyDeniedError,
    SanitizationError,
    StoreError,
)
from gateway.events import Audit
from gateway.identity import Principal, actor
from gateway.missions.approval_log import GATEWAY, ApprovalLog
from gateway.missions.approval_rules import is_expired, require_decidable
from gateway.missions.approval_told import asked_document, ended_document, outcome_of, refusal_of
from gateway.missions.approval_view import ApprovalView
from gateway.missions.expiry import Expiry
from gateway.missions.ports import ApprovalStore, MissionFacts, Tell
from gateway.sanitizer.sanitize import violation
from gateway.sanitizer.text import check_text
from gateway.store.approval_records import ApprovalRecord, ApprovalState, NewApproval
from gateway.subjects.subjects import Name, Subjects

COMMENT_CHARS_MAX: Final = 1_000
WAITING_MAX: Final = 10_000  # steps of the whole gateway that wait for a decision


class Approvals:
    """Performs approval.request, asks where policy wants an approval, and takes the decisions."""

    seconds_max = math.inf  # people take their time; the request's own expiry and the step's timeout end the wait

    def __init__(
        self,
        store: ApprovalStore,
        audit: Audit,
        clock: Clock,
        subjects: Subjects,
        *,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._store = store
        self._subjects = subjects
        self._log = ApprovalLog(audit, store, subjects)
        self._clock = clock
        self._waiting_max = waiting_max
        self._waiters: dict[str, set[asyncio.Event]] = {}  # by approval
        self._expiry = Expiry(clock, self._wake)
        self._asking: set[str] = set()  # missions of which approvals were asked for
        self._calls = Detached()
        self._tell: Tell = lambda _mission_id, _step_id, _kind, _details: None

    def bind(self, tell: Tell) -> None:
        """Say who tells watchers that a step waits."""
        self._tell = tell

    # --- for steps ---

    def repeatable(self, _args: JsonObject) -> bool:
        """Return True: asking again finds the request that is there."""
        return True

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Ask, wait, and return `{approved, approval_id, by, comment, decided_at}`; a no is an error."""
        terms = ApprovalTerms.parse(request.args)
        if not scope.digest:
            raise EffectError("there is nothing that an approval could be bound to", code="effect.approval_unbound")
        question = Question(
            entrypoint="",
            mission_id=scope.mission_id,
            step_id=scope.step_id,
            item=scope.item,
            digest=scope.digest,
            bundle=scope.bundle,
            key=request.key,
            message=terms.message,
            approvers=terms.approvers,
            expires_in_seconds=terms.expires_in_seconds,
            caller=scope.caller,
        )
        try:
            approval, _ = await self._ended(await self._asked(question), question, scope.waiting)
        except OverloadedError as error:
            raise EffectError(error.message, code="effect.overloaded") from error
        except EffectError:
            raise
        except FaultError as error:  # found again by its key, so nothing is in doubt
            raise EffectError("the approval cannot be recorded now", code="effect.unavailable") from error
        return outcome_of(approval)

    # --- for policy: `gateway.consent.People` ---

    async def agreed(self, question: Question, waiting: Callable[[], AbstractAsyncContextManager[None]]) -> Agreement:
        """Return the yes to what policy wants a person to agree to.

        Raises:
            PolicyDeniedError: it was a no, or there was none: a refusal, as policy's own.
            FaultError: it cannot be recorded, or too much waits already (`approval.overloaded`).
        """
        try:
            approval, waited = await self._ended(await self._asked(question), question, waiting)
        except OverloadedError as error:
            raise StoreError(error.message, code="approval.overloaded") from error
        if approval.state is not ApprovalState.APPROVED or approval.decided_at is None:
            raise PolicyDeniedError([refusal_of(approval)])
        by = approval.decided_by or ""
        return Agreement(
            approval_id=approval.id,
            by=by,
            actor=await self._subjects.decider(Name(question.caller.tenant, by)),
            roles=approval.decided_roles,
            decided_at=rfc3339(approval.decided_at),
            waited=waited,
        )

    async def _asked(self, question: Question) -> ApprovalRecord:
        """Return the recorded request: a new one, or the one that an earlier attempt has made.

        A mission that is retried as a whole asks anew: what was denied or has expired is over.

        Raises:
            EffectError: `effect.approval_unbound`, the earlier one was about something else.
        """
        mission = await self._store.get_mission(question.mission_id)
        self._asking.add(mission.id)  # before it is recorded: a step that is cancelled meanwhile hears of nothing
        now = self._clock.now()
        approval = await self._store.create_approval(
            NewApproval(
                id=str(uuid.uuid4()),
                mission_id=question.mission_id,
                step_id=question.step_id,
                item=question.item,
                digest=question.digest,
                bundle=question.bundle,
                entrypoint=question.entrypoint,
                message=question.message,
                approvers=question.approvers,
                requested_at=now,
                expires_at=now + timedelta(seconds=question.expires_in_seconds),
                effect_key=question.key if mission.run == 1 else f"{question.key}/{mission.run}",
            )
        )
        if approval.digest != question.digest:
            message = f"approval {approval.id} is about something else than what is asked for now"
            raise EffectError(message, code="effect.approval_unbound")
        return approval

    async def _ended(
        self, approval: ApprovalRecord, question: Question, waiting: Callable[[], AbstractAsyncContextManager[None]]
    ) -> tuple[ApprovalRecord, bool]:
        """Return the record once it is no longer pending, and the log has both its beginning and its end.

        And whether that was waited for.
        """
        pending = approval.state is ApprovalState.PENDING
        kind = "step" if question.step_id else "mission"
        if pending:
            with self._waiter(approval) as woken:  # before anybody is told, so that no decision is missed
                await self._log.requested(approval, GATEWAY if question.entrypoint else actor(question.caller))
                self._tell(question.mission_id, question.step_id, f"{kind}.waiting", asked_document(approval))
                async with waiting():
                    approval = await self._settled(approval.id, woken)
                    self._tell(question.mission_id, question.step_id, f"{kind}.waited", ended_document(approval))
        await self._log.decided(approval, question.caller.tenant)
        return approval, pending

    async def _settled(self, approval_id: str, woken: asyncio.Event) -> ApprovalRecord:
        """Return the record once it is no longer pending; end it where its time is over."""
        while True:
            approval = await self._store.get_approval(approval_id)
            if approval.state is ApprovalState.PENDING and is_expired(approval, self._clock.now()):
                approval = await self._end(approval, ApprovalState.EXPIRED)
            if approval.state is not ApprovalState.PENDING:
                return approval
            await woken.wait()
            woken.clear()

    async def _end(self, approval: ApprovalRecord, state: ApprovalState) -> ApprovalRecord:
        """End a request that nobody has decided; return how it ended, which may be by a decision after all."""
        try:
            return await self._store.decide_approval(approval.id, state, None, "")
        except ConflictError:
            return await self._store.get_approval(approval.id)

    @contextmanager
    def _waiter(self, approval: ApprovalRecord) -> Iterator[asyncio.Event]:
        if len(self._waiters) >= self._waiting_max and approval.id not in self._waiters:
            message = f"{self._waiting_max} steps wait for an approval already"
            raise OverloadedError(message, code="approval.overloaded")
        woken = asyncio.Event()
        waiters = self._waiters.setdefault(approval.id, set())
        waiters.add(woken)
        self._expiry.watch(approval.id, approval.expires_at)
        try:
            yield woken
        finally:
            waiters.discard(woken)
            if not waiters:
                del self._waiters[approval.id]
                self._expiry.forget(approval.id)

    def _wake(self, approval_id: str) -> None:
        for woken in self._waiters.get(approval_id, ()):
            woken.set()

    # --- for people ---

    async def approved_by(self, mission_id: str, approval_id: str) -> tuple[str, ...] | None:
        """Return who has said yes to another approval of the same mission; None where it has no such approval."""
        try:
            approval = await self._store.get_approval(approval_id)
        except NotFoundError:
            return None
        return await self._store.approved_by(approval_id) if approval.mission_id == mission_id else None

    async def decide(
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
        """Record a decision; it is durable before this returns, and before the step goes on.

        Cancelling the call does not undo a decision that is under way. `seen` is what `approved_by` said when policy
        allowed the call.

        Raises:
            NotFoundError: no such approval of a mission of the principal's tenant.
            SanitizationError: the comment is too long, or holds what a reader cannot see.
            PolicyDeniedError, ConflictError: as `require_decidable`.
        """
        _check_comment(comment)
        approval, mission = await self._own(principal, mission_id, approval_id)
        root = mission if mission.root_id == mission.id else await self._store.get_mission(mission.root_id)
        state = ApprovalState.APPROVED if approve else ApprovalState.DENIED
        try:
            require_decidable(approval, mission, root, principal, digest=digest, now=self._clock.now())
            decided = await self._calls.run(self._record(approval, state, principal, comment, seen))
        except RefusalError as error:
            await self._log.refused(approval, principal, error)
            raise
        return ApprovalView.of(decided, self._clock.now())

    async def list(
        self, principal: Principal, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalView, ...]:
        """Return the approvals of one mission, or of all missions of the principal's tenant, oldest first.

        Raises:
            NotFoundError: no such mission of the principal's tenant.
        """
        if mission_id is not None:
            await self._own_mission(principal, mission_id)
        records = await self._store.list_approvals(principal.tenant, mission_id, pending_only=pending_only)
        now = self._clock.now()
        return tuple(ApprovalView.of(r, now) for r in records if not (pending_only and is_expired(r, now)))

    # --- for the desk ---

    async def withdraw(self, tenant: str, mission_id: str, *, earlier: bool = False) -> None:
        """End what a mission that has ended still asks for; quick where it has asked for nothing.

        With `earlier`, an earlier process may have asked.
        """
        if mission_id not in self._asking and not earlier:
            return
        self._asking.discard(mission_id)
        while pending := await self._store.list_approvals(tenant, mission_id, pending_only=True):  # a page at a time
            for approval in pending:
                late = is_expired(approval, self._clock.now())
                await self._log.requested(approval, GATEWAY)  # no end stands in the log before its request
                ended = await self._end(approval, ApprovalState.EXPIRED if late else ApprovalState.WITHDRAWN)
                await self._log.decided(ended, tenant)
                self._wake(approval.id)

    async def close(self) -> None:
        """Return once every decision under way is recorded."""
        await self._calls.settled()

    # --- small parts ---

    async def _record(
        self,
        approval: ApprovalRecord,
        state: ApprovalState,
        principal: Principal,
        comment: str,
        seen: Collection[str] | None,
    ) -> ApprovalRecord:
        """Bring a decision to the store and to the log, then wake the step.

        The step is woken even where the log fails: it reads the decision, and cannot go on without the log either.
        """
        await self._log.requested(approval, GATEWAY)  # no decision stands in the log before its request
        decided = await self._store.decide_approval(
            approval.id, state, principal.subject, comment, roles=principal.roles, seen=seen
        )
        try:
            await self._log.decided(decided, principal.tenant)
        finally:
            self._wake(approval.id)
        return decided

    async def _own(
        self, principal: Principal, mission_id: str, approval_id: str
    ) -> tuple[ApprovalRecord, MissionFacts]:
        """Return an approval of that mission; what is another tenant's, or another mission's, does not exist."""
        mission = await self._own_mission(principal, mission_id)
        approval = await self._store.get_approval(approval_id)
        if approval.mission_id != mission_id:
            raise NotFoundError("there is no such approval", code="approval.not_found")
        return approval, mission

    async def _own_mission(self, principal: Principal, mission_id: str) -> MissionFacts:
        mission = await self._store.get_mission(mission_id)
        if mission.tenant != principal.tenant:
            raise NotFoundError("there is no such mission", code="mission.not_found")
        return mission


def _check_comment(comment: str) -> None:
    finding = check_text(comment)
    if finding is not None:
        raise SanitizationError([violation("text", finding, "comment")])
    if len(comment) > COMMENT_CHARS_MAX:
        message = f"a comment has at most {COMMENT_CHARS_MAX} characters"
        raise ConflictError(message, code="approval.bad_comment")
