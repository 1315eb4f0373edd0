"""Where the numbers of a gateway are read, and the second port that shows them: the wiring of `gateway.telemetry`."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from engine.clock import Clock
from gateway.config import Config
from gateway.entrance import Entrance
from gateway.folders import STORE_FILE
from gateway.missions.execution import Ground
from gateway.policy.cache import CachedEngine
from gateway.policy.pool import WorkerPolicy
from gateway.records import Records
from gateway.telemetry.opening import Telemetry, TelemetrySettings
from gateway.telemetry.readings import AuditReading, CacheReading, Readings, StoreReading, WorkersReading
from gateway.web.ports import HealthSource
from gateway.web.readiness import Readiness
from gateway.wiring import Desks, Stages, Workers
from gateway.workers.pool import Standing

_POLICY = "policy"


def open_telemetry(stack: AsyncExitStack, home: Path, config: Config, clock: Clock) -> Telemetry:
    """Return what watches a gateway, before anything is there to be watched.

    Raises:
        ConfigurationError: `config.tracing`.
    """
    tracing = config.tracing
    settings = TelemetrySettings(
        metrics=bool(config.web.listen),
        url=tracing.url,
        token_file=home / tracing.token_file if tracing.token_file else None,
        ca_file=home / tracing.ca_file if tracing.ca_file else None,
        ratio=tracing.ratio,
        follow_callers=tracing.follow_callers,
        propagate_to=frozenset(tracing.propagate_to),
        service=tracing.service,
    )
    telemetry = Telemetry.of(settings, clock, os.urandom)
    stack.push_async_callback(telemetry.close)
    return telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondPort:
    """Where metrics and health are."""

    address: str  # "" where there is none
    readiness: Readiness


async def open_web(
    stack: AsyncExitStack,
    home: Path,
    config: Config,
    desks: Desks,
    ground: Ground,
    workers: Workers,
    stages: Stages,
    records: Records,
    entrance: Entrance,
    health: HealthSource,
) -> SecondPort:
    """Start the second port, where one is wanted.

    Raises:
        ConfigurationError: `config.listen`, the address cannot be had.
    """
    readiness = Readiness(health)
    if not config.web.listen:
        return SecondPort(address="", readiness=readiness)
    from gateway.telemetry.exposition import expositor  # noqa: PLC0415 - no start without metrics waits for it
    from gateway.web.server import WebServer  # noqa: PLC0415 - aiohttp takes long to import

    readings = _readings(home, desks, ground, workers, stages, records, entrance, readiness)
    expose = expositor(stages.telemetry.meters, readings)
    web = WebServer(expose, readiness, records.clock, names=config.web.names)
    stack.push_async_callback(web.close)
    await web.start(*config.web.address)
    return SecondPort(address=web.address, readiness=readiness)


def _readings(
    home: Path,
    desks: Desks,
    ground: Ground,
    workers: Workers,
    stages: Stages,
    records: Records,
    entrance: Entrance,
    health: HealthSource,
) -> Readings:
    """Return where each number of a gateway is read."""
    store = home / STORE_FILE
    return Readings(
        version=metadata.version("missiongate"),
        missions=lambda: desks.missions.standing,
        step_places=lambda: (ground.slots.held, ground.slots.limit),
        workers=lambda: _workers(workers),
        audit=lambda: _audit(records),
        cache=lambda: _cache(workers),
        store=lambda: _store(records, store),
        observers=lambda: stages.observers.counts,
        statistics=stages.held.enforcer.statistics,
        serving=lambda: {
            "gateway": health.serving,
            **{str(state.component): state.serving for state in health.states},
        },
        refused=lambda: entrance.refusals.totals,
        limited=lambda: stages.limits.refused,
        shedding=lambda: stages.limits.calls.level,
        wait_seconds=lambda: stages.limits.calls.wait_seconds,
        certificate_ends=lambda: entrance.certificate_ends,
        traces=stages.telemetry.traces,
    )


def _workers(workers: Workers) -> Sequence[WorkersReading]:
    """Read all pools; an engine of policy elsewhere has none."""
    found = [_reading(name, standing) for name, standing in sorted(workers.sandbox.standing.items())]
    engine = workers.rulebook.engine
    inner = engine.engine if isinstance(engine, CachedEngine) else engine
    return [*found, _reading(_POLICY, inner.standing)] if isinstance(inner, WorkerPolicy) else found


def _reading(name: str, standing: Standing) -> WorkersReading:
    return WorkersReading(
        workers=name, alive=standing.alive, spare=standing.spare, waiting=standing.waiting, ended=standing.ended
    )


def _audit(records: Records) -> AuditReading:
    anchoring = records.anchoring
    places = () if anchoring is None else (*anchoring.witnesses(), *anchoring.anchors())
    return AuditReading(
        appended=records.audit.appended,
        signed=records.audit.size,
        exported=records.exports.next_seq,
        witnesses={place.name: place.lag for place in places},
    )


def _cache(workers: Workers) -> CacheReading:
    engine = workers.rulebook.engine
    if not isinstance(engine, CachedEngine):
        return CacheReading(hits=0, misses=0, entries=0)
    return CacheReading(hits=engine.hits, misses=engine.misses, entries=engine.entries)


def _store(records: Records, path: Path) -> StoreReading:
    writes, reads = records.store.waiting
    size = sum(_size(name) for name in (path, path.with_name(f"{path.name}-wal")))
    return StoreReading(writes_waiting=writes, reads_waiting=reads, bytes=size)


def _size(path: Path) -> int:
    """Return the size of a file, which may be gone."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - one call of the kernel, and no more
    except OSError:
        return 0
