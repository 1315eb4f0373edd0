"""The audit log as the audit service reads it."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.audit.log import AuditLog


@dataclass(frozen=True, slots=True)
class LogReader:
    """The audit log as the audit service reads it."""

    log: AuditLog
    keys: tuple[str, ...]

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""
        return self.log.checkpoint()

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield covered lines without LF."""
        return self.log.read(start, count)

    def verifier_keys(self) -> tuple[str, ...]:
        """Return the C2SP verifier keys."""
        return self.keys
