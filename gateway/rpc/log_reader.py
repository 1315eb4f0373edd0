"""The audit log as the audit service reads it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.audit.log import AuditLog
from engine.values import JsonObject
from gateway.events import EventType
from gateway.identity import Principal, actor
from gateway.subjects.subjects import Name, Subjects

_SERVICE: Final = "gateway.v1.AuditService"


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

    async def actor_named(self, text: str) -> str:
        """Return the pseudonym of whoever is called so; a pseudonym, and what names nobody, stays as it is."""
        tenant, slash, subject = text.partition("/")
        if not slash:
            return text
        return await self.subjects.find(Name(tenant, subject)) or text
