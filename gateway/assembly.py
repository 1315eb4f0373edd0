"""A gateway from its start to its stop: the order of both; `gateway.wiring` says how the parts are put together."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.audit.errors import AuditUnwitnessedError
from engine.audit.files import SystemFiles
from engine.audit.keys import Signer
from engine.audit.log import AuditLog
from engine.clock import Clock, SystemClock
from engine.values import JsonObject
from gateway.auditing.follower import IndexFollower
from gateway.config import Config, load_config
from gateway.constrained.holding import Holding
from gateway.doctor.examination import self_test
from gateway.entrance import Entrance
from gateway.events import EventType
from gateway.exporting.exports import Exports
from gateway.folders import AUDIT_FOLDER
from gateway.health import Health
from gateway.limits.holding import Limits
from gateway.missions.desk import Desk
from gateway.missions.execution import Ground
from gateway.missions.recovery import Recovered
from gateway.missions.retention import Retention
from gateway.policy.bundle import Bundle
from gateway.records import Records, make_log_retention, open_records
from gateway.registry.registry import Registry
from gateway.reloading import Reloader
from gateway.rpc.accounts import Accounts
from gateway.rpc.listeners import Bound
from gateway.rpc.server import RpcServer
from gateway.rulebook import Rulebook
from gateway.rules import Rules, Site
from gateway.ruling import Ruling, first_rules, open_bundles
from gateway.sandbox.fleet import Fleet
from gateway.sandbox.hooks import Hook
from gateway.sandbox.version import engine_version
from gateway.subjects.subjects import Subjects
from gateway.telemetry.opening import Telemetry
from gateway.telemetry_wiring import SecondPort, open_telemetry, open_web
from gateway.wiring import (
    OBSERVERS_DRAIN_SECONDS,
    Desks,
    Stages,
    Workers,
    make_desk,
    make_health,
    make_server,
    make_stages,
    start_workers,
)
from gateway.workers.isolation import Isolation, of_this_kernel

if TYPE_CHECKING:
    from gateway.anchoring.anchoring import Anchoring

_STOP_GRACE_SECONDS: Final = 2.0
_SWITCH_SECONDS: Final = 1e-4
_LOG: Final = logging.getLogger(__name__)
_ACTOR: Final = "gateway"
_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves."""

    bound: Bound  # where it listens
    web_address: str  # of the second port; "" where there is none
    entrance: Entrance  # who is let in; `adopt` changes that
    desk: Desk
    workers: Workers
    isolation: Isolation  # what binds every worker
    records: Records  # what survives it
    constraints: Holding  # its `document` says what every rule has used
    limits: Limits  # its `document` says how far they are used; `adopt` changes them
    recovered: Recovered  # missions that an earlier process left unfinished
    health: Health  # of its parts
    reloader: Reloader  # reads the configuration anew

    @property
    def address(self) -> str:
        """Where it listens first of all."""
        return self.bound.address

    @property
    def audit(self) -> AuditLog:
        """The log."""
        return self.records.audit

    @property
    def anchoring(self) -> "Anchoring | None":
        """How it stands with witnesses and anchors."""
        return self.records.anchoring

    @property
    def exports(self) -> Exports:
        """Where the log is delivered."""
        return self.records.exports

    @property
    def subjects(self) -> Subjects:
        """Who is who for the log."""
        return self.records.subjects

    @property
    def verifier_key(self) -> str:
        """The key that signs the log now."""
        return self.records.verifier_key

    @property
    def sandbox(self) -> Fleet:
        """The workers of modules."""
        return self.workers.sandbox

    @property
    def ruling(self) -> Ruling:
        """Policy."""
        return self.workers.ruling

    @property
    def registry(self) -> Registry:
        """The hooks that were published."""
        return self.workers.registry

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The hooks in force."""
        return self.registry.hooks

    @property
    def policy(self) -> Rulebook:
        """The bundle in force, and how it changes."""
        return self.ruling.rulebook

    @property
    def bundle(self) -> Bundle:
        """The bundle in force."""
        return self.policy.current.bundle


@asynccontextmanager
async def running_gateway(
    home: Path,
    config: Config,
    *,
    clock: Clock = _CLOCK,
    drain_seconds: float | None = None,
    signer: Signer | None = None,
    load: Callable[[], Config] | None = None,
    cut: asyncio.Event | None = None,
) -> AsyncIterator[Gateway]:
    """Start everything, yield the serving gateway, and stop it in the opposite order.

    Without `signer` the configured one signs the log, and nobody is asked for a passphrase; without `drain_seconds` a
    stop takes as long as is configured, and `cut` ends that early. `load` reads the configuration anew.

    Raises:
        EngineError: it cannot start; what had been started is stopped again.
    """
    isolation = await _prepared(home, config, clock)
    async with AsyncExitStack() as stack:
        site = Site.of(home, config)
        telemetry = open_telemetry(stack, home, config, clock)
        entrance = _entrance(stack, home, config, clock)
        records = await open_records(stack, home, config, clock, signer)
        reloader = _reloader(load or (lambda: load_config(home)), config, records, entrance, telemetry)
        bundles = open_bundles(home, site, records.audit, records.clock)
        rules = await first_rules(bundles, site)
        workers = await start_workers(stack, home, site, rules, bundles, records)
        await _record_start(records.audit, rules, workers, isolation)
        stages = make_stages(stack, home, config, rules, workers, records, telemetry)
        accounts = _accounts(config, records, entrance, reloader)
        desks, ground = make_desk(stack, config, rules, workers, stages, records, accounts, reloader)
        recovered = await _going_on(stack, desks)
        follower = IndexFollower(home / AUDIT_FOLDER, records.audit)
        server = make_server(home, config, desks, workers, stages, records, follower, entrance, accounts)
        health = make_health(workers, records)
        web = await open_web(stack, home, config, desks, ground, workers, stages, records, entrance, health)
        await server.start()
        log_retention = make_log_retention(home, config, rules, workers.rulebook, records)
        works = (log_retention.run(), follower.run(), accounts.run(), health.run(server.health.tell))
        others = (*stages.limits.works(server.waits), *server.works(), *workers.ruling.works(), *entrance.works())
        tasks = _begun(_retention(ground, rules, workers).run(), *works, *others, *telemetry.works())
        try:
            yield Gateway(
                bound=server.bound,
                web_address=web.address,
                entrance=entrance,
                desk=desks.missions,
                workers=workers,
                isolation=isolation,
                records=records,
                constraints=stages.held,
                limits=stages.limits,
                recovered=recovered,
                health=health,
                reloader=reloader,
            )
        finally:
            await _stop(tasks, server, web, desks.missions, stages, accounts, _Drain.of(config, drain_seconds, cut))
            await _record_stop(records.audit)


async def _prepared(home: Path, config: Config, clock: Clock) -> Isolation:
    """Return what will bind every worker, where configuration, kernel and disk let a gateway run at all.

    Raises:
        ConfigurationError: they do not.
    """
    config.check_listen()
    isolation = of_this_kernel()
    config.workers.check(isolation)
    # An event loop that never idles gives the interpreter up only every switch interval; at the default of 5 ms the
    # audit writer's thread starves, and with it everything that waits for a checkpoint (docs/adr/0004).
    sys.setswitchinterval(_SWITCH_SECONDS)
    await self_test(home, config, clock, SystemFiles())
    return isolation


def _entrance(stack: AsyncExitStack, home: Path, config: Config, clock: Clock) -> Entrance:
    """Return who comes in, and where; a certificate that is no good ends the start before anything has begun."""
    entrance = Entrance.of(home, config, clock)
    stack.push_async_callback(entrance.close)
    return entrance


def _reloader(
    load: Callable[[], Config], config: Config, records: Records, entrance: Entrance, telemetry: Telemetry
) -> Reloader:
    """Return what reads the configuration anew; each part that can take over some of it says so where it is made."""
    reloader = Reloader(load, config, records.audit)
    reloader.preparing("tokens", "certificates", "issuers", "anonymous", prepare=entrance.prepare)
    reloader.adopting("tracing.ratio", adopt=lambda config: telemetry.adopt(config.tracing.ratio))
    return reloader


def _accounts(config: Config, records: Records, entrance: Entrance, reloader: Reloader) -> Accounts:
    """Return what counts calls for the log."""
    per_minute = config.audit.principal_events_per_minute_max
    accounts = Accounts(records.audit, records.clock, entrance.refusals, events_per_minute=per_minute)
    reloader.adopting(
        "audit.principal_events_per_minute_max",
        adopt=lambda config: accounts.quota.adopt(config.audit.principal_events_per_minute_max),
    )
    return accounts


async def _going_on(stack: AsyncExitStack, desks: Desks) -> Recovered:
    """Let go on what an earlier process left unfinished."""
    stack.push_async_callback(desks.people.close)
    stack.push_async_callback(desks.missions.close, 0.0)  # where what follows fails: missions need what they use
    recovered = await desks.missions.recover()
    await desks.people.resume()
    return recovered


def _begun(*works: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Begin what goes on beside the calls; where some of it ends by itself, which nothing of it should, people hear."""
    tasks = [asyncio.create_task(each) for each in works]
    for task in tasks:
        task.add_done_callback(_heard)
    return tasks


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.critical("what goes on beside the calls has ended by itself; start the gateway anew", exc_info=error)


