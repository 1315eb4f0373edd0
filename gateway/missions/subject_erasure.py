"""Erases people: what they have submitted, what was decided for them, and who they were for the log.

Order: (1) the intent to the store, (2) `subject.erased` to the log under a checkpoint, (3) the tag goes, so that
whoever has this name and comes again is somebody new, (4) missions and recorded decisions, (5) the name where others
keep it, then name and key, (6) `subject.erasure_ended`, and the row. A gateway that is killed in between goes on at its
next start; where that was before (5) had ended, it tells the log again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import ConflictError, NotFoundError
from gateway.events import Audit, EventType
from gateway.missions.erasure import Erased
from gateway.store.subject_store import SubjectStore
from gateway.store.subjects import SubjectRecord
from gateway.subjects.subjects import Name, Subjects

_GATEWAY: Final = "gateway"
_RUNNING: Final = frozenset({"subject.missions_running", "mission.not_ended"})  # begun anew meanwhile


class MissionEraser(Protocol):
    """Erases missions; `gateway.missions.desk.Desk` does."""

    async def erase_own(self, by: str, mission_id: str) -> Erased:
        """Erase an ended mission with all its parts; one that is erased already is no error."""


class DecisionEraser(Protocol):
    """Erases recorded decisions; `gateway.decisions.erasing.DecisionErasure` does."""

    async def erase_subject(self, tenant: str, subject: str) -> int:
        """Delete what is recorded of what a person asked for, and return how many decisions that were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedSubject:
    """What an erasure has come to."""

    pseudonym: str  # nobody's from now on
    missions: int  # without their parts
    decisions: int  # recorded ones that were deleted


class SubjectErasure:
    """Erases, one person at a time."""

    def __init__(
        self,
        subjects: Subjects,
        store: SubjectStore,
        audit: Audit,
        missions: MissionEraser,
        decisions: DecisionEraser,
        settle: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take the ports; `settle` tells the log at once what is counted of an actor and has not been told."""
        self._subjects = subjects
        self._store = store
        self._audit = audit
        self._missions = missions
        self._decisions = decisions
        self._settle = settle
        self._turn = asyncio.Lock()

    async def erase(self, name: Name, by: str, reason: str) -> ErasedSubject:
        """Erase a person; `by` is who has asked for it, as the log has them.

        Raises:
            NotFoundError: `subject.not_found`, the log speaks of nobody of this name.
            ConflictError: `subject.missions_running`, a mission of theirs has not ended.
            FaultError: store, log or disk fail; the next call for anybody, or the next start, goes on.
        """
        async with self._turn:
            pseudonym = await self._subjects.find(name)
            mine = [done for whose, done in await self._go_on() if whose == name]
            if mine and pseudonym in {None, mine[-1].pseudonym}:
                return mine[-1]
            if pseudonym is None:
                raise NotFoundError("the log speaks of nobody of this name", code="subject.not_found")
            begun_now = await self._store.begin_erasure(name.tenant, name.subject, pseudonym, by, reason)  # (1)
            return await self._finish(begun_now)

    async def resume(self) -> int:
        """Finish what an earlier process has begun, and return how many people that were.

        Raises:
            FaultError: as `erase`.
        """
        async with self._turn:
            return len(await self._go_on())

    async def _go_on(self) -> list[tuple[Name | None, ErasedSubject]]:
        """Finish what has begun and waits for nothing; a row that is emptied does not know any more whose it was."""
        done: list[tuple[Name | None, ErasedSubject]] = []
        for record in await self._store.erasing():
            name = None if record.emptied else self._subjects.name_in(record)
            try:
                done.append((name, await self._finish(record)))
            except ConflictError as error:
                if error.code not in _RUNNING:
                    raise
        return done

    async def _finish(self, record: SubjectRecord) -> ErasedSubject:
        """Do what is left for a person of whom the store says that it is to be done."""
        pseudonym, missions, decisions = record.pseudonym, 0, 0
        if not record.emptied:
            missions, decisions = await self._empty(record)
        await self._store.scrub()
        await self._record(EventType.SUBJECT_ERASURE_ENDED, _GATEWAY, pseudonym, {"decisions": decisions})
        await self._store.finish_erasure(pseudonym)  # (6)
        return ErasedSubject(pseudonym=pseudonym, missions=missions, decisions=decisions)

    async def _empty(self, record: SubjectRecord) -> tuple[int, int]:
        """Erase all but the row, and return how many missions and decisions that were."""
        name, pseudonym, by = self._subjects.name_in(record), record.pseudonym, record.erasing
        found = await self._store.missions(name.tenant, name.subject, upto=record.upto)
        if found.running:
            message = "a mission of this person was begun anew meanwhile; what comes after its end goes on"
            raise ConflictError(message, code="subject.missions_running")
        missions = found.ended
        details: dict[str, str | int] = {"missions": len(missions)}
        if record.reason:
            details["reason"] = record.reason
        self._settle(pseudonym)
        await self._record(EventType.SUBJECT_ERASED, by, pseudonym, details)  # (2)
        await self._store.detach(pseudonym)  # (3)
        self._subjects.forget()
        self._settle(pseudonym)  # calls that have come meanwhile
        for mission_id in missions:  # (4)
            await self._missions.erase_own(by, mission_id)
        decisions = await self._decisions.erase_subject(name.tenant, name.subject)
        await self._store.forget_name(name.tenant, name.subject, pseudonym)  # (5)
        return len(missions), decisions

    async def _record(self, event: EventType, by: str, pseudonym: str, details: dict[str, str | int]) -> None:
        await self._audit.durable(self._audit.append(event, actor=by, target=pseudonym, details={**details}))
