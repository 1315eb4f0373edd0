"""What the bundle's data says of the host's own rules and of quotas: read strictly, with defaults.

The profiles of modules are `gateway.sandbox.profile`'s. These are apart from them, so that no step and no hook can ask
to be run as a sanitizer.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from engine.constraints import ExecutionConstraints
from engine.constraints.errors import InvalidConfigurationError
from engine.constraints.limits import MEMORY_BYTES_CEILING, SHARES_MAX
from engine.constraints.quotas import Quota
from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError
from gateway.policy.engine import Entrypoint
from gateway.policy.pool import DEADLINES_MS

MISSION_SANITIZER: Final = "sanitizer.mission"
STEP_SANITIZER: Final = "sanitizer.step"

_WALLS_MS: Final[Mapping[str, int]] = {
    MISSION_SANITIZER: 10_000,  # 4 MiB of document, 10,000 steps
    STEP_SANITIZER: 1_000,
    **{f"policy.{entrypoint}": wall_ms for entrypoint, wall_ms in DEADLINES_MS.items()},
}
_RULE_FIELDS: Final = frozenset({"wall_ms", "cpu_shares"})
_QUOTA_FIELDS: Final[Mapping[str, str]] = {
    "window_seconds": "window_seconds",
    "runs": "runs_max",
    "cpu_ms": "cpu_ms_max",
}


def policy_rule(entrypoint: Entrypoint) -> str:
    """Return what the rule that decides at an entry point is called."""
    return f"policy.{entrypoint}"


def rules_from(data: JsonObject) -> Mapping[str, ExecutionConstraints]:
    """Return the constraints of the host's own rules: those in `data["rules"]`, and defaults for the others.

    They are always closed, and are neither sampled nor repeated. Memory is not among what is measured of them.

    Raises:
        PolicyInvalidError: `policy.rule_invalid`, an entry is not understood in full.
    """
    given = data.get("rules", {})
    if not isinstance(given, Mapping):
        raise _invalid("rules", "must be an object")
    if unknown := sorted(set(given) - set(_WALLS_MS)):
        raise _invalid(f"rules.{unknown[0]}", f"is no rule of this gateway; there are {', '.join(_WALLS_MS)}")
    return MappingProxyType({name: _rule(name, given.get(name, {})) for name in _WALLS_MS})


def _rule(name: str, entry: JsonValue) -> ExecutionConstraints:
    fields = _fields(f"rules.{name}", entry, _RULE_FIELDS)
    try:
        return ExecutionConstraints.of_shares(
            wall_ms_max=cast("int", fields.get("wall_ms", _WALLS_MS[name])),
            memory_bytes_max=MEMORY_BYTES_CEILING,
            cpu_shares=cast("int", fields.get("cpu_shares", SHARES_MAX)),
        )
    except InvalidConfigurationError as error:
        raise _invalid(f"rules.{name}", error.message) from error


def quota_from(data: JsonObject) -> Quota:
    """Return the quota that `data["quotas"]` gives every principal; what it leaves out has its default.

    Raises:
        PolicyInvalidError: `policy.quota_invalid`, it is not understood in full.
    """
    fields = _fields("quotas", data.get("quotas", {}), frozenset(_QUOTA_FIELDS))
    try:
        return Quota(**{_QUOTA_FIELDS[name]: cast("int", value) for name, value in fields.items()})
    except InvalidConfigurationError as error:
        raise _invalid("quotas", error.message) from error


def _fields(where: str, entry: JsonValue, known: frozenset[str]) -> JsonObject:
    if not isinstance(entry, Mapping):
        raise _invalid(where, "must be an object")
    if unknown := sorted(set(entry) - known):
        raise _invalid(where, f"has an unknown field {unknown[0]!r}")
    return entry


def _invalid(where: str, rule: str) -> PolicyInvalidError:
    code = "policy.quota_invalid" if where == "quotas" else "policy.rule_invalid"
    return PolicyInvalidError(f"{where}: {rule}", code=code)
