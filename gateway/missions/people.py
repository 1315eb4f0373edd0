"""The desk for people: who stands behind a pseudonym of the log, and that nobody does any more.

Each answer is an event before it is given. People of another tenant are not there.
"""

from dataclasses import dataclass
from typing import Final

from gateway.detached import Detached
from gateway.errors import NotFoundError
from gateway.events import Audit, EventType
from gateway.identity import Principal, actor
from gateway.missions.subject_erasure import ErasedSubject, SubjectErasure
from gateway.subjects.subjects import Name, Subjects

_NOBODY: Final = "nobody"  # as a target


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSubject:
    """A person, and how the log names them."""

    pseudonym: str
    name: Name


class PeopleDesk:
    """Implements `gateway.rpc.ports.PeopleDesk`."""

    def __init__(self, subjects: Subjects, erasure: SubjectErasure, audit: Audit) -> None:
        self._subjects = subjects
        self._erasure = erasure
        self._audit = audit
        self._calls = Detached()

    async def erase(self, principal: Principal, tenant: str, subject: str, reason: str) -> ErasedSubject:
        """Erase a person of the principal's tenant; see `SubjectErasure.erase`. Cancelling the call undoes nothing.

        Raises:
            NotFoundError: `subject.not_found`.
            ConflictError: `subject.missions_running`.
        """
        if (tenant or principal.tenant) != principal.tenant:
            raise _not_found()
        name = Name(principal.tenant, subject)
        return await self._calls.run(self._erasure.erase(name, actor(principal), reason))

    async def by_pseudonym(self, principal: Principal, pseudonym: str) -> FoundSubject:
        """Return who a pseudonym is.

        Raises:
            NotFoundError: `subject.not_found`, nobody, or somebody of another tenant.
        """
        try:
            name = await self._subjects.name_of(pseudonym)
        except NotFoundError:
            name = None
        if name is None or name.tenant != principal.tenant:
            await self._told(principal, _NOBODY, "pseudonym")
            raise _not_found()
        await self._told(principal, pseudonym, "pseudonym")
        return FoundSubject(pseudonym=pseudonym, name=name)

    async def by_name(self, principal: Principal, tenant: str, subject: str) -> FoundSubject:
        """Return the pseudonym of somebody.

        Raises:
            NotFoundError: `subject.not_found`, the log speaks of nobody of this name, or of another tenant.
        """
        name = Name(tenant or principal.tenant, subject)
        pseudonym = await self._subjects.find(name) if name.tenant == principal.tenant else None
        await self._told(principal, pseudonym or _NOBODY, "name")
        if pseudonym is None:
            raise _not_found()
        return FoundSubject(pseudonym=pseudonym, name=name)

    async def resume(self) -> int:
        """Finish erasures that an earlier process has begun; before anything is asked."""
        return await self._erasure.resume()

    async def close(self) -> None:
        """Return once what was begun has ended."""
        await self._calls.settled()

    async def _told(self, principal: Principal, target: str, asked: str) -> None:
        seq = self._audit.append(
            EventType.SUBJECT_LOOKED_UP, actor=actor(principal), target=target, details={"asked": asked}
        )
        await self._audit.durable(seq)


def _not_found() -> NotFoundError:
    return NotFoundError("there is nobody of this name or pseudonym", code="subject.not_found")
