"""The audit log as a client sees it: events as they stand, proofs about them, and what a replay came to."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from gateway.client.documented import Documented
from gateway.client.wire import word
from gateway.v1 import audit_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """What is asked for; what is left out selects all. Without `whole_log`, it is events of the caller's tenant."""

    mission_id: str = ""
    principal: str = ""  # TENANT/SUBJECT, anonymous, gateway, audit
    event_types: tuple[str, ...] = ()  # step.allowed, or step.*
    since: datetime | None = None
    until: datetime | None = None
    allow: bool | None = None
    decision_id: str = ""
    whole_log: bool = False
    after_seq: int | None = None
    limit: int = 0
    follow: bool = False
    proof_size: int = 0  # give each event its proof in the tree of so many, and end before that seq


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One line of the log."""

    seq: int
    line: bytes  # without LF, byte for byte
    hashes: tuple[bytes, ...] = field(default=(), repr=False)  # its audit path, where the query has a `proof_size`


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """An event, and the proof that it is in the tree of a checkpoint."""

    event: LoggedEvent
    size: int
    hashes: tuple[bytes, ...]  # RFC 6962, lowest level first
    checkpoint: bytes  # of exactly `size`; empty where there is none
    tlog_proof: bytes  # empty likewise

    @classmethod
    def of(cls, message: audit_pb2.ProveInclusionResponse) -> Self:
        """Read the message."""
        return cls(
            event=LoggedEvent(message.index, message.line),
            size=message.size,
            hashes=tuple(message.hashes),
            checkpoint=message.checkpoint,
            tlog_proof=message.tlog_proof,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """The proof that the log of `old_size` events is the beginning of that of `new_size`."""

    old_size: int
    new_size: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes  # of exactly `new_size`; empty where there is none

    @classmethod
    def of(cls, message: audit_pb2.ProveConsistencyResponse) -> Self:
        """Read the message."""
        return cls(
            old_size=message.old_size,
            new_size=message.new_size,
            hashes=tuple(message.hashes),
            checkpoint=message.checkpoint,
        )


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The newest signed notes of a log."""

    checkpoint: bytes
    witnessed: bytes  # empty where no quorum of witnesses has cosigned one


class ReplayVerdict(StrEnum):
    """Whether a step came to what the log has of it."""

    SAME = "same"
    DIFFERS = "differs"
    NOT_REPRODUCIBLE = "not_reproducible"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReplay(Documented):
    """What came of a step that was run again from its records."""

    step_id: str
    verdict: ReplayVerdict
    reason: str | None  # of a difference
    message: str
    recorded: str
    replayed: str
    item: int | None  # of a fan-out
    rounds: int

    @classmethod
    def of(cls, message: audit_pb2.StepReplay) -> Self:
        """Read the message."""
        return cls(
            step_id=message.step_id,
            verdict=word(ReplayVerdict, audit_pb2.ReplayVerdict.Name(message.verdict)),
            reason=message.reason or None,
            message=message.message,
            recorded=message.recorded,
            replayed=message.replayed,
            item=message.item if message.HasField("item") else None,
            rounds=message.rounds,
        )
