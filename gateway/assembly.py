"""Wires the gateway: the one module that knows every part, and the order in which they start and stop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from secrets import SystemRandom
from typing import Final, TypeVar

from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.breaker import Breakers
from engine.clock import Clock, SystemClock
from engine.exclusive import ExclusiveKeys
from engine.slots import MEMBERS_MAX, SharedSlots
from engine.values import JsonObject
from gateway.addresses import AddressPolicy
from gateway.config import Config
from gateway.constrained.data import policy_rule
from gateway.constrained.holding import Holding
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.http import HttpLimits, HttpRequest, tls_context
from gateway.effects.performer import Effects, Performer
from gateway.effects.resolver import SystemResolver
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.effects.timer import TimerSleep
from gateway.effects.workspace import Workspaces
from gateway.errors import ConfigurationError, HookRefusedError
from gateway.events import EventType
from gateway.identity import TokenTable
from gateway.missions.approvals import Approvals
from gateway.missions.children import Children
from gateway.missions.desk import Desk
from gateway.missions.execution import Ground
from gateway.missions.recovery import Recovered
from gateway.missions.retention import Retention
from gateway.performing import Performing
from gateway.pipeline import Admission, StepPipeline
from gateway.policy.bundle import Bundle
from gateway.policy.engine import ENTRYPOINTS
from gateway.policy.pool import WorkerPolicy
from gateway.rpc.gate import PolicyGate
from gateway.rpc.server import Ports, RpcServer
from gateway.rules import Rules, load_rules, named
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import compile_module
from gateway.sandbox.hooks import Hook
from gateway.sandbox.pool import PRELOAD as SANDBOX_PRELOAD
from gateway.sandbox.pool import PooledSandbox
from gateway.sanitizer.schema import ParameterSchema
from gateway.store.store import Store
from gateway.workers.supervisor import Zygote

KEY_FILE: Final = "keys/log.key"
AUDIT_FOLDER: Final = "audit"
STORE_FILE: Final = "missions.db"
DRAIN_SECONDS: Final = 10.0
_STOP_GRACE_SECONDS: Final = 2.0
_SWITCH_SECONDS: Final = 1e-4
_SANDBOX_DEPTH: Final = (
    4  # runs handed to one worker: it need not wait for us between two, and only the first is blamed
)
_ACTOR: Final = "gateway"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves. `address` is where."""

    address: str
    desk: Desk
    audit: AuditLog
    sandbox: PooledSandbox
    policy: WorkerPolicy
    bundle: Bundle
    hooks: tuple[Hook, ...]
    verifier_key: str
    constraints: Holding  # its `document` says what every rule has used
    recovered: Recovered  # missions that an earlier process left unfinished


@dataclass(frozen=True, slots=True)
class LogReader:
    """The audit log as the audit service reads it."""

    log: AuditLog
    keys: tuple[str, ...]

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""
        return self.log.checkpoint()

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield covered lines without LF."""
        return self.log.read(start, count)

    def verifier_keys(self) -> tuple[str, ...]:
        """Return the C2SP verifier keys."""
        return self.keys


@asynccontextmanager
async def running_gateway(
    home: Path, config: Config, *, clock: Clock | None = None, drain_seconds: float = DRAIN_SECONDS
) -> AsyncIterator[Gateway]:
    """Start everything, yield the serving gateway, and stop it in the opposite order.

    Raises:
        EngineError: it cannot start; what had been started is stopped again.
    """
    _check_listen(config)
    # An event loop that never idles gives the interpreter up only every switch interval; at the default of 5 ms the
    # audit writer's thread starves, and with it everything that waits for a checkpoint (docs/adr/0004).
    sys.setswitchinterval(_SWITCH_SECONDS)
    async with AsyncExitStack() as stack:
        rules = load_rules(home, config)
        workers = await _start_workers(stack, config, rules)
        records = await _open_records(stack, home, clock or SystemClock())
        approvals, children = Approvals(records.store, records.audit, records.clock), Children(records.store)
        held = _held(config, rules, workers, records)
        pipeline = _pipeline(
            stack, config, rules, workers, records, held, {"approval.request": approvals, "mission.run": children}
        )
        ground = _ground(config, records, pipeline, approvals)
        desk = Desk(
            admission=Admission(kinds=rules.kinds, policy=held.policy, limits=ground.limits, sanitizer=held.sanitizer),
            ground=ground,
            children=children,
            running_max=config.limits.missions_running_max,
        )
        stack.push_async_callback(desk.close, 0.0)  # where what follows fails: missions that go on need what they use
        recovered = await desk.recover()
        await _record(records.audit, EventType.GATEWAY_STARTED, {"bundle": rules.bundle.digest, "hooks": rules.pins()})
        server = _server(config, desk, held, records)
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
                hooks=rules.hooks,
                verifier_key=records.verifier_key,
                constraints=held,
                recovered=recovered,
            )
        finally:
            pruning.cancel()
            await asyncio.wait([pruning])
            await server.not_serving()
            await desk.close(drain_seconds)
            await server.stop(_STOP_GRACE_SECONDS)
            await _record(records.audit, EventType.GATEWAY_STOPPED, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workers:
    """The processes in which untrusted code and policy run."""

    sandbox: PooledSandbox
    policy: WorkerPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """What survives the process."""

    audit: AuditLog
    store: Store
    workspaces: Workspaces
    verifier_key: str
    clock: Clock


async def _compile(zygote: Zygote, hook: Hook) -> Artefact:
    try:
        return await compile_module(zygote, hook.module)
    except HookRefusedError as error:
        raise named(error, f"hook {hook.name}", "its module") from error


async def _all(works: Iterable[Awaitable[_T]]) -> list[_T]:
    """Return what all return, or raise what the first of them has raised, once every one of them has ended.

    What `asyncio.gather` leaves running where one fails would find the zygote closed under its feet.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


