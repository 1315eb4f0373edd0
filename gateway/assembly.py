"""A gateway from its start to its stop: the order of both; `gateway.wiring` says how the parts are put together."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.audit.errors import AuditUnwitnessedError
from engine.audit.keys import Signer
from engine.audit.log import AuditLog
from engine.clock import Clock, SystemClock
from engine.values import JsonObject
from gateway.auditing.follower import IndexFollower
from gateway.config import Config
from gateway.constrained.holding import Holding
from gateway.entrance import Entrance
from gateway.events import EventType
from gateway.exporting.exports import Exports
from gateway.folders import AUDIT_FOLDER
from gateway.limits.holding import Limits
from gateway.missions.desk import Desk
from gateway.missions.execution import Ground
from gateway.missions.recovery import Recovered
from gateway.missions.retention import Retention
from gateway.policy.bundle import Bundle
from gateway.records import Records, make_log_retention, open_records
from gateway.registry.registry import Registry
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
from gateway.watched import SecondPort, open_telemetry, open_web
from gateway.wiring import OBSERVERS_DRAIN_SECONDS, Stages, Workers, make_desk, make_server, make_stages, start_workers
from gateway.workers.isolation import Isolation, of_this_kernel

if TYPE_CHECKING:
    from gateway.anchoring.anchoring import Anchoring

DRAIN_SECONDS: Final = 10.0
_STOP_GRACE_SECONDS: Final = 2.0
_SWITCH_SECONDS: Final = 1e-4
_ACTOR: Final = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves."""

    bound: Bound  # where it listens
    web_address: str  # of the second port; "" where there is none
    entrance: Entrance  # who is let in; `adopt` changes that
    desk: Desk
    sandbox: Fleet
    ruling: Ruling
    registry: Registry
    isolation: Isolation  # what binds every worker
    records: Records  # what survives it
    constraints: Holding  # its `document` says what every rule has used
    limits: Limits  # its `document` says how far they are used; `adopt` changes them
    recovered: Recovered  # missions that an earlier process left unfinished

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
    clock: Clock | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    signer: Signer | None = None,
) -> AsyncIterator[Gateway]:
    """Start everything, yield the serving gateway, and stop it in the opposite order.

    Without `signer` the configured one signs the log, and nobody is asked for a passphrase.

    Raises:
        EngineError: it cannot start; what had been started is stopped again.
    """
    isolation = _prepared(config)
    async with AsyncExitStack() as stack:
        site = Site.of(home, config)
        telemetry = open_telemetry(stack, home, config, clock or SystemClock())
        entrance = _entrance(stack, home, config, clock or SystemClock())
        records = await open_records(stack, home, config, clock or SystemClock(), signer)
        bundles = open_bundles(home, site, records.audit, records.clock)
        rules = await first_rules(bundles, site)
        workers = await start_workers(stack, home, site, rules, bundles, records)
        await _record_start(records.audit, rules, workers, isolation)
        stages = make_stages(stack, home, config, rules, workers, records, telemetry)
        accounts = _accounts(config, records, entrance)
        desks, ground = make_desk(stack, config, rules, workers, stages, records, accounts)
        desk = desks.missions
        stack.push_async_callback(desk.close, 0.0)  # where what follows fails: missions that go on need what they use
        recovered = await desk.recover()
        await desks.people.resume()
        follower = IndexFollower(home / AUDIT_FOLDER, records.audit)
        server = make_server(home, config, desks, workers, stages, records, follower, entrance, accounts)
        web = await open_web(stack, home, config, desks, ground, workers, stages, records, entrance)
        await server.start()
        log_retention = make_log_retention(home, config, rules, workers.rulebook, records)
        works = (_retention(ground, rules, workers).run(), log_retention.run(), follower.run(), accounts.run())
        others = (stages.limits.meter.run(), *workers.ruling.works(), *entrance.works(), *telemetry.works())
        tasks = [asyncio.create_task(each) for each in (*works, *others)]
        try:
            yield Gateway(
                bound=server.bound,
                web_address=web.address,
                entrance=entrance,
                desk=desk,
                sandbox=workers.sandbox,
                ruling=workers.ruling,
                registry=workers.registry,
                isolation=isolation,
                records=records,
                constraints=stages.held,
                limits=stages.limits,
                recovered=recovered,
            )
        finally:
            await _stop(tasks, server, web, desk, stages, accounts, drain_seconds)
            with suppress(AuditUnwitnessedError):  # it is signed, and a stop waits for no witness that is not there
                await _record(records.audit, EventType.GATEWAY_STOPPED, {})


def _prepared(config: Config) -> Isolation:
    """Return what will bind every worker, where configuration and kernel let a gateway run at all.

    Raises:
        ConfigurationError: they do not.
    """
    config.check_listen()
    isolation = of_this_kernel()
    config.workers.check(isolation)
    # An event loop that never idles gives the interpreter up only every switch interval; at the default of 5 ms the
    # audit writer's thread starves, and with it everything that waits for a checkpoint (docs/adr/0004).
    sys.setswitchinterval(_SWITCH_SECONDS)
    return isolation


def _entrance(stack: AsyncExitStack, home: Path, config: Config, clock: Clock) -> Entrance:
    """Return who comes in, and where; a certificate that is no good ends the start before anything has begun."""
    entrance = Entrance.of(home, config, clock)
    stack.push_async_callback(entrance.close)
    return entrance


def _accounts(config: Config, records: Records, entrance: Entrance) -> Accounts:
    """Return what counts calls for the log."""
    per_minute = config.audit.principal_events_per_minute_max
    return Accounts(records.audit, records.clock, entrance.refusals, events_per_minute=per_minute)


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
    drain_seconds: float,
) -> None:
    """Take nothing new, let what is at work come to an end, and go away."""
    web.readiness.stopping = True
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await server.not_serving()
    await desk.close(drain_seconds)
    await stages.observers.close(OBSERVERS_DRAIN_SECONDS)
    await server.stop(_STOP_GRACE_SECONDS)
    accounts.flush()  # calls that have ended by now


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


async def _record(audit: AuditLog, event: EventType, details: JsonObject) -> None:
    await audit.durable(audit.append(event, actor=_ACTOR, target=_ACTOR, details=details))
