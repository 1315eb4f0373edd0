"""Replays on the files of a home, beside its gateway or without one: read only, in workers of their own."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.clock import SystemClock
from gateway.replay.modules import KeptModules
from gateway.replay.replayer import Replayer
from gateway.sandbox.pool import PRELOAD
from gateway.sandbox.version import engine_version
from gateway.store.master_keys import MasterKeys
from gateway.store.reading import StoreReading
from gateway.vault.master import MasterSource
from gateway.vault.reader import VaultReader
from gateway.workers.supervisor import Zygote


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFiles:
    """What of a home a replay reads."""

    store: Path
    log: Path
    verifier_key: str
    vault: MasterSource


@asynccontextmanager
async def replaying(files: HomeFiles, *, without: Collection[str] = ()) -> AsyncIterator[Replayer]:
    """Yield a replayer; `without` names the layers of isolation that may be missing, as the gateway's workers have it.

    Raises:
        StoreError: the store cannot be read.
        WorkerError: there are no workers to be had.
    """
    async with AsyncExitStack() as stack:
        masters = await asyncio.to_thread(MasterKeys.of, files.vault, SystemClock())
        records = StoreReading.open(files.store, masters)
        stack.callback(records.close)
        vault = VaultReader(files.vault)
        stack.callback(vault.close)
        zygote = await Zygote.start(PRELOAD, without=without)
        stack.push_async_callback(zygote.close)
        modules = KeptModules(zygote, records)
        stack.push_async_callback(modules.close)
        yield Replayer(records=records, modules=modules, handles=vault, engine=engine_version())
