"""Constraint profiles: named grants as policy data, with the four defaults of the ExecutionConstraints document.

Source: ExecutionConstraints document, "Constraint Profiles by Rule Type".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, cast

from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError
from gateway.sandbox.constraints import ExecutionConstraints

PROFILES_MAX: Final = 64
_RETRIES_MAX: Final = 10
_BACKOFF_MS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What runs of one kind get, and what happens when they break it."""

    name: str
    constraints: ExecutionConstraints
    on_violation: Literal["closed", "open"] = "closed"  # "open" is honoured for screens and observers only
    retries_max: int = 0  # of faults, never of refusals
    backoff_ms: int = 0
    sampling_rate: float = 1.0  # share of runs that take place, 0 to 1


_DEFAULTS: Final[Mapping[str, JsonObject]] = {
    "fast": {"wall_ms": 5, "memory_bytes": 1024 * 1024, "cpu_shares": 10},
    "semantic": {
        "wall_ms": 100,
        "memory_bytes": 10 * 1024 * 1024,
        "cpu_shares": 50,
        "on_violation": "open",
        "retries": 2,
        "backoff_ms": 10,
    },
    "wasm": {"wall_ms": 10, "memory_bytes": 5 * 1024 * 1024, "cpu_shares": 20},
    "observational": {"wall_ms": 2, "memory_bytes": 512 * 1024, "cpu_shares": 5, "on_violation": "open"},
}
_FIELDS: Final = frozenset(
    {
        "wall_ms",
        "memory_bytes",
        "cpu_shares",
        "output_bytes",
        "on_violation",
        "retries",
        "backoff_ms",
        "sampling_rate",
    }
)


def profiles_from(data: JsonObject) -> Mapping[str, Profile]:
    """Return the profiles that `data["profiles"]` describes, beside the defaults that it does not mention.

    A field that an entry leaves out has the default profile's value, where there is one of that name.

    Raises:
        PolicyInvalidError: `policy.profile_invalid`, an entry is not understood in full.
    """
    given = data.get("profiles", {})
    if not isinstance(given, Mapping) or len(given) > PROFILES_MAX:
        raise _invalid("profiles", f"must be an object of at most {PROFILES_MAX} entries")
    names = [*_DEFAULTS, *(name for name in given if name not in _DEFAULTS)]
    return MappingProxyType({name: _profile(name, given.get(name, {})) for name in names})


def _profile(name: str, entry: JsonValue) -> Profile:
    if not isinstance(entry, Mapping):
        raise _invalid(name, "must be an object")
    if unknown := sorted(set(entry) - _FIELDS):
        raise _invalid(name, f"has an unknown field {unknown[0]!r}")
    fields = {**_DEFAULTS.get(name, {}), **entry}
    if missing := sorted({"wall_ms", "memory_bytes"} - set(fields)):
        raise _invalid(name, f"lacks {missing[0]}")
    sampling_rate = fields.get("sampling_rate", 1.0)
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int | float) or not 0 <= sampling_rate <= 1:
        raise _invalid(name, "sampling_rate must be from 0 to 1")
    on_violation = fields.get("on_violation", "closed")
    if on_violation != "closed" and on_violation != "open":  # noqa: PLR1714 - a list is not hashable
        raise _invalid(name, "on_violation must be closed or open")
    return Profile(
        name=name,
        constraints=_constraints(name, fields),
        on_violation=on_violation,
        retries_max=_bounded(name, fields, "retries", _RETRIES_MAX),
        backoff_ms=_bounded(name, fields, "backoff_ms", _BACKOFF_MS_MAX),
        sampling_rate=float(sampling_rate),
    )


def _constraints(name: str, fields: JsonObject) -> ExecutionConstraints:
    try:
        return ExecutionConstraints.of_shares(
            wall_ms_max=cast("int", fields["wall_ms"]),
            memory_bytes_max=cast("int", fields["memory_bytes"]),
            cpu_shares=cast("int | None", fields.get("cpu_shares")),
            output_bytes_max=cast("int", fields.get("output_bytes", 1024 * 1024)),
        )
    except (ValueError, TypeError) as error:
        raise _invalid(name, str(error)) from error


def _bounded(name: str, fields: JsonObject, field: str, maximum: int) -> int:
    value = fields.get(field, 0)
    if type(value) is not int or not 0 <= value <= maximum:
        raise _invalid(name, f"{field} must be an integer from 0 to {maximum}")
    return value


def _invalid(name: str, rule: str) -> PolicyInvalidError:
    return PolicyInvalidError(f"profile {name}: {rule}", code="policy.profile_invalid")
