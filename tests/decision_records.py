"""Records of decisions for tests: a home with a key, an engine of prepared answers, and what can be read afterwards."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.clock import SystemClock
from gateway.decisions.database import DATABASE_FILE
from gateway.decisions.opening import DecisionRecords, DecisionSettings, decision_records
from gateway.decisions.records import Filter, Recorded, Records, Unreadable
from gateway.errors import Reason
from gateway.events import Audit
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.vault.master import KEY_FILE, MasterSource, write_key

DIGEST = "sha256:" + "a" * 64
YES = Decision(allow=True, bundle=DIGEST)
NO = Decision(
    allow=False, bundle=DIGEST, reasons=(Reason("step.path_closed", "path: closed", "data.gateway.step.deny"),)
)


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds, which is for the test's own time limit to wait for."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)


@dataclass
class Answers:
    """An engine that answers what `answer` makes of a document."""

    answer: Callable[[bytes], Decision] = lambda _: YES
    digest: str = DIGEST
    asked: list[tuple[Entrypoint, bytes]] = field(default_factory=list)

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        self.asked.append((entrypoint, document))
        return self.answer(document)


@dataclass
class Events:
    """An audit log that keeps what it is told, and fails where it is told to."""

    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fault: Exception | None = None
    size: int = 0

    def append(self, event_type: str, *, actor: str, target: str, details: Any) -> int:
        if self.fault is not None:
            raise self.fault
        assert (actor, target) == ("gateway", "decision_log")
        self.told.append((event_type, dict(details)))
        return len(self.told)

    async def durable(self, seq: int) -> None:
        pass


class Home:
    """A home with a key, and nothing recorded yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "keys").mkdir(mode=0o700, parents=True)
        write_key(path / KEY_FILE, os.urandom(32))
        self.source = MasterSource(path)
        self.database = path / DATABASE_FILE
        self.audit = Events()

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[DecisionRecords]:
        audit: Audit = self.audit
        made = DecisionSettings(**settings)
        async with decision_records(self.path, made, source=self.source, audit=audit, clock=SystemClock()) as records:
            yield records

    def read(self, **wanted: Any) -> list[Recorded | Unreadable]:
        with Records.open(self.path, self.source, SystemClock()) as records:
            return list(records.read(Filter(**wanted)))

    def opened(self, **wanted: Any) -> list[Recorded]:
        """Return everything, all of which has to open."""
        found = self.read(**wanted)
        assert [each for each in found if isinstance(each, Unreadable)] == []
        return [each for each in found if isinstance(each, Recorded)]
