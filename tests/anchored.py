"""A log in memory for what follows it: it grows, signs, proves, and keeps what it is told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engine.audit.checkpoint import Checkpoint, open_checkpoint
from engine.audit.errors import AuditUnavailableError
from engine.audit.keys import VerifierKey
from engine.values import JsonObject
from tests.audit_logs import VKEY, signed, tree_root
from tests.cosigning import consistency


@dataclass(frozen=True)
class Checkpointed:
    size: int
    note: bytes


@dataclass
class MemoryLog:
    """The port `AnchoredLog`. `grow` adds events; `salt` makes it another history."""

    salt: bytes = b""
    size: int = 0
    held: bytes | None = None
    accepted: list[tuple[int, bytes]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    events: list[tuple[str, str, JsonObject]] = field(default_factory=list)
    dead: bool = False
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def leaves(self) -> list[bytes]:
        return [self.salt + str(number).encode() for number in range(self.size)]

    def checkpoint(self) -> bytes:
        return signed(self.leaves)

    def grow(self, count: int = 1) -> None:
        self.size += count
        self._grown.set()
        self._grown = asyncio.Event()

    def die(self) -> None:
        self.dead = True
        self._grown.set()

    def opens(self, note: bytes) -> Checkpoint:
        return open_checkpoint(note, VerifierKey.parse(VKEY))

    def witnessed(self) -> bytes | None:
        return self.held

    async def covered(self, size: int) -> Checkpointed:
        while self.size <= size:
            if self.dead:
                raise AuditUnavailableError("the audit log is closed")
            await self._grown.wait()
        return Checkpointed(self.size, self.checkpoint())

    def prove_consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        return consistency(self.leaves, old, self.size if new is None else new, tree_root)

    def accept_witnessed(self, size: int, note: bytes) -> None:
        self.accepted.append((size, note))
        self.held = note

    def refuse_witnessed(self, reason: str) -> None:
        self.refused.append(reason)

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        if self.dead:
            raise AuditUnavailableError("the audit log is closed")
        assert actor == "gateway"
        self.events.append((event_type, target, details))
        return self.size


def after(seconds: float) -> Callable[[], Awaitable[None]]:
    """Return something to await that takes so long."""
    return lambda: asyncio.sleep(seconds)