def _retention(ground: Ground, rules: Rules, workers: Workers) -> Retention:
    """Return what deletes old missions, as the bundle in force says."""
    retention = Retention(ground, days=rules.retention_days)
    workers.rulebook.follow(lambda rules: retention.adopt(rules.retention_days))
    return retention


async def _stop(
    tasks: list[asyncio.Task[None]],
    server: RpcServer,
    web: SecondPort,
    desk: Desk,
    stages: Stages,
    accounts: Accounts,
    drain: "_Drain",
) -> None:
    """Take nothing new, let what is at work come to an end, and go away. Balancers hear of it first."""
    web.readiness.stopping = True
    await server.not_serving()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await drain.close(desk)
    await stages.observers.close(OBSERVERS_DRAIN_SECONDS)
    await server.stop(_STOP_GRACE_SECONDS)
    accounts.flush()  # calls that have ended by now


@dataclass(frozen=True, slots=True)
class _Drain:
    """How long steps at work have, and what ends that early."""

    seconds: float
    cut: asyncio.Event

    @classmethod
    def of(cls, config: Config, seconds: float | None, cut: asyncio.Event | None) -> "_Drain":
        """Return what was asked for; as configured, where nothing was."""
        return cls(config.operation.drain_seconds if seconds is None else seconds, cut or asyncio.Event())

    async def close(self, desk: Desk) -> None:
        """Close the desk; a second close, which waits for nothing, ends the wait of the first."""
        closing = asyncio.create_task(desk.close(self.seconds))
        cutting = asyncio.create_task(self.cut.wait())
        await asyncio.wait((closing, cutting), return_when=asyncio.FIRST_COMPLETED)
        cutting.cancel()
        if not closing.done():
            await desk.close(0.0)
        await closing


async def _record_start(audit: AuditLog, rules: Rules, workers: Workers, isolation: Isolation) -> None:
    """Say, before any step, what is in force, also where a killed gateway could not say so."""
    started: JsonObject = {
        "bundle": rules.bundle.digest,
        "engine": engine_version().document(),
        "hooks": workers.registry.pins(),
        "isolation": list(isolation.in_force),
        "missing": [str(layer) for layer in isolation.missing],
    }
    await _record(audit, EventType.GATEWAY_STARTED, started)


async def _record_stop(audit: AuditLog) -> None:
    with suppress(AuditUnwitnessedError):  # it is signed, and a stop waits for no witness that is not there
        await _record(audit, EventType.GATEWAY_STOPPED, {})


async def _record(audit: AuditLog, event: EventType, details: JsonObject) -> None:
    await audit.durable(audit.append(event, actor=_ACTOR, target=_ACTOR, details=details))
