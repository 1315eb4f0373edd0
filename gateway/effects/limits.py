"""What effects may move and leave behind, as policy's data says: for all, and less for a kind, a role or a tenant.

Every field is a maximum, and `narrow` is the only way to combine two, so that no entry for a kind, a role or a tenant
can give more than the default. A caller with several roles has the strictest of each figure.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

from engine.values import JsonValue
from gateway.errors import EffectError, PolicyInvalidError

_MIB: Final = 1024 * 1024
_FIGURE_MAX: Final = 2**53  # what JSON holds exactly everywhere
_NAMED: Final = ("kinds", "roles", "tenants")
_SECTIONS: Final = frozenset({"default", *_NAMED})
BLOB_BYTES_CEILING: Final = 64 * _MIB  # a blob is in memory as a whole while an effect moves it


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectLimits:
    """Bounds of file and blob effects. Those of one mission count over all of its steps."""

    file_write_bytes_max: int = 16 * _MIB  # one file
    file_read_bytes_max: int = 16 * _MIB
    workspace_entries_max: int = 10_000  # files and directories of one mission
    workspace_directories_max: int = 1_000
    workspace_bytes_max: int = 256 * _MIB
    workspace_depth_max: int = 32  # components of a path
    blob_bytes_max: int = 16 * _MIB  # one blob
    blobs_max: int = 256  # of one mission
    blobs_bytes_max: int = 256 * _MIB

    def narrow(self, other: Self) -> Self:
        """Return the stricter of both, field by field."""
        return type(self)(**{f.name: min(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class LimitTable:
    """The limits of one policy bundle."""

    default: EffectLimits
    kinds: Mapping[str, EffectLimits]
    roles: Mapping[str, EffectLimits]
    tenants: Mapping[str, EffectLimits]

    def of(self, kind: str, roles: Collection[str], tenant: str) -> EffectLimits:
        """Return what a step of `kind` gets, of a mission that a caller of `tenant` with these roles has submitted."""
        limits = self.default
        for own in self._own(kind, roles, tenant):
            limits = limits.narrow(own)
        return limits

    def _own(self, kind: str, roles: Collection[str], tenant: str) -> Iterable[EffectLimits]:
        if kind in self.kinds:
            yield self.kinds[kind]
        yield from (self.roles[role] for role in roles if role in self.roles)
        if tenant in self.tenants:
            yield self.tenants[tenant]


DEFAULT_LIMITS: Final = EffectLimits()
UNNARROWED: Final = LimitTable(DEFAULT_LIMITS, {}, {}, {})


def limit_table(data: Mapping[str, JsonValue]) -> LimitTable:
    """Return the table of a bundle's data; without `limits` it is the default.

    Raises:
        PolicyInvalidError: `policy.limits`, a figure or a name that is none.
    """
    section = data.get("limits", {})
    if not isinstance(section, Mapping) or not section.keys() <= _SECTIONS:
        raise _invalid(f"limits has {', '.join(sorted(_SECTIONS))}")
    default = _limits("limits.default", section.get("default", {}), EffectLimits())
    if default.blob_bytes_max > BLOB_BYTES_CEILING:
        raise _invalid(f"limits.default.blob_bytes_max is at most {BLOB_BYTES_CEILING}")
    return LimitTable(default, *(_named(name, section.get(name, {}), default) for name in _NAMED))


def _named(name: str, section: JsonValue, default: EffectLimits) -> dict[str, EffectLimits]:
    if not isinstance(section, Mapping):
        raise _invalid(f"limits.{name} must be an object")
    return {key: _limits(f"limits.{name}.{key}", entry, default) for key, entry in section.items()}


def _limits(field: str, entry: JsonValue, default: EffectLimits) -> EffectLimits:
    known = {f.name: getattr(default, f.name) for f in fields(EffectLimits)}
    if not isinstance(entry, Mapping):
        raise _invalid(f"{field} must be an object")
    for name, figure in entry.items():
        if name not in known:
            raise _invalid(f"{field}: no limit is {name[:64]!r}")
        if not isinstance(figure, int) or isinstance(figure, bool) or not 0 <= figure <= _FIGURE_MAX:
            raise _invalid(f"{field}.{name} must be a whole number from 0 to {_FIGURE_MAX}")
        known[name] = figure
    return EffectLimits(**known)


def over(limit: str, maximum: int, what: str, *, code: str = "effect.workspace_full") -> EffectError:
    """Return the error of an effect that is over a limit, which it names as policy's data does."""
    return EffectError(f"{what}: at most {maximum} (limits, {limit})", code=code)


def _invalid(message: str) -> PolicyInvalidError:
    return PolicyInvalidError(message, code="policy.limits", file="data.json")
