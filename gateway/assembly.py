"""Wires the gateway: the one module that knows every part, and the order in which they start and stop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from typing import Final

from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.breaker import Breakers
from engine.clock import Clock, SystemClock
from engine.exclusive import ExclusiveKeys
from engine.slots import MEMBERS_MAX, SharedSlots
from engine.values import JsonObject
from gateway.admission import Admission
from gateway.config import Config
from gateway.constrained.data import policy_rule
from gateway.constrained.holding import Holding
from gateway.effects.blocking import BlockingPool
from gateway.effects.commands import kernel
from gateway.effects.commands.run import CommandRun
from gateway.effects.commands.runner import PRELOAD as COMMANDS_PRELOAD
from gateway.effects.commands.runner import CommandRunner
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.http import HttpLimits, HttpRequest, tls_context
from gateway.effects.performer import Effects, Performer
from gateway.effects.resolver import SystemResolver
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.effects.timer import TimerSleep
from gateway.effects.workspace import WorkspaceLimits, Workspaces
from gateway.errors import ConfigurationError
from gateway.events import EventType
from gateway.hook_failures import HookFailures
from gateway.identity import TokenTable
from gateway.missions.approvals import Approvals
from gateway.missions.children import Children
from gateway.missions.desk import Desk
from gateway.missions.execution import Ground
from gateway.missions.recovery import Recovered
from gateway.missions.retention import Retention
from gateway.observing import Observers
from gateway.performing import Performing
from gateway.pipeline import StepPipeline
from gateway.policy.bundle import Bundle
from gateway.policy.engine import ENTRYPOINTS
from gateway.policy.pool import WorkerPolicy
from gateway.registry.registry import Registry, RegistryParts
from gateway.replay.home import HomeFiles
from gateway.replay.replays import Replays
from gateway.rpc.gate import PolicyGate
from gateway.rpc.log_reader import LogReader
from gateway.rpc.server import Ports, RpcServer
from gateway.rules import Rules, load_rules
from gateway.sandbox.fleet import Fleet, all_of
from gateway.sandbox.hooks import Hook
from gateway.sandbox.pool import PRELOAD as SANDBOX_PRELOAD
from gateway.sandbox.version import engine_version
from gateway.sanitizer.schema import ParameterSchema
from gateway.screening import Screening
from gateway.store.store import Store
from gateway.vault.master import MasterSource
from gateway.vault.reader import VaultReader
from gateway.vault.step_secrets import Secrets
from gateway.workers.isolation import Isolation, of_this_kernel
from gateway.workers.supervisor import Zygote

KEY_FILE: Final = "keys/log.key"
AUDIT_FOLDER: Final = "audit"
STORE_FILE: Final = "missions.db"
DRAIN_SECONDS: Final = 10.0
_STOP_GRACE_SECONDS: Final = 2.0
_OBSERVERS_DRAIN_SECONDS: Final = 2.0
_SWITCH_SECONDS: Final = 1e-4
_ACTOR: Final = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves. `address` is where."""

    address: str
    desk: Desk
    audit: AuditLog
    sandbox: Fleet
    policy: WorkerPolicy
    bundle: Bundle
    registry: Registry
    verifier_key: str
    isolation: Isolation  # what binds every worker
    constraints: Holding  # its `document` says what every rule has used
    recovered: Recovered  # missions that an earlier process left unfinished

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The hooks in force."""
        return self.registry.hooks


@asynccontextmanager
async def running_gateway(
    home: Path, config: Config, *, clock: Clock | None = None, drain_seconds: float = DRAIN_SECONDS
) -> AsyncIterator[Gateway]:
    """Start everything, yield the serving gateway, and stop it in the opposite order.

    Raises:
        EngineError: it cannot start; what had been started is stopped again.
    """
    config.check_listen()
    isolation = of_this_kernel()
    config.workers.check(isolation)
    # An event loop that never idles gives the interpreter up only every switch interval; at the default of 5 ms the
    # audit writer's thread starves, and with it everything that waits for a checkpoint (docs/adr/0004).
    sys.setswitchinterval(_SWITCH_SECONDS)
    async with AsyncExitStack() as stack:
        rules = load_rules(home, config)
        _check_commands(rules)
        records = await _open_records(stack, home, clock or SystemClock(), rules)  # it knows which hooks are enabled
        workers = await _start_workers(stack, config, rules, records)
        await _record_start(records.audit, rules, workers, isolation)
        stages = _stages(stack, home, config, rules, workers, records)
        desk, ground = _desk(stack, config, rules, workers, stages, records)
        stack.push_async_callback(desk.close, 0.0)  # where what follows fails: missions that go on need what they use
        recovered = await desk.recover()
        server = _server(home, config, desk, workers, stages, records)
        await server.start(config.listen)
        pruning = asyncio.create_task(Retention(ground, days=rules.retention_days).run())
        try:
            yield Gateway(
                address=server.address,
                desk=desk,
                audit=records.audit,
                sandbox=workers.sandbox,
                policy=workers.policy,
                bundle=rules.bundle,
                registry=workers.registry,
                verifier_key=records.verifier_key,
                isolation=isolation,
                constraints=stages.held,
                recovered=recovered,
            )
        finally:
            pruning.cancel()
            await asyncio.wait([pruning])
            await server.not_serving()
            await desk.close(drain_seconds)
            await stages.observers.close(_OBSERVERS_DRAIN_SECONDS)
            await server.stop(_STOP_GRACE_SECONDS)
            await _record(records.audit, EventType.GATEWAY_STOPPED, {})


def home_files(home: Path, verifier_key: str, vault: MasterSource) -> HomeFiles:
    """Return what of a home a replay reads."""
    return HomeFiles(store=home / STORE_FILE, log=home / AUDIT_FOLDER, verifier_key=verifier_key, vault=vault)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workers:
    """The processes in which untrusted code and policy run."""

    sandbox: Fleet
    policy: WorkerPolicy
    registry: Registry
    commands: CommandRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stages:
    """What the stages use beside policy and workers."""

    held: Holding
    screening: Screening
    observers: Observers
    secrets: Secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """What survives the process."""

    audit: AuditLog
    store: Store
    workspaces: Workspaces
    verifier_key: str
    clock: Clock


async def _start_workers(stack: AsyncExitStack, config: Config, rules: Rules, records: _Records) -> _Workers:
    """Compile every hook in the jail, then start the workers of sandbox and policy side by side."""
    # Policy workers import their engine after the fork: sandbox workers come from the same zygote, and must inherit
    # neither its code nor the address space that its allocator takes.
    preload = (*SANDBOX_PRELOAD, *COMMANDS_PRELOAD)
    zygote = await Zygote.start(preload, without=config.workers.accept_without)
    stack.push_async_callback(zygote.close)
    fleet = Fleet(zygote, config.workers.sizes())
    deadlines_ms = {entrypoint: rules.constraints[policy_rule(entrypoint)].wall_ms_max for entrypoint in ENTRYPOINTS}
    policy = WorkerPolicy(zygote, rules.bundle, config.workers.policy, deadlines_ms=deadlines_ms)
    registry = Registry(
        RegistryParts(
            store=records.store.hooks,
            audit=records.audit,
            fleet=fleet,
            base=rules.base,
            publishers=rules.publishers,
            compose=rules.compose,
        )
    )
    stack.push_async_callback(fleet.close)
    stack.push_async_callback(registry.close)
    stack.push_async_callback(policy.close)
    await all_of((registry.start(), policy.start()))
    runner = CommandRunner(zygote)
    stack.push_async_callback(runner.close)
    return _Workers(sandbox=fleet, policy=policy, registry=registry, commands=runner)


def _stages(
    stack: AsyncExitStack, home: Path, config: Config, rules: Rules, workers: _Workers, records: _Records
) -> _Stages:
    """Return what holds rules to their constraints, runs hooks beside the steps' own, and keeps secrets.

    What observers have not seen when all else has ended waits; a damaged vault says so when it is used.
    """
    held = Holding.of(
        profiles=rules.profiles,
        rules=rules.constraints,
        quota=rules.quota,
        breakers=config.breakers.settings(),
        policy=workers.policy,
        audit=records.audit,
        clock=records.clock,
        chance=SystemRandom().random,
    )
    failures = HookFailures(records.audit, records.clock)
    observers = Observers(held.runs, failures)
    stack.push_async_callback(observers.close, _OBSERVERS_DRAIN_SECONDS)
    vault = VaultReader(config.secrets.source(home))
    stack.callback(vault.close)
    return _Stages(
        held=held,
        screening=Screening(held.runs, failures, records.audit, records.clock),
        observers=observers,
        secrets=Secrets(vault, rules.secrets),
    )


async def _open_records(stack: AsyncExitStack, home: Path, clock: Clock, rules: Rules) -> _Records:
    """Open log, store and workspaces; each verifies what it finds, and refuses what it cannot trust."""
    signer = Ed25519Signer.load(home / KEY_FILE)
    audit = await asyncio.to_thread(AuditLog.open, home / AUDIT_FOLDER, signer=signer, clock=clock)
    stack.push_async_callback(audit.close)
    store = await asyncio.to_thread(Store.open, home / STORE_FILE, clock=clock)
    stack.push_async_callback(store.close)
    workspaces = Workspaces.open(home, limits=WorkspaceLimits.of(rules.limits.default))
    stack.callback(workspaces.close)
    return _Records(audit=audit, store=store, workspaces=workspaces, verifier_key=signer.verifier_key(), clock=clock)


def _server(home: Path, config: Config, desk: Desk, workers: _Workers, stages: _Stages, records: _Records) -> RpcServer:
    """Return the server, which does not listen yet."""
    files = home_files(home, records.verifier_key, config.secrets.source(home))
    return RpcServer(
        Ports(
            desk=desk,
            hooks=workers.registry,
            gate=PolicyGate(stages.held.policy, records.audit),
            audit=LogReader(records.audit, (records.verifier_key,)),
            replays=Replays(files, records.store, records.audit, without=config.workers.accept_without),
            tokens=TokenTable([token.entry() for token in config.tokens]),
            anonymous=config.anonymous,
            limits=config.limits.mission_limits(),
        )
    )


def _desk(
    stack: AsyncExitStack, config: Config, rules: Rules, workers: _Workers, stages: _Stages, records: _Records
) -> tuple[Desk, Ground]:
    """Return the desk, which runs nothing yet, and what its missions stand on."""
    approvals, children = Approvals(records.store, records.audit, records.clock), Children(records.store)
    waits: dict[str, Performer] = {"approval.request": approvals, "mission.run": children}
    pipeline = _pipeline(stack, config, rules, workers, stages, records, waits)
    ground = _ground(config, records, pipeline, approvals)
    admission = Admission(
        hooks=workers.registry,
        levels=rules.levels,
        policy=stages.held.policy,
        limits=ground.limits,
        sanitizer=stages.held.sanitizer,
        screening=stages.screening,
        observers=stages.observers,
        secrets=stages.secrets,
    )
    running_max = config.limits.missions_running_max
    return Desk(admission=admission, ground=ground, children=children, running_max=running_max), ground


def _pipeline(
    stack: AsyncExitStack,
    config: Config,
    rules: Rules,
    workers: _Workers,
    stages: _Stages,
    records: _Records,
    waits: Mapping[str, Performer],
) -> StepPipeline:
    """Return stages 4 to 7; `waits` are the operations that wait for people and for other missions."""
    schemas = {
        op: ParameterSchema.compile(schema, addresses=rules.addresses) for op, schema in ARGUMENT_SCHEMAS.items()
    }
    return StepPipeline(
        hooks=workers.registry,
        profiles=rules.profiles,
        policy=stages.held.policy,
        sanitizer=stages.held.sanitizer,
        runs=stages.held.runs,
        screening=stages.screening,
        observers=stages.observers,
        performing=Performing(_effects(stack, rules, workers.commands, waits), records.audit, rules.limits),
        effect_schemas=schemas,
        breakers=Breakers(config.breakers.settings(), records.clock),
        audit=records.audit,
        clock=records.clock,
        secrets=stages.secrets,
    )


def _ground(config: Config, records: _Records, pipeline: StepPipeline, approvals: Approvals) -> Ground:
    """Return what every mission stands on."""
    return Ground(
        pipeline=pipeline,
        store=records.store,
        audit=records.audit,
        workspaces=records.workspaces,
        approvals=approvals,
        clock=records.clock,
        limits=config.limits.mission_limits(),
        # How many missions run is the desk's to limit. More than that are left over where the limit was lowered.
        slots=SharedSlots(config.limits.steps_running_max, members_max=MEMBERS_MAX),
        keys=ExclusiveKeys(waiting_max=MEMBERS_MAX),
    )


def _effects(stack: AsyncExitStack, rules: Rules, commands: CommandRunner, waits: Mapping[str, Performer]) -> Effects:
    """Return every operation of this gateway; what blocks has threads of its own, a bounded number of them."""
    disk = BlockingPool("files", threads=4, waiting_max=4_096)
    names = BlockingPool("names", threads=4, waiting_max=256)
    stack.callback(disk.close)
    stack.callback(names.close)
    return Effects(
        {
            "file.write": FileWrite(disk, FileLimits()),
            "file.read": FileRead(disk, FileLimits()),
            "http.request": HttpRequest(rules.addresses, SystemResolver(names), tls_context(), HttpLimits()),
            "timer.sleep": TimerSleep(),
            "command.run": CommandRun(rules.commands, commands, disk),
            **waits,
        }
    )


def _check_commands(rules: Rules) -> None:
    """Refuse to open commands on a kernel that cannot hold them; nothing in the configuration allows it."""
    if rules.commands and (lacking := kernel.missing()):
        raise ConfigurationError(f"commands in data.gateway.config need {lacking}", code="config.kernel")


async def _record_start(audit: AuditLog, rules: Rules, workers: _Workers, isolation: Isolation) -> None:
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
