"""What survives the process, and how it is opened: log, store, people, workspaces, and what leads the log elsewhere."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from typing import TYPE_CHECKING

from engine.audit.key_ring import KeyRing
from engine.audit.keys import Signer
from engine.audit.log import AuditLog
from engine.clock import Clock
from gateway.anchoring.settings import AnchoringSettings
from gateway.archiving.retention import LogRetention
from gateway.config import Config
from gateway.effects.workspace import Workspaces
from gateway.exporting.exports import Exports
from gateway.folders import AUDIT_FOLDER, STORE_FILE
from gateway.rulebook import Rulebook
from gateway.rules import Rules
from gateway.store.master_keys import MasterKeys
from gateway.store.opening import holds_keys
from gateway.store.sealing import OWN
from gateway.store.statistics import StatisticsStore
from gateway.store.store import Store
from gateway.subjects.keys import SubjectKeys
from gateway.subjects.subjects import Subjects

if TYPE_CHECKING:  # aiohttp takes long to import, and most gateways need none
    from gateway.anchoring.anchoring import Anchoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What survives the process."""

    audit: AuditLog
    anchoring: "Anchoring | None"  # where witnesses or anchors are configured
    exports: Exports
    store: Store
    statistics: StatisticsStore
    subjects: Subjects
    workspaces: Workspaces
    verifier_keys: tuple[str, ...]  # of the log, newest first
    clock: Clock

    @property
    def verifier_key(self) -> str:
        """The key that signs now."""
        return self.verifier_keys[0]


async def open_records(
    stack: AsyncExitStack, home: Path, config: Config, clock: Clock, signer: Signer | None
) -> Records:
    """Open log, store and workspaces; each verifies what it finds, and refuses what it cannot trust.

    They come first of all, since the store knows which hooks are enabled.
    """
    if signer is None:
        signer = await asyncio.to_thread(config.audit.choice(home).open)
    audit = await asyncio.to_thread(
        AuditLog.open,
        home / AUDIT_FOLDER,
        signer=signer,
        clock=clock,
        limits=config.audit.limits(),
        level=config.audit.acknowledge,
    )
    stack.push_async_callback(audit.close)
    anchoring = _start_anchoring(stack, config.audit.anchoring(home), audit, clock)
    exports = Exports.open(
        audit,
        home / AUDIT_FOLDER,
        config.audit.export_settings(home),
        log_name=signer.name,
        clock=clock,
        chance=SystemRandom().random,
    )
    stack.push_async_callback(exports.close)  # when all else has ended: what the stop records is delivered, too
    exports.start()
    masters = await asyncio.to_thread(
        MasterKeys.of, config.secrets.source(home), clock, first=not holds_keys(home / STORE_FILE)
    )
    store = await asyncio.to_thread(Store.open, home / STORE_FILE, clock=clock, masters=masters)
    stack.push_async_callback(store.close)
    workspaces = Workspaces.open(home)
    stack.callback(workspaces.close)
    keys = await asyncio.to_thread(KeyRing.load, home / AUDIT_FOLDER, signer.verifier_key())
    subjects = Subjects(store.subjects, SubjectKeys(await store.mission_key(OWN)))
    statistics = StatisticsStore.open(home / STORE_FILE)
    stack.callback(statistics.close)
    return Records(
        audit=audit,
        anchoring=anchoring,
        exports=exports,
        store=store,
        statistics=statistics,
        subjects=subjects,
        workspaces=workspaces,
        verifier_keys=keys.newest_first,
        clock=clock,
    )


def _start_anchoring(
    stack: AsyncExitStack, settings: AnchoringSettings | None, audit: AuditLog, clock: Clock
) -> "Anchoring | None":
    """Begin to follow the log, before anything waits for a witness; it ends behind all that writes to the log."""
    if settings is None:
        return None
    from gateway.anchoring.anchoring import Anchoring  # noqa: PLC0415 - aiohttp takes long to import

    anchoring = Anchoring(audit, settings, clock=clock, chance=SystemRandom().random)
    stack.push_async_callback(anchoring.close)
    anchoring.start()
    return anchoring


def make_log_retention(home: Path, config: Config, rules: Rules, rulebook: Rulebook, records: Records) -> LogRetention:
    """Return what takes old segments out of the log, as the bundle in force says."""
    retention = LogRetention(
        records.audit,
        home / AUDIT_FOLDER,
        config.audit.retention(home),
        records.clock,
        days=rules.log_days,
        undelivered=lambda: records.exports.next_seq,
    )
    rulebook.follow(lambda rules: retention.adopt(rules.log_days))
    return retention