async def _start_workers(stack: AsyncExitStack, config: Config, rules: Rules) -> _Workers:
    """Compile every hook in the jail, then start the workers of sandbox and policy side by side."""
    # Policy workers import their engine after the fork: sandbox workers come from the same zygote, and must inherit
    # neither its code nor the address space that its allocator takes.
    zygote = await Zygote.start(SANDBOX_PRELOAD)
    stack.push_async_callback(zygote.close)
    compiled = await _all(_compile(zygote, hook) for hook in rules.hooks)
    modules = {hook.name: artefact for hook, artefact in zip(rules.hooks, compiled, strict=True)}
    sandbox = PooledSandbox(zygote, modules, config.workers.sandbox, depth=_SANDBOX_DEPTH)
    deadlines_ms = {entrypoint: rules.constraints[policy_rule(entrypoint)].wall_ms_max for entrypoint in ENTRYPOINTS}
    policy = WorkerPolicy(zygote, rules.bundle, config.workers.policy, deadlines_ms=deadlines_ms)
    stack.push_async_callback(sandbox.close)
    stack.push_async_callback(policy.close)
    await _all((sandbox.start(), policy.start()))
    return _Workers(sandbox=sandbox, policy=policy)


async def _open_records(stack: AsyncExitStack, home: Path, clock: Clock) -> _Records:
    """Open log, store and workspaces; each verifies what it finds, and refuses what it cannot trust."""
    signer = Ed25519Signer.load(home / KEY_FILE)
    audit = await asyncio.to_thread(AuditLog.open, home / AUDIT_FOLDER, signer=signer, clock=clock)
    stack.push_async_callback(audit.close)
    store = await asyncio.to_thread(Store.open, home / STORE_FILE, clock=clock)
    stack.push_async_callback(store.close)
    workspaces = Workspaces.open(home)
    stack.callback(workspaces.close)
    return _Records(audit=audit, store=store, workspaces=workspaces, verifier_key=signer.verifier_key(), clock=clock)


def _held(config: Config, rules: Rules, workers: _Workers, records: _Records) -> Holding:
    """Return what holds sanitizer, policy and modules to their constraints."""
    return Holding.of(
        profiles=rules.profiles,
        rules=rules.constraints,
        quota=rules.quota,
        breakers=config.breakers.settings(),
        policy=workers.policy,
        audit=records.audit,
        clock=records.clock,
        chance=SystemRandom().random,
    )


def _server(config: Config, desk: Desk, held: Holding, records: _Records) -> RpcServer:
    """Return the server, which does not listen yet."""
    return RpcServer(
        Ports(
            desk=desk,
            gate=PolicyGate(held.policy, records.audit),
            audit=LogReader(records.audit, (records.verifier_key,)),
            tokens=TokenTable([token.entry() for token in config.tokens]),
            anonymous=config.anonymous,
            limits=config.limits.mission_limits(),
        )
    )


def _pipeline(
    stack: AsyncExitStack,
    config: Config,
    rules: Rules,
    workers: _Workers,
    records: _Records,
    held: Holding,
    waits: Mapping[str, Performer],
) -> StepPipeline:
    """Return stages 4 to 7; `waits` are the operations that wait for people and for other missions."""
    schemas = {
        op: ParameterSchema.compile(schema, addresses=rules.addresses) for op, schema in ARGUMENT_SCHEMAS.items()
    }
    return StepPipeline(
        kinds=rules.kinds,
        profiles=rules.profiles,
        policy=held.policy,
        sandbox=workers.sandbox,
        sanitizer=held.sanitizer,
        runs=held.runs,
        performing=Performing(_effects(stack, rules.addresses, waits), records.audit),
        effect_schemas=schemas,
        breakers=Breakers(config.breakers.settings(), records.clock),
        audit=records.audit,
        clock=records.clock,
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


def _effects(stack: AsyncExitStack, addresses: AddressPolicy, waits: Mapping[str, Performer]) -> Effects:
    """Return every operation of this gateway; what blocks has threads of its own, a bounded number of them."""
    disk = BlockingPool("files", threads=4, waiting_max=4_096)
    names = BlockingPool("names", threads=4, waiting_max=256)
    stack.callback(disk.close)
    stack.callback(names.close)
    return Effects(
        {
            "file.write": FileWrite(disk, FileLimits()),
            "file.read": FileRead(disk, FileLimits()),
            "http.request": HttpRequest(addresses, SystemResolver(names), tls_context(), HttpLimits()),
            "timer.sleep": TimerSleep(),
            **waits,
        }
    )


def _check_listen(config: Config) -> None:
    """Refuse to carry bearer tokens over a network in the clear."""
    host = config.listen.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"listen: {config.listen} is not a loopback address, and this gateway has no TLS yet: tokens would travel "
            "in the clear; listen on 127.0.0.1 behind something that ends TLS",
            code="config.listen",
        )


async def _record(audit: AuditLog, event: EventType, details: JsonObject) -> None:
    await audit.durable(audit.append(event, actor=_ACTOR, target=_ACTOR, details=details))
