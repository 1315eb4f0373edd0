"""All checks in order, and the few of them that a start does not go without."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from engine.audit.files import Files, SystemFiles
from engine.clock import Clock
from gateway.config import Config
from gateway.doctor import clock as clocks
from gateway.doctor import disk, kernel, keys, process
from gateway.doctor.check import Check, State, require
from gateway.doctor.engines import engines, opa
from gateway.workers.isolation import of_this_kernel

_MOUNTS: Final = Path("/proc/self/mounts")
_LOG: Final = logging.getLogger(__name__)


async def examine(home: Path, config: Config, clock: Clock) -> AsyncIterator[Check]:
    """Yield every finding about a home, which a gateway may be serving meanwhile; nothing of it is changed."""
    files = SystemFiles()
    yield kernel.isolation(of_this_kernel(), config.workers.accept_without)
    yield kernel.beneath(home)
    yield kernel.processes()
    for check in await engines(config.workers.accept_without):
        yield check
    if config.policy.engine == "opa":
        yield await opa(config.policy.opa, home)
    yield keys.folder(home)
    for check in await asyncio.to_thread(lambda: list(keys.all_keys(home, config, clock))):
        yield check
    yield disk.room(home, config, files)
    yield await asyncio.to_thread(disk.syncs, home, files)
    yield disk.kind(home, _MOUNTS.read_text())
    yield clocks.monotone(home, clock)
    yield clocks.synchronized(clocks.kernel_synchronized)
    yield process.files(config)
    yield process.address(config)


async def self_test(home: Path, config: Config, clock: Clock, files: Files) -> None:
    """Hold a start to what it cannot do without. Kernel, keys and engines it proves itself, by using them.

    Raises:
        ConfigurationError: `doctor.disk.room` or `doctor.disk.sync`; what is only doubtful is told, not refused.
    """
    require(disk.room(home, config, files))
    require(await asyncio.to_thread(disk.syncs, home, files))
    clock_check = clocks.monotone(home, clock)
    if clock_check.state is not State.OK:  # a clock that was ahead once must not stop a gateway for ever
        _LOG.warning("%s; %s", clock_check.message, clock_check.advice)
