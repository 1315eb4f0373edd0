"""What anchoring needs of the log, of a witness and of a place: the ports between it and the rest."""

from dataclasses import dataclass
from typing import Protocol

from engine.audit.checkpoint import Checkpoint
from engine.values import JsonObject


class Covered(Protocol):
    """A signed checkpoint."""

    @property
    def size(self) -> int:
        """Number of events that it covers."""

    @property
    def note(self) -> bytes:
        """The C2SP signed note."""


class AnchoredLog(Protocol):
    """The log; `engine.audit.log.AuditLog` is one. What is no coroutine may block on the disk, but for `size`."""

    @property
    def size(self) -> int:
        """Number of events that the newest signed checkpoint covers."""

    def opens(self, note: bytes) -> Checkpoint:
        """Return the checkpoint of a note that a key of this log has signed; CheckpointError for any other."""

    def witnessed(self) -> bytes | None:
        """Return the newest checkpoint that a quorum of witnesses has cosigned."""

    async def covered(self, size: int) -> Covered:
        """Return the newest signed checkpoint once it covers more than `size` events."""

    def prove_consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the RFC 6962 proof that the tree of `old` events begins that of `new`."""

    def accept_witnessed(self, size: int, note: bytes) -> None:
        """Take a checkpoint that a quorum has cosigned: persist it, wake who waits for it."""

    def refuse_witnessed(self, reason: str) -> None:
        """Take no such checkpoint any more, and refuse who waits for one: somebody outside knows another history."""

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        """Record an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an HTTP server answered."""

    status: int
    content_type: str
    body: bytes  # bounded by who has read it


class WitnessPort(Protocol):
    """A way to a witness."""

    async def add_checkpoint(self, body: bytes) -> Answer:
        """POST to `add-checkpoint`.

        Raises:
            UnreachableError: there is no answer.
        """


class Place(Protocol):
    """A second place for checkpoints."""

    @property
    def name(self) -> str:
        """What messages, events and health call it."""

    async def read(self) -> bytes | None:
        """Return the note that is there; None: there is none, or the place does not say.

        Raises:
            UnreachableError: the place cannot be asked now.
        """

    async def put(self, note: bytes) -> None:
        """Put `note` in place of what is there; durable when this returns.

        Raises:
            UnreachableError: it is not, or nobody knows.
        """


class UnreachableError(Exception):
    """A witness or a place cannot be had now; the text says why, and repeats nothing that a server wrote."""
