"""Constraint profiles: named grants as policy data, beside the four of the ExecutionConstraints document.

Source: ExecutionConstraints document, "Constraint Profiles by Rule Type"; the presets are `ExecutionConstraints`' own.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, cast

from engine.constraints import ExecutionConstraints
from engine.constraints.errors import InvalidConfigurationError
from engine.constraints.limits import BACKOFF_MS_CEILING, OUTPUT_BYTES_DEFAULT, RETRIES_CEILING
from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError

PROFILES_MAX: Final = 64

_PRESETS: Final[Mapping[str, ExecutionConstraints]] = {
    "fast": ExecutionConstraints.fast_rule(),
    "semantic": ExecutionConstraints.semantic_rule(),
    "wasm": ExecutionConstraints.wasm_hook(),
    "observational": ExecutionConstraints.observational(),
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


def profiles_from(data: JsonObject) -> Mapping[str, ExecutionConstraints]:
    """Return the profiles that `data["profiles"]` describes, beside the presets that it does not mention.

    A field that an entry leaves out has the preset's value, where there is one of that name.

    Raises:
        PolicyInvalidError: `policy.profile_invalid`, an entry is not understood in full.
    """
    given = data.get("profiles", {})
    if not isinstance(given, Mapping) or len(given) > PROFILES_MAX:
        raise _invalid("profiles", f"must be an object of at most {PROFILES_MAX} entries")
    names = [*_PRESETS, *(name for name in given if name not in _PRESETS)]
    return MappingProxyType({name: _profile(name, given.get(name, {})) for name in names})


def _profile(name: str, entry: JsonValue) -> ExecutionConstraints:
    if not isinstance(entry, Mapping):
        raise _invalid(name, "must be an object")
    if unknown := sorted(set(entry) - _FIELDS):
        raise _invalid(name, f"has an unknown field {unknown[0]!r}")
    preset = _PRESETS.get(name)
    fields = {**({} if preset is None else _entry_of(preset)), **entry}
    if missing := sorted({"wall_ms", "memory_bytes"} - set(fields)):
        raise _invalid(name, f"lacks {missing[0]}")
    on_violation = fields.get("on_violation", "closed")
    if on_violation != "closed" and on_violation != "open":  # noqa: PLR1714 - a list is not hashable
        raise _invalid(name, "on_violation must be closed or open")
    retries = _bounded(name, fields, "retries", RETRIES_CEILING)
    backoff_ms = _bounded(name, fields, "backoff_ms", BACKOFF_MS_CEILING)
    try:
        grant = ExecutionConstraints.of_shares(
            wall_ms_max=cast("int", fields["wall_ms"]),
            memory_bytes_max=cast("int", fields["memory_bytes"]),
            cpu_shares=cast("int | None", fields.get("cpu_shares")),
            output_bytes_max=cast("int", fields.get("output_bytes", OUTPUT_BYTES_DEFAULT)),
        )
        return replace(
            grant,
            sampling_rate=cast("float", fields.get("sampling_rate", 1.0)),
            fail_closed=on_violation == "closed",
            retries_max=retries,
            retry_backoff_ms=backoff_ms,
        )
    except InvalidConfigurationError as error:
        raise _invalid(name, error.message) from error


def _entry_of(preset: ExecutionConstraints) -> dict[str, JsonValue]:
    """Return a preset as data would say it, so that an entry can change a part of it."""
    return {
        "wall_ms": preset.wall_ms_max,
        "memory_bytes": preset.memory_bytes_max,
        "cpu_shares": preset.cpu_shares,
        "output_bytes": preset.output_bytes_max,
        "on_violation": "closed" if preset.fail_closed else "open",
        "retries": preset.retries_max,
        "backoff_ms": preset.retry_backoff_ms,
        "sampling_rate": preset.sampling_rate,
    }


def _bounded(name: str, fields: JsonObject, field: str, maximum: int) -> int:
    value = fields.get(field, 0)
    if type(value) is not int or not 0 <= value <= maximum:
        raise _invalid(name, f"{field} must be an integer from 0 to {maximum}")
    return value


def _invalid(name: str, rule: str) -> PolicyInvalidError:
    return PolicyInvalidError(f"profile {name}: {rule}", code="policy.profile_invalid")
