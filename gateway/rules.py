"""What is decided before anything starts: the bundle, and what its data makes of hooks, addresses and records."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from secrets import SystemRandom

from engine.clock import SystemClock
from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer
from engine.constraints.quotas import Quota
from engine.values import JsonValue
from gateway.addresses import AddressPolicy
from gateway.config import Config, HookConfig
from gateway.constrained.data import quota_from, rules_from
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.errors import HookRefusedError, PolicyInvalidError
from gateway.missions.retention import retention_days
from gateway.pipeline import Admission
from gateway.policy.bundle import Bundle
from gateway.policy.regorus_engine import RegorusEngine
from gateway.sandbox.hooks import Hook, builtin_hooks, load_hook
from gateway.sandbox.profile import profiles_from
from gateway.sanitizer.schema import ParameterSchema
from gateway.stages import StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is decided before anything starts: the bundle, and what its data makes of the hooks."""

    bundle: Bundle
    profiles: Mapping[str, ExecutionConstraints]
    constraints: Mapping[str, ExecutionConstraints]  # of the host's own rules, by name
    quota: Quota
    addresses: AddressPolicy
    hooks: tuple[Hook, ...]
    kinds: Mapping[str, StepKind]
    retention_days: int

    def pins(self) -> dict[str, JsonValue]:
        """Return the SHA-256 of each hook's module."""
        return {hook.name: hook.sha256 for hook in self.hooks}


def load_rules(home: Path | None, config: Config) -> Rules:
    """Load bundle and hooks of a home; without one, the default bundle and the built-in hooks.

    Raises:
        EngineError: bundle or hooks are not accepted.
    """
    bundle = Bundle.load(bundled_policies() if home is None else home / config.policies)
    if missing := bundle.missing_entrypoints():
        raise PolicyInvalidError(
            f"nothing decides data.gateway.{missing[0]}.decision: every such request would be denied",
            code="policy.entrypoint_missing",
        )
    profiles, addresses = profiles_from(bundle.data), address_policy(bundle)
    hooks = builtin_hooks()
    if home is not None:
        hooks += tuple(_load_site_hook(home, at, hook) for at, hook in enumerate(config.hooks))
    kinds = prepare_kinds(hooks, profiles, addresses)
    return Rules(
        bundle=bundle,
        profiles=profiles,
        constraints=rules_from(bundle.data),
        quota=quota_from(bundle.data),
        addresses=addresses,
        hooks=hooks,
        kinds=kinds,
        retention_days=retention_days(bundle.data),
    )


def _load_site_hook(home: Path, at: int, entry: HookConfig) -> Hook:
    try:
        return load_hook(home / entry.path, sha256=entry.sha256)
    except HookRefusedError as error:
        raise named(error, f"hooks[{at}]", entry.path) from error


def prepare_kinds(
    hooks: tuple[Hook, ...], profiles: Mapping[str, ExecutionConstraints], addresses: AddressPolicy
) -> dict[str, StepKind]:
    """Return each step kind with its compiled schema and what a run of it gets.

    Raises:
        HookRefusedError: two hooks of one name, an unknown profile, a schema or an effect that does not exist.
    """
    kinds: dict[str, StepKind] = {}
    for hook in hooks:
        if hook.name in kinds:
            raise HookRefusedError(f"there are two hooks named {hook.name!r}", code="hook.duplicate")
        if hook.profile not in profiles:
            raise HookRefusedError(
                f"hook {hook.name!r}: there is no profile {hook.profile!r}", code="hook.unknown_profile"
            )
        if unknown := sorted(set(hook.effects) - set(ARGUMENT_SCHEMAS)):
            raise HookRefusedError(f"hook {hook.name!r}: no effect is {unknown[0]!r}", code="hook.unknown_effect")
        schema = ParameterSchema.compile(hook.schema, addresses=addresses)
        kinds[hook.name] = StepKind(hook=hook, schema=schema, constraints=profiles[hook.profile])
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


def named(error: HookRefusedError, field: str, what: str) -> HookRefusedError:
    """Return the refusal of a hook with the name of the hook: there may be many."""
    return HookRefusedError(f"{field}: {what}: {error.message}", code=error.code, field=field)


def local_admission(home: Path | None, config: Config) -> Admission:
    """Return stages 1 to 3 without a gateway: policy is evaluated in this process, and nothing is recorded.

    Without a home, the default bundle decides.

    Raises:
        EngineError: bundle or hooks are not accepted.
    """
    rules = load_rules(home, config)
    enforcer = ConstraintEnforcer(SystemClock(), chance=SystemRandom().random)
    return Admission(
        kinds=rules.kinds,
        policy=RegorusEngine(rules.bundle),
        limits=config.limits.mission_limits(),
        sanitizer=ConstrainedSanitizer(enforcer, rules.constraints),
    )
