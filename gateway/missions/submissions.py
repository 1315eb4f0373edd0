"""Submissions: from a document to a mission that runs, and from a mission that has run to its next execution.

Order of writes at admission, so that nothing acknowledged can be lost: mission to the store, `mission.admitted` to
the log, a signed checkpoint over it, then the answer. A refusal is under a checkpoint before the caller hears it.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from weakref import WeakValueDictionary

import orjson

from engine.errors import FaultError
from engine.outcome import Stop
from engine.result import OverallStatus
from engine.values import JsonObject
from gateway.admission import Admission
from gateway.commitments import Commitments, Evidence, Hidden
from gateway.deadlines import before
from gateway.decided import note
from gateway.errors import ConflictError, ErasedError
from gateway.events import Audit, EventType, Trail, refusal_document
from gateway.identity import Principal, actor, known_as
from gateway.limits.amounts import Owner
from gateway.limits.quotas import StoredBytes
from gateway.missions.clearance import Clearance
from gateway.missions.definitions import Definitions
from gateway.missions.earlier import RESUMED, RETRIED, Earlier, read_earlier
from gateway.missions.execution import Assignment, Execution, Ground
from gateway.missions.floor import Floor
from gateway.missions.kept import record_kept
from gateway.missions.tree import Trees
from gateway.missions.views import Submission
from gateway.policy.decision import Decision
from gateway.stages import SanitizedMission
from gateway.store.records import MissionRecord, NewMission


class Submissions:
    """Starts missions: new ones, retried ones, and those of an earlier process."""

    def __init__(self, ground: Ground, floor: Floor, admission: Admission, trees: Trees) -> None:
        self._ground = ground
        self._floor = floor
        self._admission = admission
        self._trees = trees
        self._definitions = Definitions(admission)
        self._unadmitted: set[str] = set()  # missions in the store whose admission the log did not take
        self._turns: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        """Return what stage 1 says."""
        return await self._definitions.sanitize(form)

    async def submit(
        self,
        principal: Principal,
        form: bytes | JsonObject,
        request_id: str,
        parent: MissionRecord | None = None,
        taint: frozenset[str] = frozenset(),
        *,
        until: float | None = None,
    ) -> Submission:
        """Admit a mission and start it, as a part of `parent` where there is one, whose data has the labels `taint`.

        What is not admitted `until` then, in time of the loop, is given up; what is, is not.

        Raises:
            RefusalError: malformed, refused by sanitizer or policy, or a request id used for another mission.
            FaultError: a stage could not answer; nothing was started. The same request id may be tried again.
        """
        evidence: Evidence = {
            "tenant": principal.tenant,
            "request_id": Hidden(request_id),
            "roles": list(principal.roles),
        }
        if parent is not None:
            evidence["parent"] = parent.id
        if isinstance(form, bytes):
            evidence["document"] = Hidden(form)
        known = known_as(principal)  # a mission that is refused has no key of its own
        async with _recorded(self._ground.audit, known.pseudonym, "mission", evidence, known.commitments):
            async with before(until):
                sanitized = await self._sanitize(form, parent, taint)  # (1)
            evidence["mission"] = Hidden(sanitized.digest)
            # Requests of one id take turns: the second hears of the first one's mission once its admission is durable.
            turn = self._turn(principal.tenant, principal.subject, request_id)
            async with before(until):
                await turn.acquire()
            try:
                return await self._admit(principal, sanitized, request_id, parent, taint, evidence, until)
            finally:
                turn.release()

    async def _admit(
        self,
        principal: Principal,
        sanitized: SanitizedMission,
        request_id: str,
        parent: MissionRecord | None,
        taint: frozenset[str],
        evidence: Evidence,
        until: float | None,
    ) -> Submission:
        known = await self._ground.store.find_request(principal.tenant, principal.subject, request_id)
        if known is not None and known.request_digest != sanitized.digest:
            raise ConflictError("this request_id was used for another mission", code="mission.request_id_reused")
        if known is not None and known.id not in self._unadmitted:
            return Submission(mission_id=known.id, digest=known.mission_digest, created=False, decision=None)
        steps, owner = len(sanitized.plan.mission.steps), _owner_of(principal) if parent is None else None
        stored = await self._stored(owner)
        with self._floor.place(owner, steps, stored=stored, besides=len(self._unadmitted)):
            async with before(until):
                decision = await self._ask(sanitized, principal, evidence)  # (2), (3)
            record = known or await self._create(principal, sanitized, request_id, parent, taint)
            trail = Trail(self._ground.audit, actor(principal), await self._commitments(record.id))
            details = {**evidence, "steps": steps}
            # A fault here leaves a mission that is Validated and was never acknowledged: the same request id starts it
            # later, or the next start of the gateway does.
            await self._ground.audit.durable(trail.record(EventType.MISSION_ADMITTED, record.id, details))
            self._unadmitted.discard(record.id)
            await self._start(record, sanitized, principal, decision, trail, Earlier())
        return Submission(mission_id=record.id, digest=sanitized.digest, created=True, decision=decision)

    async def retry(self, mission_id: str, by: str, *, repeat_in_doubt: bool) -> None:
        """Begin an ended mission anew, keeping what it has completed; it is decided again, for who submitted it.

        With `repeat_in_doubt`, effects of which nobody knows whether they took place are performed again.

        Raises:
            ConflictError: `mission.not_ended`, `mission.succeeded`.
            ErasedError: `mission.erased`.
            RefusalError: sanitizer or policy now refuse it, or it cannot be read; it stays as it ended.
        """
        async with self._turn(mission_id):
            store = self._ground.store
            record = await store.get_mission(mission_id)
            if record.erased_at is not None:
                raise ErasedError("what the mission held was erased: there is nothing to begin anew")
            if record.overall_status is OverallStatus.SUCCESS:
                raise ConflictError("the mission has succeeded: there is nothing to retry", code="mission.succeeded")
            if record.ended_at is None:
                raise ConflictError(
                    "the mission has not ended; only one that has can be retried", code="mission.not_ended"
                )
            await self._floor.settled(mission_id)  # the store has its end a moment before its last event
            evidence: Evidence = {
                "tenant": record.tenant,
                "run": record.run + 1,
                "repeat_in_doubt": repeat_in_doubt,
            }
            owner = (record.tenant, record.submitter) if record.parent_id is None else None
            with self._floor.place(owner, record.steps_total, stored=await self._stored(owner)):
                commitments = await self._commitments(mission_id)
                async with _recorded(self._ground.audit, by, mission_id, evidence, commitments):
                    sanitized, caller, decision = await self._again(record, evidence)
                    earlier = await read_earlier(store, mission_id, RETRIED)
                    trail = Trail(self._ground.audit, actor(caller), commitments)
                    seq = trail.record(EventType.MISSION_RETRIED, mission_id, evidence, actor=by)
                    await self._ground.audit.durable(seq)
                if repeat_in_doubt:
                    await store.forget_doubt(mission_id)
                record = await store.reopen_mission(mission_id)
                await self._start(record, sanitized, caller, decision, trail, earlier)

    async def resume(self, record: MissionRecord, stop: Stop | None) -> None:
        """Go on with a mission of an earlier process, or end it where there is a `stop`; it is decided again.

        Raises:
            RefusalError: sanitizer or policy now refuse it, or what is recorded of it is damaged.
        """
        evidence: Evidence = {"tenant": record.tenant, "state": record.state.value}
        if record.parent_id is not None:  # its admission may be lost with the last moments of the process
            evidence["parent"] = record.parent_id
        sanitized, caller, decision = await self._again(record, evidence)
        earlier = await read_earlier(self._ground.store, record.id, RESUMED, paused=record.paused)
        trail = Trail(self._ground.audit, actor(caller), await self._commitments(record.id))
        earlier = replace(earlier, stopped=earlier.stopped or stop)
        seq = trail.record(EventType.MISSION_RESUMED, record.id, {**evidence, "kept": len(earlier.results)})
        seq = max(seq, await record_kept(trail, self._ground.store, record.id, earlier.results))
        await self._ground.audit.durable(seq)
        await self._start(record, sanitized, caller, decision, trail, earlier)

    async def _again(self, record: MissionRecord, evidence: Evidence) -> tuple[SanitizedMission, Principal, Decision]:
        """Take a recorded mission through stages 1 to 3 once more, on behalf of who submitted it."""
        document = await self._ground.store.get_document(record.id)
        parent = None if record.parent_id is None else await self._ground.store.get_mission(record.parent_id)
        sanitized = await self._sanitize(document, parent, record.taint)  # (1)
        evidence["mission"] = Hidden(sanitized.digest)
        caller = await self._ground.subjects.known(_submitter_of(record))
        return sanitized, caller, await self._ask(sanitized, caller, evidence, again=True)  # (2), (3)

    async def _sanitize(
        self, form: bytes | JsonObject, parent: MissionRecord | None, taint: frozenset[str]
    ) -> SanitizedMission:
        """Stage 1, with what a part of a mission has of that one: the labels of its data, and its security level."""
        sanitized = await self.sanitize(form)
        return sanitized if parent is None else self._admission.as_part(sanitized, taint, await self._level_of(parent))

    async def _level_of(self, record: MissionRecord) -> str:
        """Return the security level of a recorded mission, as it is under the rules of now."""
        above = None if record.parent_id is None else await self._ground.store.get_mission(record.parent_id)
        document = await self._ground.store.get_document(record.id)
        return (await self._sanitize(document, above, frozenset())).level.name

    async def _ask(
        self,
        sanitized: SanitizedMission,
        principal: Principal,
        evidence: Evidence,
        *,
        again: bool = False,
    ) -> Decision:
        decision = await self._admission.ask(sanitized, principal, evidence, again=again)
        note(decision, evidence)
        decision.require()
        self._admission.observe(sanitized, principal)
        return decision

    async def _create(
        self,
        principal: Principal,
        sanitized: SanitizedMission,
        request_id: str,
        parent: MissionRecord | None,
        taint: frozenset[str],
    ) -> MissionRecord:
        """Bring an allowed mission to the store."""
        mission = sanitized.plan.mission
        new = NewMission(
            id=str(uuid.uuid4()),
            tenant=principal.tenant,
            submitter=principal.subject,
            request_id=request_id,
            request_digest=sanitized.digest,
            mission_digest=sanitized.digest,
            name=mission.name,
            document=orjson.dumps(mission.document()),  # in the client's order, as its modules are told
            steps_total=len(mission.steps),
            roles=principal.roles,
            anonymous=principal.anonymous,
            taint=taint,
            parent_id=parent.id if parent is not None else None,
            root_id=parent.root_id if parent is not None else None,
            depth=parent.depth + 1 if parent is not None else 0,
        )
        if parent is not None:
            self._check_key(parent, mission.config.concurrency_key)
        async with self._trees.room(parent, len(mission.steps)) if parent is not None else nullcontext():
            creation = await self._ground.store.create_mission(new)
        if not creation.created:
            raise FaultError("another writer used this request_id meanwhile", code="mission.request_id_race")
        self._unadmitted.add(creation.mission.id)
        return creation.mission

    def _check_key(self, parent: MissionRecord, key: str | None) -> None:
        """Refuse a sub-mission that would wait for a mission that waits for it."""
        above = self._floor.of(parent.id)
        while above is not None and key is not None:
            if above.config.concurrency_key == key:
                message = f"mission {above.mission_id}, of which this one is a part, holds its concurrency key"
                raise ConflictError(message, code="mission.concurrency_key_held")
            above = self._floor.of(above.parent_id) if above.parent_id is not None else None

    async def _start(
        self,
        record: MissionRecord,
        sanitized: SanitizedMission,
        caller: Principal,
        decision: Decision,
        trail: Trail,
        earlier: Earlier,
    ) -> None:
        """Set the mission going; its admission, or what stands for it, is durable.

        A part of a mission that is paused begins paused, and goes on with it.
        """
        if decision.labels != record.decision_labels:
            await self._ground.store.set_decision_labels(record.id, decision.labels)
        clearance = Clearance(
            consent=self._ground.consent,
            store=self._ground.store,
            admission=self._admission,
            mission_id=record.id,
            sanitized=sanitized,
            caller=caller,
            decision=decision,
            trail=trail,
        )
        assignment = Assignment(
            mission_id=record.id,
            parent_id=record.parent_id,
            sanitized=sanitized,
            caller=caller,
            decision=decision,
            trail=trail,
            clearance=clearance if decision.require_approval is not None else None,
        )
        execution = Execution(self._ground, assignment, earlier)
        above = self._floor.of(record.parent_id) if record.parent_id is not None else None
        held = above is not None and above.paused and execution.pause()
        self._floor.start(execution)
        if above is not None and held:
            trail.record(EventType.MISSION_PAUSED, record.id, {"with": above.mission_id})
            await self._ground.store.set_paused(record.id, paused=True)

    async def _stored(self, owner: Owner | None) -> StoredBytes:
        """Return what is kept for a principal and its tenant, the files of what runs included."""
        if owner is None:
            return StoredBytes()
        kept = await self._ground.store.stored_bytes(owner)
        of_tenant, of_owner = self._floor.files_bytes(owner)
        return StoredBytes(tenant=kept.tenant + of_tenant, principal=kept.principal + of_owner)

    async def _commitments(self, mission_id: str) -> Commitments:
        """Return what commits to what is recorded of a mission."""
        return Commitments(await self._ground.store.mission_key(mission_id))

    def _turn(self, *name: str) -> asyncio.Lock:
        return self._turns.setdefault(name, asyncio.Lock())

    def turn(self, mission_id: str) -> asyncio.Lock:
        """Return what a retry of a mission holds."""
        return self._turn(mission_id)


@asynccontextmanager
async def _recorded(
    audit: Audit, by: str, target: str, evidence: Evidence, commitments: Commitments
) -> AsyncIterator[None]:
    """Record a refusal of the block, or its fault, under a checkpoint before the caller hears it."""
    try:
        yield
    except Exception as error:
        details = commitments.commit({**evidence, **refusal_document(error)})
        await audit.durable(audit.append(EventType.MISSION_REFUSED, actor=by, target=target, details=details))
        raise


def _owner_of(principal: Principal) -> Owner:
    return principal.tenant, principal.subject


def _submitter_of(record: MissionRecord) -> Principal:
    """Return the principal on whose behalf a recorded mission runs, as it was when it submitted it."""
    return Principal(subject=record.submitter, tenant=record.tenant, roles=record.roles, anonymous=record.anonymous)
