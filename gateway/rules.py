"""What is decided before anything starts: the bundle, and what its data makes of hooks, addresses and records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from secrets import SystemRandom
from typing import Final, Self

from engine.clock import SystemClock
from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer
from engine.constraints.quotas import Quota
from engine.errors import EngineError
from engine.fields import camel_case
from gateway.addresses import PUBLIC_ONLY, AddressPolicy
from gateway.admission import Admission
from gateway.bundles.configured import bundle_of_home
from gateway.config import Config
from gateway.consent import ApprovalDefaults, approval_defaults
from gateway.constrained.data import quota_from, rules_from
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.decisions.mask import read_mask
from gateway.effects.commands.data import commands_from
from gateway.effects.commands.rule import CommandRule
from gateway.effects.limits import LimitTable, limit_table
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.errors import HookRefusedError, PolicyInvalidError
from gateway.hookset import ActiveHook, FixedHooks, HookSet, StepKind
from gateway.missions.retention import retention_days
from gateway.placing import load_site_hooks, place, profile_of
from gateway.policy.bundle import Bundle
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy_data.retention import log_days
from gateway.policy_data.sections import check_policy_data
from gateway.policy_data.site import site_tenants
from gateway.sandbox.hooks import builtin_hooks
from gateway.sandbox.port import Sandbox
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.routing import RoutedSandbox
from gateway.sandbox.signature import Publisher
from gateway.sanitizer.schema import ParameterSchema
from gateway.security_levels import SecurityLevels, security_levels
from gateway.vault.reader import VaultReader
from gateway.vault.rules import SecretRule, secret_rules
from gateway.vault.step_secrets import Secrets

_NO_SANDBOX: Final = RoutedSandbox({})  # where nothing runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is decided before anything starts: the bundle, and what its data makes of the hooks."""

    bundle: Bundle
    profiles: Mapping[str, ExecutionConstraints]
    constraints: Mapping[str, ExecutionConstraints]  # of the host's own rules, by name
    quota: Quota
    addresses: AddressPolicy
    base: tuple[ActiveHook, ...]  # of the package and of the configuration
    publishers: tuple[Publisher, ...]
    effect_schemas: Mapping[str, ParameterSchema]
    levels: SecurityLevels
    retention_days: int
    log_days: int | None
    commands: Mapping[str, CommandRule]
    secrets: Mapping[str, SecretRule]
    limits: LimitTable
    approvals: ApprovalDefaults
    site_tenants: frozenset[str]  # whose people run the gateway

    def compose(self, active: Sequence[ActiveHook], sandbox: Sandbox) -> HookSet:
        """Return what these hooks are together; `sandbox` has their modules.

        Raises:
            HookRefusedError: two of one name, an unknown profile, a schema or an effect that does not exist.
        """
        names: set[str] = set()
        for each in active:
            if each.hook.name in names:
                message = f"there are two hooks named {each.hook.name!r}"
                raise HookRefusedError(message, code="hook.duplicate", field=each.entry)
            names.add(each.hook.name)
        kinds = prepare_kinds([each for each in active if each.hook.kind == "step"], self.profiles, self.addresses)
        placed = tuple(place(each, self.profiles, kinds) for each in active if each.hook.kind != "step")
        return HookSet(kinds=kinds, placed=placed, sandbox=sandbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a site's rules are made of beside a bundle."""

    config: Config
    base: tuple[ActiveHook, ...]
    publishers: tuple[Publisher, ...]

    @classmethod
    def of(cls, home: Path | None, config: Config) -> Self:
        """Load the hooks of the package, and those of a home's configuration.

        Raises:
            EngineError: a hook is not accepted.
        """
        publishers = tuple(entry.publisher() for entry in config.publishers)
        base = tuple(ActiveHook(hook=hook) for hook in builtin_hooks())
        if home is not None:
            base += load_site_hooks(home, config.hooks, publishers)
        return cls(config=config, base=base, publishers=publishers)


def load_rules(home: Path | None, config: Config) -> Rules:
    """Load bundle and hooks of a home; without one, the default bundle and the built-in hooks.

    Raises:
        EngineError: bundle or hooks are not accepted.
    """
    bundle = Bundle.load(bundled_policies()) if home is None else bundle_of_home(home, config.policy)
    return rules_of(bundle, Site.of(home, config))


def rules_of(bundle: Bundle, site: Site) -> Rules:
    """Return what a bundle's data makes of a site.

    Raises:
        EngineError: the data is not understood in full, or the site's own hooks do not fit it.
    """
    if missing := bundle.missing_entrypoints():
        raise PolicyInvalidError(
            f"nothing decides data.gateway.{missing[0]}.decision: every such request would be denied",
            code="policy.entrypoint_missing",
        )
    check_policy_data(bundle.data)
    read_mask(bundle.data)  # the log of decisions learns it when the bundle comes into force, which is late for a no
    addresses = address_policy(bundle)
    rules = Rules(
        bundle=bundle,
        profiles=profiles_from(bundle.data),
        addresses=addresses,
        base=site.base,
        publishers=site.publishers,
        effect_schemas=_effect_schemas(addresses),
        levels=security_levels(bundle.data, site.config.security.levels),
        constraints=rules_from(bundle.data),
        quota=quota_from(bundle.data),
        retention_days=retention_days(bundle.data),
        log_days=log_days(bundle.data),
        commands=commands_from(bundle.data),
        secrets=secret_rules(bundle.data),
        limits=limit_table(bundle.data),
        approvals=approval_defaults(bundle.data),
        site_tenants=site_tenants(bundle.data),
    )
    rules.compose(site.base, _NO_SANDBOX)
    return rules


def refusals_of(bundle: Bundle, site: Site) -> Iterator[EngineError]:
    """Yield everything for which `rules_of` would refuse a bundle, where it stops at the first; each once."""
    data = bundle.data
    readers: tuple[Callable[[], object], ...] = (
        lambda: check_policy_data(data),
        lambda: read_mask(data),
        lambda: address_policy(bundle),
        lambda: profiles_from(data),
        lambda: prepare_kinds(
            [each for each in site.base if each.hook.kind == "step"], profiles_from(data), PUBLIC_ONLY
        ),
        lambda: security_levels(data, site.config.security.levels),
        lambda: rules_from(data),
        lambda: quota_from(data),
        lambda: retention_days(data),
        lambda: log_days(data),
        lambda: commands_from(data),
        lambda: secret_rules(data),
        lambda: limit_table(data),
        lambda: approval_defaults(data),
        lambda: rules_of(bundle, site),
    )
    told: set[tuple[str, str]] = set()
    for reader in readers:
        try:
            reader()
        except EngineError as error:
            if (error.code, error.message) not in told:
                told.add((error.code, error.message))
                yield error


def _effect_schemas(addresses: AddressPolicy) -> dict[str, ParameterSchema]:
    return {op: ParameterSchema.compile(schema, addresses=addresses) for op, schema in ARGUMENT_SCHEMAS.items()}


def prepare_kinds(
    active: Sequence[ActiveHook], profiles: Mapping[str, ExecutionConstraints], addresses: AddressPolicy
) -> dict[str, StepKind]:
    """Return each step kind with its compiled schema and what a run of it gets.

    Raises:
        HookRefusedError: two names that a mission may spell alike, an unknown profile, a schema or an effect that does
            not exist.
    """
    kinds: dict[str, StepKind] = {}
    spelled: dict[str, str] = {}
    for each in active:
        hook = each.hook
        # `create__file` would be CreateFile as well, and take the missions that are written so.
        other = spelled.setdefault(camel_case(hook.name), hook.name)
        if other != hook.name:
            message = f"the hooks {other!r} and {hook.name!r} have the same name in another spelling"
            raise HookRefusedError(message, code="hook.duplicate", field=each.entry)
        profile = profile_of(each, profiles)
        if unknown := sorted(set(hook.effects) - set(ARGUMENT_SCHEMAS)):
            message = f"hook {hook.name!r}: no effect is {unknown[0]!r}"
            raise HookRefusedError(message, code="hook.unknown_effect", field=each.entry)
        schema = ParameterSchema.compile(hook.schema, addresses=addresses)
        kinds[hook.name] = StepKind(hook=hook, schema=schema, constraints=profile)
    return kinds


def address_policy(bundle: Bundle) -> AddressPolicy:
    """Return the addresses that the bundle's data opens beside the public ones.

    Raises:
        PolicyInvalidError: an entry is no network.
    """
    networks = bundle.data.get("networks", {})
    allow = networks.get("allow", []) if isinstance(networks, Mapping) else []
    return AddressPolicy.parse(allow if isinstance(allow, list) else [allow])


def bundled_policies() -> Path:
    """Return the folder of the default bundle: in the package, or in the checkout that it was installed from."""
    packaged = Path(str(files("gateway"))) / "_policies"
    return packaged if packaged.is_dir() else Path(str(files("gateway"))).parent / "policies"


def local_admission(home: Path | None, config: Config) -> Admission:
    """Return stages 1 and 2 without a gateway: policy is evaluated in this process, and nothing is recorded.

    Screens are not asked, since foreign modules run in workers only; `unasked` names those that a gateway would ask.
    Without a home, the default bundle decides.

    Raises:
        EngineError: bundle or hooks are not accepted.
    """
    rules = load_rules(home, config)
    composed = rules.compose(rules.base, _NO_SANDBOX)
    enforcer = ConstraintEnforcer(SystemClock(), chance=SystemRandom().random)
    return Admission(
        hooks=FixedHooks(replace(composed, placed=())),
        levels=rules.levels,
        sanitizer=ConstrainedSanitizer(enforcer, rules.constraints),
        policy=RegorusEngine(rules.bundle),
        limits=config.limits.mission_limits(),
        secrets=Secrets(None if home is None else VaultReader(config.secrets.source(home)), rules.secrets),
        unasked=tuple(placed.hook.key for placed in composed.at("screen", "mission")),
    )
