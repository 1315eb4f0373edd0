"""Who is who: the pseudonym of each caller, durable before an event speaks of it, and whose a pseudonym is."""

import base64
import os
import re
from dataclasses import dataclass, replace
from typing import Final

from engine.lru import LruCache
from gateway.commitments import Commitments
from gateway.errors import NotFoundError
from gateway.identity import KnownAs, Principal
from gateway.store.subject_store import SubjectStore
from gateway.store.subjects import SubjectRecord
from gateway.subjects.keys import SubjectKeys

ANONYMOUS_NAME: Final = "anonymous"
PSEUDONYM: Final = re.compile(r"s-[a-z2-7]{26}")
CACHED_MAX: Final = 16_384  # people
_RANDOM_BYTES: Final = 16  # 128 bits: two people have the same pseudonym never


@dataclass(frozen=True, slots=True)
class Name:
    """A person as the configuration and policy have it."""

    tenant: str
    subject: str


class Subjects:
    """The people of one gateway."""

    def __init__(self, store: SubjectStore, keys: SubjectKeys, *, cached_max: int = CACHED_MAX) -> None:
        self._store = store
        self._keys = keys
        self._cache: LruCache[tuple[str, str, bool], KnownAs] = LruCache(cached_max, cached_max)
        self._forgotten = 0  # how often; what was being looked up then may be of before

    async def known(self, principal: Principal) -> Principal:
        """Return a principal with the name that the log has for it; a new one has it in the store before.

        Raises:
            StoreError: the store does not answer; nothing may be done on this caller's behalf.
        """
        who = (principal.tenant, principal.subject, principal.anonymous)
        found = self._cache.get(who)
        if found is None:
            before = self._forgotten
            found = self._opened(await self._record(principal))
            if before == self._forgotten:
                self._cache.put(who, found, 1)
        return replace(principal, known_as=found)

    async def find(self, name: Name) -> str | None:
        """Return the pseudonym of a person that the log may speak of; None where it never has, or does no longer.

        Raises:
            StoreError: the store does not answer.
        """
        record = await self._store.by_tag(self._keys.tag(name.tenant, name.subject))
        return None if record is None else record.pseudonym

    async def decider(self, name: Name) -> str:
        """Return the pseudonym of who has decided something, whose name may be gone and that in its place.

        Raises:
            StoreError: the store does not answer.
        """
        if (found := await self.find(name)) is not None:
            return found
        if PSEUDONYM.fullmatch(name.subject):
            return name.subject
        known = (await self.known(Principal(subject=name.subject, tenant=name.tenant))).known_as
        return known.pseudonym if known is not None else ""

    async def name_of(self, pseudonym: str) -> Name:
        """Return who a pseudonym is.

        Raises:
            NotFoundError: `subject.not_found`, nobody.
            StoreError: the store does not answer, or `subject.unreadable`.
        """
        record = await self._store.by_pseudonym(pseudonym)
        if record.emptied:
            raise NotFoundError("this pseudonym is nobody's any more", code="subject.not_found")
        return self.name_in(record)

    def name_in(self, record: SubjectRecord) -> Name:
        """Return who a row is about.

        Raises:
            StoreError: `subject.unreadable`.
        """
        return Name(*self._keys.open_name(record.pseudonym, record.sealed))

    def forget(self) -> None:
        """Look everybody up anew: somebody may be another one for the log by now."""
        self._forgotten += 1
        self._cache.clear()

    async def _record(self, principal: Principal) -> SubjectRecord:
        keys = self._keys
        if principal.anonymous:
            tag, pseudonym = keys.anonymous_tag(), ANONYMOUS_NAME
        else:
            tag, pseudonym = keys.tag(principal.tenant, principal.subject), new_pseudonym()
        if (known := await self._store.by_tag(tag)) is not None:
            return known
        sealed = keys.seal_name(pseudonym, principal.tenant, principal.subject)
        return await self._store.create(
            tag, SubjectRecord(pseudonym=pseudonym, sealed=sealed, key=keys.new_key(pseudonym))
        )

    def _opened(self, record: SubjectRecord) -> KnownAs:
        return KnownAs(record.pseudonym, Commitments(self._keys.open_key(record.pseudonym, record.key)))


def new_pseudonym() -> str:
    """Return a name that says nothing: `s-` and 26 characters of base32, 128 random bits."""
    return "s-" + base64.b32encode(os.urandom(_RANDOM_BYTES)).decode().rstrip("=").lower()
