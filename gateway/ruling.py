"""How policy is put together: bundles and their source, the engine that answers, and what goes around its answers.

From the inside out: the engine of one bundle and its cache; the rulebook, which changes the bundle; the shadow, which
is asked beside; the records, which keep what was answered; the dry run, which overrules it.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from engine.audit.log import AuditLog
from engine.clock import Clock
from engine.errors import EngineError
from engine.values import JsonObject, JsonValue
from gateway.bundles.bundles import Bundles
from gateway.bundles.configured import configured_bundles
from gateway.constrained.data import policy_rule
from gateway.decisions.erasing import DecisionErasure
from gateway.decisions.opening import DecisionRecords, DecisionSettings, decision_records
from gateway.decisions.records import Records
from gateway.effects.commands import kernel
from gateway.errors import ConfigurationError, HookRefusedError, PolicyInvalidError
from gateway.events import EventType
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_path
from gateway.policy.cache import CachedEngine
from gateway.policy.dry_run import DryRunPolicy
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, PolicyEngine, StartedEngine
from gateway.policy.pool import WorkerPolicy
from gateway.policy.shadow import Disagreement, ShadowedPolicy
from gateway.policy_desk import PolicyDesk, PolicyDeskParts
from gateway.registry.registry import Registry
from gateway.rulebook import Rulebook
from gateway.rules import Rules, Site, rules_of
from gateway.workers.supervisor import Zygote

if TYPE_CHECKING:
    from gateway.policy.opa.server import OpaServer

OPA_ARCHIVE: Final = "policy/opa/bundle.tar.gz"  # what an OPA beside the gateway may load


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Policy, put together."""

    bundles: Bundles
    rulebook: Rulebook
    policy: PolicyEngine  # what stages and calls ask
    desk: PolicyDesk
    shadow: ShadowedPolicy | None
    erasure: DecisionErasure  # of what is recorded of decisions
    records: DecisionRecords | None  # where anything is recorded

    @property
    def unable(self) -> str:
        """Why nothing can be decided now, as a code; "" where it can, as far as that is known without asking."""
        if not self.rulebook.able:
            return "policy.unavailable"
        return "policy.unrecorded" if self.records is not None and self.records.recorder.broken else ""

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on until it is cancelled, each apart: a shadow that broke would end no questions."""
        return [self.bundles.run(), *([] if self.shadow is None else [self.shadow.run()])]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulingParts:
    """What policy stands on."""

    home: Path
    site: Site
    bundles: Bundles
    zygote: Zygote
    registry: Registry
    audit: AuditLog
    clock: Clock


def checked_rules(bundle: Bundle, site: Site) -> Rules:
    """Return a bundle's rules, unless this gateway cannot do as they say.

    They open commands on a kernel that cannot hold them, which nothing allows; or they prune a log that has no archive,
    which only the configuration allows, by name.
    """
    rules = rules_of(bundle, site)
    if rules.commands and (lacking := kernel.missing()):
        raise ConfigurationError(f"commands in data.gateway.config need {lacking}", code="config.kernel")
    audit = site.config.audit
    if rules.log_days is not None and not audit.archive and not audit.archive_discard:
        message = "retention.log_days needs audit.archive in the configuration, or audit.archive_discard = true"
        raise ConfigurationError(message, code="config.audit_archive")
    return rules


def open_bundles(home: Path, site: Site, audit: AuditLog, clock: Clock) -> Bundles:
    """Return the bundles of a home; nothing is asked yet.

    Raises:
        EngineError: keys, source or history are not in order.
    """

    def check(bundle: Bundle) -> None:
        try:
            checked_rules(bundle, site)
        except PolicyInvalidError:
            raise
        except EngineError as error:  # a hook that does not fit it, say: of the bundle all the same
            raise PolicyInvalidError(error.message, code=error.code) from error

    return configured_bundles(
        home, site.config.policy, audit=audit, clock=clock, chance=SystemRandom().random, check=check
    )


async def first_rules(bundles: Bundles, site: Site) -> Rules:
    """Return the rules of the bundle that decides first.

    Raises:
        EngineError: there is none that may decide; a hook of the configuration that does not fit it is told as such.
    """
    try:
        bundle = await bundles.start()
    except PolicyInvalidError as error:
        if isinstance(error.__cause__, HookRefusedError | ConfigurationError):
            raise error.__cause__ from None
        raise
    return checked_rules(bundle, site)


class _Engines:
    """Makes the engines of bundles, as the configuration wants them."""

    def __init__(self, parts: RulingParts, server: "OpaServer | None") -> None:
        self._home, self._config, self._zygote = parts.home, parts.site.config, parts.zygote
        self._server = server

    def of(self, rules: Rules) -> StartedEngine:
        """Return the engine, with its cache, that answers from a bundle in force."""
        policy, bundle = self._config.policy, rules.bundle
        walls = {entrypoint: rules.constraints[policy_rule(entrypoint)].wall_ms_max for entrypoint in ENTRYPOINTS}
        engine: StartedEngine
        if self._server is None:
            engine = WorkerPolicy(self._zygote, bundle, self._config.workers.policy, deadlines_ms=walls)
        else:
            from gateway.policy.opa.engine import OpaPolicy  # noqa: PLC0415 - its client takes 250 ms to import

            engine = OpaPolicy(
                bundle,
                self._server,
                deadlines_ms=walls,
                export=self._home / OPA_ARCHIVE,
                activation_seconds=policy.opa.activation_seconds,
            )
        return CachedEngine(
            engine,
            entries_max=policy.decisions.cache_entries_max,
            deterministic=bundle.deterministic,
            rpc_reads=bundle.rpc_reads,
        )

    def candidate(self, bundle: Bundle) -> StartedEngine:
        """Return an engine for a bundle that is not in force: always a worker, since an OPA has one bundle.

        Raises:
            PolicyInvalidError: it was accepted for OPA, and regorus would not answer as OPA does.
        """
        return WorkerPolicy(self._zygote, self._vetted(bundle), 1)

    async def explain(self, bundle: Bundle, entrypoint: Entrypoint, document: bytes) -> Mapping[str, JsonValue]:
        """Return why a bundle decides as it does, as `Explanation.document`.

        Raises:
            PolicyInvalidError: as `candidate`; WorkerError: there are no workers to be had.
        """
        from gateway.policy.authoring.laboratory import laboratory  # noqa: PLC0415 - no start has to wait for it

        vetted = self._vetted(bundle)
        async with laboratory(vetted.modules, vetted.document, zygote=self._zygote) as running:
            return await running.explain(bundle.digest, entrypoint, document)

    def _vetted(self, bundle: Bundle) -> Bundle:
        return bundle if self._server is None else Bundle.from_files(bundle.files, engine="regorus", keys=None)


async def start_ruling(stack: AsyncExitStack, rules: Rules, parts: RulingParts) -> Ruling:
    """Start the engine of the first bundle, and all that goes around its answers.

    Raises:
        EngineError: an engine, the records or the shadow's bundle are not in order.
    """
    config = parts.site.config
    engines = _Engines(parts, _server(stack, parts))
    records = await _open_decisions(stack, parts)
    rulebook = await _start_rulebook(stack, rules, parts, engines, records)
    policy: PolicyEngine = rulebook
    shadow = None
    if config.policy.shadow:
        shadow = policy = await _shadowed(stack, policy, parts, engines)
    if records is not None:
        policy = records.around(policy)
    if config.policy.mode == "dry_run":
        policy = DryRunPolicy(policy)
    source = config.secrets.source(parts.home)
    desk = PolicyDesk(
        PolicyDeskParts(
            bundles=parts.bundles,
            policy=rulebook,
            candidate=engines.candidate,
            explain=engines.explain,
            records=lambda: Records.open(parts.home, source, parts.clock),
            engine=config.policy.engine,
            mode=config.policy.mode,
            shadow=shadow,
            cache=lambda: _counts(rulebook),
        )
    )
    erasure = DecisionErasure(parts.home, records, lambda: _decisions(parts, _decision_settings(parts)))
    return Ruling(
        bundles=parts.bundles,
        rulebook=rulebook,
        policy=policy,
        desk=desk,
        shadow=shadow,
        erasure=erasure,
        records=records,
    )


def _server(stack: AsyncExitStack, parts: RulingParts) -> "OpaServer | None":
    """Return the OPA that is to answer, if the configuration names one; no connection is made yet."""
    policy = parts.site.config.policy
    if policy.engine != "opa":
        return None
    from gateway.policy.opa.server import OpaServer  # noqa: PLC0415 - its client takes 250 ms to import
    from gateway.policy.opa.settings import read_settings  # noqa: PLC0415

    server = OpaServer(read_settings(policy.opa, parts.home), clock=parts.clock)
    stack.push_async_callback(server.close)
    return server


async def _start_rulebook(
    stack: AsyncExitStack, rules: Rules, parts: RulingParts, engines: _Engines, records: DecisionRecords | None
) -> Rulebook:
    """Return the rulebook with its first bundle in force, and let bundles change it from now on."""
    bundles = parts.bundles

    def read(bundle: Bundle) -> Rules:
        found = checked_rules(bundle, parts.site)
        if records is not None:
            records.bundles.learn(bundle)  # before it gives the first answer that is recorded
        return found

    def stale() -> bool:
        return parts.site.config.policy.bundles.on_stale == "deny" and bundles.stale

    read(rules.bundle)
    engine = engines.of(rules)
    rulebook = Rulebook(rules, engine, read=read, make=engines.of, hooks=parts.registry, stale=stale)
    stack.push_async_callback(rulebook.close)
    await engine.start()
    bundles.attach(rulebook)
    stack.push_async_callback(bundles.close)
    return rulebook


async def _open_decisions(stack: AsyncExitStack, parts: RulingParts) -> DecisionRecords | None:
    """Open the records of decisions, where anything is to be kept or told."""
    settings = _decision_settings(parts)
    return await stack.enter_async_context(_decisions(parts, settings)) if settings.wanted else None


def _decision_settings(parts: RulingParts) -> DecisionSettings:
    home, decisions = parts.home, parts.site.config.policy.decisions
    log = decisions.log
    return DecisionSettings(
        record=decisions.record,
        kept_days=decisions.kept_days,
        kept_max=decisions.kept_max,
        log_file=home / log.file if log.file else None,
        log_url=log.url,
        log_token_file=home / log.token_file if log.token_file else None,
    )


def _decisions(parts: RulingParts, settings: DecisionSettings) -> AbstractAsyncContextManager[DecisionRecords]:
    """Return the records of decisions, to be opened."""
    source = parts.site.config.secrets.source(parts.home)
    return decision_records(parts.home, settings, source=source, audit=parts.audit, clock=parts.clock)


async def _shadowed(
    stack: AsyncExitStack, policy: PolicyEngine, parts: RulingParts, engines: _Engines
) -> ShadowedPolicy:
    """Return a policy beside which the shadow's bundle is asked; it needs no signature, since it decides nothing."""
    path = parts.home / parts.site.config.policy.shadow
    bundle = await asyncio.to_thread(lambda: Bundle.from_files(read_path(path), keys=None))
    engine = engines.candidate(bundle)
    stack.push_async_callback(engine.close)
    await engine.start()

    async def report(found: Disagreement) -> None:
        details: JsonObject = {
            "entrypoint": found.entrypoint,
            "bundle": found.decided.bundle,
            "shadow": found.shadow.bundle,
            "allow": found.decided.allow,
            "shadow_allow": found.shadow.allow,
            "codes": sorted({reason.code for reason in found.decided.reasons}),
            "shadow_codes": sorted({reason.code for reason in found.shadow.reasons}),
        }
        with suppress(EngineError):  # what cannot be told is counted all the same, and the log has its own alarm
            parts.audit.append(EventType.SHADOW_DISAGREED, actor="gateway", target=found.shadow.bundle, details=details)

    return ShadowedPolicy(policy, engine, parts.clock, report)


def _counts(rulebook: Rulebook) -> tuple[int, int]:
    """Return hits and misses of the cache of the bundle in force."""
    engine = rulebook.engine
    return (engine.hits, engine.misses) if isinstance(engine, CachedEngine) else (0, 0)
