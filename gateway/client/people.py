"""People in the log: who stands behind a pseudonym, and what was erased."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from gateway.client.documented import Documented
from gateway.client.wire import moment
from gateway.v1 import privacy_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure(Documented):
    """What an erasure of a mission came to."""

    mission_id: str
    erased_at: datetime
    missions: int  # its parts included
    decisions: int  # recorded ones

    @classmethod
    def of(cls, message: privacy_pb2.EraseMissionResponse) -> Self:
        """Read the message."""
        return cls(
            mission_id=message.mission_id,
            erased_at=moment(message.erased_at),
            missions=message.missions,
            decisions=message.decisions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectErasure(Documented):
    """What an erasure of a person came to."""

    pseudonym: str  # nobody stands behind it any more
    missions: int
    decisions: int

    @classmethod
    def of(cls, message: privacy_pb2.EraseSubjectResponse) -> Self:
        """Read the message."""
        return cls(pseudonym=message.pseudonym, missions=message.missions, decisions=message.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Documented):
    """Who stands behind a pseudonym of the log."""

    pseudonym: str
    tenant: str
    subject: str

    @classmethod
    def of(cls, message: privacy_pb2.LookupSubjectResponse) -> Self:
        """Read the message."""
        return cls(pseudonym=message.pseudonym, tenant=message.name.tenant, subject=message.name.subject)
