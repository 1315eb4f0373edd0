"""Exports of the audit log for tests: a log in memory, sinks that fail as told, and an export over both."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.audit.errors import AuditPrunedError, AuditUnavailableError
from gateway.exporting.cursors import CursorFile
from gateway.exporting.export import Export, ExportParts
from gateway.exporting.ocsf import Projector
from gateway.exporting.type_filter import TypeFilter

NAME = "siem"


class MemoryLog:
    """A chain of lines, of which a checkpoint covers what was appended and is durable."""

    def __init__(self, events: int = 0) -> None:
        self.lines: list[bytes] = []
        self.first = 0
        self.size = 0
        self.dead = False
        self.reads = 0
        self._grown = asyncio.Condition()
        for number in range(events):
            self.append("step.ended", actor="s-1", target=f"m/{number}", details={"n": number})
        self.size = len(self.lines)

    def append(self, event_type: str, *, actor: str, target: str, details: Any) -> int:
        if self.dead:
            raise AuditUnavailableError("dead")
        seq = len(self.lines)
        event = {
            "seq": seq,
            "event_id": f"{seq:032x}",
            "timestamp": "2026-01-31T12:00:00.000001Z",
            "event_type": str(event_type),
            "actor": actor,
            "target": target,
            "details": dict(details),
            "previous_hash": orjson.loads(self.lines[-1])["hash"] if self.lines else "0" * 64,
        }
        self.lines.append(orjson.dumps({**event, "hash": hashlib.sha256(orjson.dumps(event)).hexdigest()}))
        return seq

    async def grow(self, events: int = 1, event_type: str = "step.ended") -> None:
        """Append events and cover them."""
        for _ in range(events):
            self.append(event_type, actor="s-1", target=f"m/{len(self.lines)}", details={})
        await self.durable(len(self.lines) - 1)

    async def durable(self, seq: int) -> None:
        async with self._grown:
            self.size = max(self.size, seq + 1)
            self._grown.notify_all()

    async def covered(self, size: int) -> object:
        async with self._grown:
            while self.size <= size:
                if self.dead:
                    raise AuditUnavailableError("dead")
                await self._grown.wait()
        return None

    def read(self, start: int, count: int) -> Iterator[bytes]:
        self.reads += 1
        if start < self.first:
            raise AuditPrunedError(f"event {start} was pruned")
        return iter(self.lines[start : min(start + count, self.size)])

    def prune_before(self, first: int) -> None:
        self.first = first

    def told(self, event_type: str) -> list[dict[str, Any]]:
        """Return the details of the log's events of a type."""
        events = map(orjson.loads, self.lines)
        return [event["details"] for event in events if event["event_type"] == event_type]


@dataclass
class MemorySink:
    """Keeps the seqs that it is given; `answer` may raise, or wait, before it has them."""

    seqs: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    answer: Callable[[list[int]], Any] = lambda _: None
    closed: bool = False

    async def deliver(self, events: Sequence[bytes]) -> None:
        given = [orjson.loads(event)["metadata"]["sequence"] for event in events]
        self.sizes.append(len(given))
        waits = self.answer(given)
        if waits is not None:
            await waits
        self.seqs += given

    async def close(self) -> None:
        self.closed = True


def cursor_file(directory: Path) -> CursorFile:
    return CursorFile(directory, NAME)


def export(log: Any, sink: Any, directory: Path, **changes: Any) -> Export:
    """Return an export that retries at once."""
    fields: dict[str, Any] = {
        "name": NAME,
        "log": log,
        "sink": sink,
        "cursors": cursor_file(directory),
        "wanted": TypeFilter(),
        "projector": Projector(log_name="example.com/gateway"),
        "chance": lambda: 1.0,
        "events_max": 4,
        "first_seconds": 0.001,
        "linger_seconds": 0.0,
    }
    return Export(ExportParts(**{**fields, **changes}))
