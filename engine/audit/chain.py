"""The hash chain: gives each event its number, its time and the hash of the event before it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from engine.audit.errors import AuditEventRefusedError
from engine.audit.record import CLOCK_RAW, GENESIS_HASH, Record, seal
from engine.clock import rfc3339
from engine.values import JsonObject

_TICK: Final = timedelta(microseconds=1)


class ChainError(ValueError):
    """A record does not follow the one before it; the text says why."""


class Chain:
    """The end of a chain. Pure state: it reads no clock and touches no file; not safe for threads."""

    __slots__ = ("_entropy", "_head", "_last", "next_seq")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        """Start an empty chain; `entropy(n)` returns n bytes that nobody can guess or repeat."""
        self._entropy = entropy
        self._head = GENESIS_HASH
        self._last: datetime | None = None
        self.next_seq = 0

    def link(self, event_type: str, *, actor: str, target: str, details: JsonObject, now: datetime) -> bytes:
        """Return the next line, without LF, and move on. A refusal leaves the chain as it was.

        Time never goes back: `timestamp` is max(now, last + 1 µs). Where that is not `now`, details end with
        `clock_raw`, what the clock said.

        Raises:
            AuditEventRefusedError: the format cannot hold the event.
        """
        if CLOCK_RAW in details:
            raise AuditEventRefusedError(f"{event_type}: {CLOCK_RAW} is the log's own field")
        moment = now
        if self._last is not None and now <= self._last:
            moment = self._last + _TICK
            details = {**details, CLOCK_RAW: rfc3339(now)}
        line, self._head = seal(
            seq=self.next_seq,
            event_id=self._entropy(16).hex(),
            timestamp=rfc3339(moment),
            event_type=event_type,
            actor=actor,
            target=target,
            details=details,
            previous_hash=self._head,
        )
        self._last = moment
        self.next_seq += 1
        return line

    def accept(self, record: Record) -> None:
        """Move on over a record that was read back.

        Raises:
            ChainError: it is not the next one.
        """
        if record.seq != self.next_seq:
            raise ChainError(f"seq is {record.seq}, not {self.next_seq}")
        if record.previous_hash != self._head:
            raise ChainError("previous_hash is not the hash of the event before")
        if self._last is not None and record.timestamp <= self._last:
            raise ChainError("the timestamp is not after the one before")
        self.resume(record)

    def resume(self, record: Record) -> None:
        """Go on after `record`, whatever came before: the caller knows that it was signed."""
        self._head = record.hash
        self._last = record.timestamp
        self.next_seq = record.seq + 1
