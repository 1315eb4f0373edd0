"""The records of a gateway, put together: opened before it decides, closed after everything that asks."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from engine.clock import Clock
from gateway.decisions.database import DATABASE_FILE, open_writer
from gateway.decisions.drops import Drops
from gateway.decisions.events import KnownBundles
from gateway.decisions.keys import RecordKeys
from gateway.decisions.ledger import OUTBOX_BYTES_MAX, Ledger, LedgerSettings, Recording
from gateway.decisions.recorded import RecordedPolicy
from gateway.decisions.recorder import Recorder
from gateway.delivery.line_file import LineFile, Names
from gateway.events import Audit
from gateway.policy.engine import PolicyEngine
from gateway.store.opening import lock
from gateway.store.writer import GroupCommitWriter
from gateway.vault.master import MasterSource

if TYPE_CHECKING:
    from gateway.decisions.shipper import Shipper

_APP: Final = "missiongate"
_FILE: Final = Names(what="the decision log", configured="config.decision_log", fault="decisions.log_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """What is kept of decisions, and who is told of them."""

    record: Recording = "all"
    kept_days: int = 30
    kept_max: int = 1_000_000
    log_file: Path | None = None
    log_url: str = ""
    log_token_file: Path | None = None
    outbox_bytes_max: int = OUTBOX_BYTES_MAX
    labels: Mapping[str, str] = field(default_factory=dict)  # of the log's events, beside app, id and version

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return self.record != "none" or self.log_file is not None or bool(self.log_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecords:
    """The open records. `bundles` learns of every bundle before it decides."""

    bundles: KnownBundles
    recorder: Recorder
    drops: Drops
    shipper: "Shipper | None"
    clock: Clock

    def around(self, policy: PolicyEngine) -> RecordedPolicy:
        """Return a policy whose decisions are recorded here."""
        return RecordedPolicy(policy, self.recorder, self.clock)


@asynccontextmanager
async def decision_records(
    home: Path, settings: DecisionSettings, *, source: MasterSource, audit: Audit | None, clock: Clock
) -> AsyncIterator[DecisionRecords]:
    """Open the records of a home, and write, prune and deliver for as long as the block lasts.

    Raises:
        SecretError: the key cannot be had; nothing is ever recorded in the clear.
        StoreError: `decisions.db` is damaged, locked, another program's, or of another key.
        ConfigurationError: `config.decision_log`.
    """
    async with AsyncExitStack() as stack:
        stack.callback(_unlock, lock(home / DATABASE_FILE))
        first = not (home / DATABASE_FILE).exists()
        keys = await asyncio.to_thread(RecordKeys.of, source, clock, first=first)
        stack.callback(keys.wipe)
        log_file = None
        if settings.log_file is not None:
            log_file = LineFile(settings.log_file, _FILE)
            stack.callback(log_file.close)
        bundles, drops = KnownBundles(), Drops(audit, clock)
        labels = {"app": _APP, "id": str(uuid4()), "version": metadata.version(_APP), **settings.labels}
        ledger = Ledger(
            keys,
            bundles,
            LedgerSettings(
                record=settings.record,
                outbox=bool(settings.log_url),
                outbox_bytes_max=settings.outbox_bytes_max,
                labels=labels,
            ),
            log_file,
        )
        connection = await asyncio.to_thread(open_writer, home / DATABASE_FILE, keys.check)
        recorder = Recorder(
            GroupCommitWriter(connection),
            ledger,
            drops,
            clock,
            kept_days=settings.kept_days,
            kept_max=settings.kept_max,
        )
        stack.callback(drops.tell)
        stack.push_async_callback(recorder.close)
        recorder.start()
        shipper = None
        if settings.log_url:
            from gateway.decisions.shipper import Shipper  # noqa: PLC0415 - a client of HTTP takes 200 ms to import

            shipper = Shipper(recorder, ledger, drops, settings.log_url, clock, token_file=settings.log_token_file)
            await stack.enter_async_context(shipper)
        yield DecisionRecords(bundles=bundles, recorder=recorder, drops=drops, shipper=shipper, clock=clock)


def _unlock(descriptor: int) -> None:
    os.close(descriptor)
