"""What reading of the log needs of it; `engine.audit.log.AuditLog` is one."""

from collections.abc import Iterator
from typing import Protocol

from engine.values import JsonObject


class ReadableLog(Protocol):
    """A log of which only what a signed checkpoint covers is read."""

    @property
    def first(self) -> int:
        """The seq of the oldest line that is still here: earlier ones were pruned."""

    @property
    def size(self) -> int:
        """Number of events that the latest signed checkpoint covers."""

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield up to `count` covered lines, without LF, from seq `start`. Any thread may call it."""

    async def covered(self, size: int) -> object:
        """Return once the signed checkpoint covers more than `size` events.

        Raises:
            AuditUnavailableError: that will not happen.
        """

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        """Record an event and return its seq."""

    async def durable(self, seq: int) -> None:
        """Return once a signed checkpoint covers `seq`."""
