"""How the parts of a gateway are put together; `gateway.assembly` has the order in which they start and stop."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from typing import Final

from engine.breaker import Breakers
from engine.exclusive import ExclusiveKeys
from engine.slots import MEMBERS_MAX, SharedSlots
from gateway.admission import Admission
from gateway.auditing.follower import IndexFollower
from gateway.auditing.queries import EventQueries
from gateway.bundles.bundles import Bundles
from gateway.config import Config
from gateway.consent import Consent
from gateway.constrained.holding import Holding
from gateway.effects.commands.runner import PRELOAD as COMMANDS_PRELOAD
from gateway.effects.commands.runner import CommandRunner
from gateway.effects.performer import Performer
from gateway.effects.workspace import WorkspaceLimits
from gateway.entrance import Entrance
from gateway.errors import ConfigurationError
from gateway.folders import AUDIT_FOLDER, STORE_FILE
from gateway.health import Component, Health
from gateway.hook_failures import HookFailures
from gateway.limits.holding import Limits
from gateway.missions.approvals import Approvals
from gateway.missions.children import Children
from gateway.missions.desk import Desk
from gateway.missions.execution import Ground
from gateway.missions.people import PeopleDesk
from gateway.missions.subject_erasure import SubjectErasure
from gateway.observing import Observers
from gateway.operations import operations
from gateway.performing import Performing
from gateway.pipeline import StepPipeline
from gateway.records import Records
from gateway.registry.registry import Registry, RegistryParts
from gateway.registry.visible import VisibleHooks
from gateway.reloading import Reloader
from gateway.replay.home import HomeFiles
from gateway.replay.replays import Replays
from gateway.reusing import KeptResults, Reusing
from gateway.rpc.accounts import Accounts
from gateway.rpc.gate import PolicyGate
from gateway.rpc.log_reader import LogReader, SubjectNames
from gateway.rpc.probe import passing
from gateway.rpc.server import Ports, RpcServer
from gateway.rulebook import Rulebook
from gateway.rules import Rules, Site
from gateway.ruling import Ruling, RulingParts, start_ruling
from gateway.sandbox.fleet import Fleet
from gateway.sandbox.pool import PRELOAD as SANDBOX_PRELOAD
from gateway.screening import Screening
from gateway.statistics_desk import StatisticsDesk
from gateway.telemetry.opening import Telemetry
from gateway.vault.master import MasterSource
from gateway.vault.reader import VaultReader
from gateway.vault.step_secrets import Secrets
from gateway.workers.supervisor import Zygote

OBSERVERS_DRAIN_SECONDS: Final = 2.0
_ADOPTED_LIMITS: Final = ("principal", "tenant", "tenants", "strangers", "shedding", "streams_open_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The processes in which untrusted code and policy run."""

    sandbox: Fleet
    ruling: Ruling
    registry: Registry
    commands: CommandRunner

    @property
    def rulebook(self) -> Rulebook:
        """The bundle in force."""
        return self.ruling.rulebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What the stages use beside policy and workers, and what calls and missions are held to."""

    held: Holding
    screening: Screening
    observers: Observers
    secrets: Secrets
    telemetry: Telemetry
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Desks:
    """What the outside asks of."""

    missions: Desk
    people: PeopleDesk


async def start_workers(
    stack: AsyncExitStack, home: Path, site: Site, rules: Rules, bundles: Bundles, records: Records
) -> Workers:
    """Compile every hook in the jail, then start the workers of sandbox and policy side by side."""
    # Policy workers import their engine after the fork: sandbox workers come from the same zygote, and must inherit
    # neither its code nor the address space that its allocator takes.
    preload = (*SANDBOX_PRELOAD, *COMMANDS_PRELOAD)
    config = site.config
    zygote = await Zygote.start(preload, without=config.workers.accept_without)
    stack.push_async_callback(zygote.close)
    fleet = Fleet(zygote, config.workers.sizes())
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
    await registry.start()
    parts = RulingParts(
        home=home,
        site=site,
        bundles=bundles,
        zygote=zygote,
        registry=registry,
        audit=records.audit,
        clock=records.clock,
    )
    ruling = await start_ruling(stack, rules, parts)
    runner = CommandRunner(zygote)
    stack.push_async_callback(runner.close)
    return Workers(sandbox=fleet, ruling=ruling, registry=registry, commands=runner)


def make_stages(
    stack: AsyncExitStack,
    home: Path,
    config: Config,
    rules: Rules,
    workers: Workers,
    records: Records,
    telemetry: Telemetry,
) -> Stages:
    """Return what holds rules to their constraints, runs hooks beside the steps' own, and keeps secrets.

    What observers have not seen when all else has ended waits; a damaged vault says so when it is used.
    """
    held = Holding.of(
        profiles=rules.profiles,
        rules=rules.constraints,
        quota=rules.quota,
        breakers=config.breakers.settings(),
        policy=workers.ruling.policy,
        audit=records.audit,
        clock=records.clock,
        chance=SystemRandom().random,
    )
    workers.rulebook.follow(lambda rules: held.adopt(rules.profiles, rules.constraints, rules.quota))
    failures = HookFailures(records.audit, records.clock)
    observers = Observers(held.runs, failures)
    stack.push_async_callback(observers.close, OBSERVERS_DRAIN_SECONDS)
    vault = VaultReader(config.secrets.source(home))
    stack.callback(vault.close)
    secrets = Secrets(vault, rules.secrets)
    workers.rulebook.follow(lambda rules: secrets.adopt(rules.secrets))
    return Stages(
        held=held,
        screening=Screening(held.runs, failures, records.audit, records.clock),
        observers=observers,
        secrets=secrets,
        telemetry=telemetry,
        limits=Limits.of(config.limits.call_settings(), records.clock, SystemRandom().random),
    )


def make_server(
    home: Path,
    config: Config,
    desks: Desks,
    workers: Workers,
    stages: Stages,
    records: Records,
    follower: IndexFollower,
    entrance: Entrance,
    accounts: Accounts,
) -> RpcServer:
    """Return the server, which does not listen yet."""
    files = home_files(home, records.verifier_key, config.secrets.source(home))
    folder = home / AUDIT_FOLDER
    hooks = VisibleHooks(workers.registry, workers.rulebook.current.site_tenants)
    workers.rulebook.follow(lambda rules: hooks.adopt(rules.site_tenants))
    return RpcServer(
        Ports(
            desk=desks.missions,
            hooks=hooks,
            policy=workers.ruling.desk,
            privacy=desks.missions,
            people=desks.people,
            statistics=StatisticsDesk(records.statistics, stages.held.enforcer.statistics, records.clock),
            gate=PolicyGate(stages.held.policy, records.audit, records.clock, accounts),
            audit=LogReader(records.audit, records.verifier_keys),
            events=EventQueries(folder, records.audit, follower),
            names=SubjectNames(records.subjects),
            replays=Replays(files, records.store, records.audit, without=config.workers.accept_without),
            authenticator=entrance.authenticator,
            refusals=entrance.refusals,
            subjects=records.subjects,
            limits=config.limits.mission_limits(),
            calls=stages.limits.calls,
            transport=config.limits.transport(),
            clock=records.clock,
            queues=passing(workers.rulebook.turn, records.store),
            watch=stages.telemetry.watch,
        ),
        entrance.listening,
    )


def make_desk(
    stack: AsyncExitStack,
    config: Config,
    rules: Rules,
    workers: Workers,
    stages: Stages,
    records: Records,
    accounts: Accounts,
    reloader: Reloader,
) -> tuple[Desks, Ground]:
    """Return the desks, of which that of missions runs nothing yet, and what missions stand on."""
    approvals, children = (
        Approvals(records.store, records.audit, records.clock, records.subjects),
        Children(records.store),
    )
    waits: dict[str, Performer] = {"approval.request": approvals, "mission.run": children}
    consent = Consent(
        stages.held.policy, approvals, records.clock, lambda bundle: workers.rulebook.of(bundle).approvals
    )
    results = _results(config, rules, records)
    reusing = Reusing(stages.held.runs, results, config.reuse.kinds)
    pipeline = _pipeline(stack, config, rules, workers, stages, records, waits, consent, reusing)
    ground = _ground(config, workers, stages, records, pipeline, approvals, consent, results)
    admission = Admission(
        hooks=workers.registry,
        levels=rules.levels,
        policy=stages.held.policy,
        limits=ground.limits,
        sanitizer=stages.held.sanitizer,
        screening=stages.screening,
        observers=stages.observers,
        secrets=stages.secrets,
        clock=records.clock,
        watch=stages.telemetry.watch,
    )
    workers.rulebook.follow(lambda rules: admission.adopt(rules.levels))
    running_max = config.limits.missions_running_max
    desk = Desk(
        admission=admission,
        ground=ground,
        children=children,
        running_max=running_max,
        quotas=stages.limits.missions,
        decisions=workers.ruling.erasure,
        log=records.audit,
    )
    reloader.adopting(
        "limits.missions_running_max", adopt=lambda config: desk.adopt(config.limits.missions_running_max)
    )
    reloader.adopting(
        *(f"limits.{name}" for name in _ADOPTED_LIMITS),
        adopt=lambda config: stages.limits.adopt(config.limits.call_settings()),
    )
    erasure = SubjectErasure(
        records.subjects, records.store.subjects, records.audit, desk, workers.ruling.erasure, accounts.settle
    )
    people = PeopleDesk(records.subjects, erasure, records.audit)
    stack.push_async_callback(people.close)
    return Desks(missions=desk, people=people), ground


def _pipeline(
    stack: AsyncExitStack,
    config: Config,
    rules: Rules,
    workers: Workers,
    stages: Stages,
    records: Records,
    waits: Mapping[str, Performer],
    consent: Consent,
    reusing: Reusing,
) -> StepPipeline:
    """Return stages 4 to 7; `waits` are the operations that wait for people and for other missions."""
    performing = Performing(
        operations(stack, rules, workers.rulebook, workers.commands, waits, stages.telemetry.outgoing),
        records.audit,
        rules.limits,
    )
    pipeline = StepPipeline(
        hooks=workers.registry,
        profiles=lambda bundle: workers.rulebook.of(bundle).profiles,
        policy=stages.held.policy,
        sanitizer=stages.held.sanitizer,
        runs=stages.held.runs,
        reusing=reusing,
        screening=stages.screening,
        observers=stages.observers,
        performing=performing,
        consent=consent,
        effect_schemas=rules.effect_schemas,
        breakers=Breakers(config.breakers.settings(), records.clock),
        audit=records.audit,
        clock=records.clock,
        secrets=stages.secrets,
        watch=stages.telemetry.watch,
    )
    workers.rulebook.follow(lambda rules: performing.adopt(rules.limits))
    workers.rulebook.follow(lambda rules: pipeline.adopt(rules.effect_schemas))
    return pipeline


def _ground(
    config: Config,
    workers: Workers,
    stages: Stages,
    records: Records,
    pipeline: StepPipeline,
    approvals: Approvals,
    consent: Consent,
    results: KeptResults | None,
) -> Ground:
    """Return what every mission stands on."""
    records.workspaces.adopt(WorkspaceLimits.of(workers.rulebook.current.limits.default))
    workers.rulebook.follow(lambda rules: records.workspaces.adopt(WorkspaceLimits.of(rules.limits.default)))
    quotas = stages.limits.missions
    slots = SharedSlots(config.limits.steps_running_max, members_max=MEMBERS_MAX, caps=quotas.slots)
    quotas.follow(slots.adopt)
    return Ground(
        pipeline=pipeline,
        store=records.store,
        audit=records.audit,
        workspaces=records.workspaces,
        subjects=records.subjects,
        approvals=approvals,
        consent=consent,
        clock=records.clock,
        limits=config.limits.mission_limits(),
        # How many missions run is the desk's to limit. More than that are left over where the limit was lowered.
        slots=slots,
        keys=ExclusiveKeys(waiting_max=MEMBERS_MAX),
        watch=stages.telemetry.watch,
        results=results,
    )


def _results(config: Config, rules: Rules, records: Records) -> KeptResults | None:
    """Return where results of pure steps are kept; None where the configuration names no kind.

    Raises:
        ConfigurationError: `config.reuse`, a kind acts on the world: what it did would not be done again.
    """
    reuse = config.reuse
    for active in rules.base:
        if active.hook.name in reuse.kinds and (active.hook.kind != "step" or active.hook.effects):
            message = f"reuse.kinds: {active.hook.name} is no step kind without effects"
            raise ConfigurationError(message, code="config.reuse")
    if not reuse.kinds:
        return None
    return KeptResults(
        now=records.clock.monotonic,
        ttl_seconds=reuse.ttl_seconds,
        entries_max=reuse.entries_max,
        bytes_max=reuse.bytes_max,
        tenants_max=reuse.tenants_max,
        by_use=reuse.eviction == "used",
    )


def home_files(home: Path, verifier_key: str, vault: MasterSource) -> HomeFiles:
    """Return what of a home a replay reads."""
    return HomeFiles(store=home / STORE_FILE, log=home / AUDIT_FOLDER, verifier_key=verifier_key, vault=vault)


def make_health(workers: Workers, records: Records) -> Health:
    """Return what looks at the parts without which nothing can be done."""
    return Health(
        {
            Component.AUDIT: lambda: "" if records.audit.alive else "audit.dead",
            Component.STORE: lambda: "store.dead" if records.store.dead else "",
            Component.POLICY: lambda: workers.ruling.unable,
            Component.SANDBOX: lambda: "" if workers.sandbox.able else "sandbox.unavailable",
        },
        records.clock,
    )
