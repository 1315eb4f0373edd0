"""The part of the store that knows who stands behind a pseudonym: what is asked of it, and what it promises."""

from engine.clock import Clock
from gateway.store import subject_missions, subjects
from gateway.store.connection import truncate_log
from gateway.store.reader import Reader
from gateway.store.subject_missions import MissionsOfSubject
from gateway.store.subjects import SubjectRecord
from gateway.store.writer import GroupCommitWriter


class SubjectStore:
    """One gateway's subjects. Every method may raise StoreError; what was not committed was not done."""

    def __init__(self, writer: GroupCommitWriter, reader: Reader, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    async def create(self, tag: bytes, new: SubjectRecord) -> SubjectRecord:
        """Record a subject, or return the one that has this tag."""
        now = self._clock.now()
        return await self._writer.submit(lambda c: subjects.create_subject(c, tag, new, now))

    async def by_tag(self, tag: bytes) -> SubjectRecord | None:
        """Return the subject with this tag, if there is one."""
        return await self._reader.run(lambda c: subjects.subject_by_tag(c, tag))

    async def by_pseudonym(self, pseudonym: str) -> SubjectRecord:
        """Return the subject with this pseudonym.

        Raises:
            NotFoundError: `subject.not_found`, it means nobody.
        """
        return await self._reader.run(lambda c: subjects.subject_by_pseudonym(c, pseudonym))

    async def begin_erasure(self, tenant: str, subject: str, pseudonym: str, by: str, reason: str) -> SubjectRecord:
        """Record that somebody wants a subject erased: from now on it will be, whatever happens to this process.

        Raises:
            NotFoundError: `subject.not_found`.
            ConflictError: `subject.missions_running`, a mission of theirs has not ended.
        """
        return await self._writer.submit(lambda c: subjects.begin_erasure(c, tenant, subject, pseudonym, by, reason))

    async def detach(self, pseudonym: str) -> None:
        """Let a subject that is to be erased be found by its name no longer; the name may come again, as another."""
        await self._writer.submit(lambda c: subjects.detach(c, pseudonym))

    async def finish_erasure(self, pseudonym: str) -> None:
        """Delete a subject whose name is forgotten; one that is gone is no error."""
        await self._writer.submit(lambda c: subjects.finish_erasure(c, pseudonym))

    async def scrub(self) -> None:
        """Leave nothing of what was deleted in the write-ahead log.

        Raises:
            StoreError: `store.busy`.
        """
        await self._writer.between(truncate_log)

    async def erasing(self) -> tuple[SubjectRecord, ...]:
        """Return the subjects whose erasure has begun, and not ended."""
        return await self._reader.run(subjects.erasing_subjects)

    async def missions(self, tenant: str, subject: str, *, upto: int | None = None) -> MissionsOfSubject:
        """Return the trees of missions that a person has submitted, up to a `SubjectRecord.upto` or to now."""
        return await self._reader.run(lambda c: subject_missions.missions_of(c, tenant, subject, upto))

    async def forget_name(self, tenant: str, subject: str, pseudonym: str) -> None:
        """Put the pseudonym in the place of a person's name, and empty the row that has name and key."""
        await self._writer.submit(lambda c: subject_missions.forget_name(c, tenant, subject, pseudonym))
