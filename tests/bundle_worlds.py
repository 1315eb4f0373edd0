"""Bundles for tests: small ones, a source that gives what the test says, an engine that takes it or not, and a log."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.audit.files import Files
from engine.errors import EngineError
from engine.values import JsonObject
from gateway.bundles.acceptance import Acceptance
from gateway.bundles.bundles import Bundles
from gateway.bundles.history import History
from gateway.bundles.parts import BundlesParts
from gateway.bundles.sources import Fetched
from gateway.errors import BundleSourceError, PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import write_archive
from gateway.policy.signatures import BundleKey, sign
from tests.bundle_keys import key, pair

RULE = b'package gateway.rpc\n\nimport rego.v1\n\ndecision := {"allow": false, "reasons": []}\n'
START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def bundle_files(n: int = 0, *, sequence: int | None = None, **data: Any) -> dict[str, bytes]:
    """Return the files of a bundle whose revision is `r<n>`, and whose content depends on n."""
    manifest: dict[str, Any] = {"revision": f"r{n}", "roots": ["gateway"]}
    if sequence is not None:
        manifest["metadata"] = {"missiongate": {"sequence": sequence}}
    document = {"gateway": {"config": {"n": n, **data}}}
    return {
        ".manifest": json.dumps(manifest).encode(),
        "data.json": json.dumps(document).encode(),
        "rpc.rego": RULE,
    }


def archive_of(n: int = 0, *, sequence: int | None = None, signed: bool = False, which: int = 0, **data: Any) -> bytes:
    """Return that bundle as an archive; signed by the key `k1`, if it is to be."""
    files = bundle_files(n, sequence=sequence, **data)
    if signed:
        files[".signatures.json"] = sign(files, pair("EdDSA", which)[0], key_id="k1")
    return write_archive(files)


def digest_of(n: int) -> str:
    """Return the digest of the bundle `r<n>`."""
    return Bundle.from_files(bundle_files(n)).digest


@dataclass
class ManualClock:
    """Time that the test moves; wall and monotonic time apart where it says so."""

    wall: datetime = START
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass
class ListAudit:
    """A log in a list; `fails` is raised instead of an entry."""

    events: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    fails: EngineError | None = None

    @property
    def size(self) -> int:
        return len(self.events)

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        if self.fails is not None:
            raise self.fails
        self.events.append((str(event_type), actor, target, dict(details)))
        return len(self.events) - 1

    async def durable(self, seq: int) -> None:
        await asyncio.sleep(0)
        assert seq < len(self.events)

    def of(self, event_type: str) -> list[dict[str, Any]]:
        """Return the details of each event of a type."""
        return [details for each, _, _, details in self.events if each == event_type]

    @property
    def types(self) -> list[str]:
        return [each for each, *_ in self.events]


@dataclass
class FakeSource:
    """Gives `archive`, or raises `fails`; with ETags or without."""

    archive: bytes = b""
    name: str = "https://bundles.example/b.tar.gz"
    remote: bool = True
    protected: bool = True
    etags: bool = True
    fails: EngineError | None = None
    asked: list[str] = field(default_factory=list)
    before_answer: Callable[[], Any] | None = None

    async def fetch(self, etag: str) -> Fetched | None:
        self.asked.append(etag)
        answer, fails = self.archive, self.fails
        if self.before_answer is not None:
            await self.before_answer()
        if fails is not None:
            raise fails
        own = f'"{hash(answer)}"' if self.etags else ""
        return None if etag and etag == own else Fetched(archive=answer, etag=own)


@dataclass
class FakeEngine:
    """Takes bundles, or raises `fails`."""

    taken: list[str] = field(default_factory=list)
    fails: EngineError | None = None
    busy: int = 0

    async def activate(self, bundle: Bundle) -> None:
        assert self.busy == 0, "two activations at a time"
        self.busy += 1
        await asyncio.sleep(0)
        self.busy -= 1
        if self.fails is not None:
            raise self.fails
        self.taken.append(bundle.revision)


def down() -> BundleSourceError:
    return BundleSourceError("no connection", code="policy.source_unavailable")


@dataclass
class World:
    """A home with bundles, and everything around them in the test's hands."""

    folder: Path
    source: FakeSource
    keys: tuple[BundleKey, ...] = ()
    clock: ManualClock = field(default_factory=ManualClock)
    audit: ListAudit = field(default_factory=ListAudit)
    engine: FakeEngine = field(default_factory=FakeEngine)
    check: Callable[[Bundle], None] = lambda _: None
    options: dict[str, Any] = field(default_factory=dict)
    kept_max: int = 8
    files: Files | None = None

    def bundles(self) -> Bundles:
        """Return bundles as a process that begins makes them."""
        return Bundles(
            BundlesParts(
                source=self.source,
                acceptance=Acceptance(keys=self.keys, unsigned_from_url=not self.keys, check=self.check),
                history=History.open(self.folder, kept_max=self.kept_max, files=self.files),
                audit=self.audit,
                clock=self.clock,
                chance=lambda: 0.5,
                **self.options,
            )
        )

    async def started(self) -> Bundles:
        """Return bundles that have started, with the engine attached."""
        bundles = self.bundles()
        await bundles.start()
        bundles.attach(self.engine)
        return bundles


def signed_world(folder: Path, n: int = 1, **more: Any) -> World:
    """Return a world whose server gives a signed bundle `r<n>` with the sequence n."""
    return World(folder, FakeSource(archive_of(n, sequence=n, signed=True)), keys=(key(),), **more)


def unacceptable(_: Bundle) -> None:
    raise PolicyInvalidError("no profile fits", code="policy.profile_invalid")
