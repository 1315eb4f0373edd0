"""The audit log as the audit service reads it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.audit.log import AuditLog
from engine.values import JsonObject
from gateway.events import EventType
from gateway.identity import Principal, actor
from gateway.subjects.subjects import ANONYMOUS_NAME, PSEUDONYM, Name, Subjects

_SERVICE: Final = "gateway.v1.AuditService"
_NAMELESS: Final = frozenset({ANONYMOUS_NAME, "audit", "gateway"})  # actors behind whom nobody is
NOBODY: Final = "nobody"  # the actor of no event


@dataclass(frozen=True, slots=True)
class LogReader:
    """The audit log as the audit service reads it."""

    log: AuditLog
    keys: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of events that the newest signed checkpoint covers."""
        return self.log.size

    @property
    def first(self) -> int:
        """Seq of the oldest line that is still here."""
        return self.log.first

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""
        return self.log.checkpoint()

    def witnessed(self) -> bytes | None:
        """Return the newest checkpoint that a quorum of witnesses has cosigned."""
        return self.log.witnessed()

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield covered lines without LF."""
        return self.log.read(start, count)

    def prove_inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        """Return the audit path of an event in the tree of `size` covered events."""
        return self.log.prove_inclusion(seq, size)

    def prove_consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the consistency proof between two covered sizes."""
        return self.log.prove_consistency(old, new)

    def verifier_keys(self) -> tuple[str, ...]:
        """Return the C2SP verifier keys."""
        return self.keys

    def record_end(self, principal: Principal, method: str, details: JsonObject) -> None:
        """Let the log say how far a read has got that began long ago."""
        told = {"tenant": principal.tenant, **details}
        self.log.append(EventType.LOG_READ, actor=actor(principal), target=f"{_SERVICE}/{method}", details=told)


@dataclass(frozen=True, slots=True)
class SubjectNames:
    """Events name people by pseudonyms, which the store ties to `TENANT/SUBJECT`."""

    subjects: Subjects

    async def actor_named(self, tenant: str, text: str) -> str:
        """Return the actor that somebody of `tenant` calls so: a name of that tenant's, or an actor as it stands.

        Anything else is NOBODY, people of other tenants and who was erased as well: what is returned is logged.
        """
        if text in _NAMELESS or PSEUDONYM.fullmatch(text):
            return text
        of, slash, subject = text.partition("/")
        if not slash or of != tenant:
            return NOBODY
        return await self.subjects.find(Name(tenant, subject)) or NOBODY
