"""Security levels: how much of the gateway a mission may use, as named sets of profiles and effects.

The four names are fixed and ordered; what each of them opens is policy data (`security` in `data.gateway.config`). A
level only closes: policy, manifests and limits decide as without it. `none` closes nothing, so it exists only where the
configuration of the gateway names it. Source: Multi-Layer Execution Architecture document, "Sandbox".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Literal

from engine.errors import Violation
from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError

LEVELS: Final = ("strict", "balanced", "relaxed", "none")  # each opens at least what the one before opens
UNRESTRICTED: Final = "none"
ALLOWED_DEFAULT: Final[tuple[Literal["strict"], Literal["balanced"], Literal["relaxed"]]] = (
    "strict",
    "balanced",
    "relaxed",
)
ALL: Final = "*"
_ENTRIES_MAX: Final = 256
_NAME_CHARS_MAX: Final = 128
_CODE: Final = "policy.security_invalid"

_DEFAULT_LEVEL: Final = "balanced"
_DEFAULTS: Final[Mapping[str, JsonObject]] = {
    "strict": {"profiles": ["fast", "wasm"], "effects": ["file.read", "timer.sleep", "approval.request"]},
    "balanced": {
        "profiles": [ALL],
        "effects": [
            *("file.read", "timer.sleep", "approval.request"),
            *("file.write", "http.request", "mission.run"),
        ],
    },
    "relaxed": {
        "profiles": [ALL],
        "effects": [
            *("file.read", "timer.sleep", "approval.request"),
            *("file.write", "http.request", "mission.run", "command.run"),
        ],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityLevel:
    """One level: the profiles in which steps may run, and the effects that they may ask for; None is every one."""

    name: str
    profiles: frozenset[str] | None
    effects: frozenset[str] | None

    def opens_profile(self, profile: str) -> bool:
        """Return whether a step may run in a profile."""
        return self.profiles is None or profile in self.profiles

    def opens_effect(self, op: str) -> bool:
        """Return whether a step may ask for an effect."""
        return self.effects is None or op in self.effects

    def profile_violation(self, profile: str, field: str) -> Violation | None:
        """Return why a step may not run in a profile, or None."""
        if self.opens_profile(profile):
            return None
        opened = ", ".join(sorted(self.profiles or ())) or "no profile"
        message = f"the security level {self.name!r} does not open the profile {profile!r}; it opens {opened}"
        return Violation(code="security.profile_closed", message=message, field=field)

    def effect_violation(self, op: str, field: str) -> Violation | None:
        """Return why a step may not ask for an effect, or None."""
        if self.opens_effect(op):
            return None
        message = f"the security level {self.name!r} does not open the effect {op!r}"
        return Violation(code="security.effect_closed", message=message, field=field)


class SecurityLevels:
    """The levels of one gateway: what policy data says of each, and which of them missions may have."""

    def __init__(self, levels: Mapping[str, SecurityLevel], default: str) -> None:
        self._levels = levels
        self._default = default

    @property
    def names(self) -> tuple[str, ...]:
        """The levels that missions may have, the strictest first."""
        return tuple(self._levels)

    def of(self, asked: str | None, *, within: str | None = None) -> SecurityLevel | Violation:
        """Return the level of a mission that asks for `asked`, or why it may not have it.

        A mission that is a part of another has the level of that one (`within`), or a stricter one. One that asks for
        nothing has the default, or, as a part of another, the stricter of the two.
        """
        field = "config.security_level"
        name = asked if asked is not None else self._default
        if asked is None and within is not None:
            name = min(name, within, key=LEVELS.index)
        if name not in self._levels:
            known = ", ".join(self._levels)
            why = (
                f"the level {name!r} is not allowed by the configuration of this gateway; it allows {known}"
                if name in LEVELS
                else f"there is no level {name!r}; there are {known}"
            )
            return Violation(code="security.level_closed", message=why, field=field)
        if within is not None and LEVELS.index(name) > LEVELS.index(within):
            message = f"a mission that is a part of one of level {within!r} cannot have the level {name!r}"
            return Violation(code="security.level_widened", message=message, field=field)
        return self._levels[name]


def security_levels(data: JsonObject, allowed: Collection[str] = ALLOWED_DEFAULT) -> SecurityLevels:
    """Return the levels that `data["security"]` describes, as far as the configuration allows them.

    A level that the data does not mention is the built-in one.

    Raises:
        PolicyInvalidError: `policy.security_invalid`, an entry is not understood in full, a level opens what a wider
            one closes, or the default is not allowed.
    """
    given = data.get("security", {})
    if not isinstance(given, Mapping) or not given.keys() <= {"default_level", "levels"}:
        raise _invalid("has the fields default_level and levels, and no other")
    entries = given.get("levels", {})
    if not isinstance(entries, Mapping) or not entries.keys() <= _DEFAULTS.keys():
        raise _invalid(f"levels is an object with entries of {', '.join(_DEFAULTS)}, and no other")
    default = given.get("default_level", _DEFAULT_LEVEL)
    levels = {name: _level(name, entries.get(name, _DEFAULTS[name])) for name in _DEFAULTS}
    levels[UNRESTRICTED] = SecurityLevel(name=UNRESTRICTED, profiles=None, effects=None)
    for stricter, wider in pairwise(LEVELS):
        _check_order(levels[stricter], levels[wider])
    if not isinstance(default, str) or default not in LEVELS or default not in allowed:
        raise _invalid(f"default_level is one of {', '.join(name for name in LEVELS if name in allowed)}")
    opened = {name: levels[name] for name in LEVELS if name in allowed}
    return SecurityLevels(MappingProxyType(opened), default)


def _level(name: str, entry: JsonValue) -> SecurityLevel:
    if not isinstance(entry, Mapping) or entry.keys() != {"profiles", "effects"}:
        raise _invalid(f"levels.{name} has exactly the fields profiles and effects")
    return SecurityLevel(
        name=name,
        profiles=_names(entry["profiles"], f"levels.{name}.profiles"),
        effects=_names(entry["effects"], f"levels.{name}.effects"),
    )


def _names(value: JsonValue, field: str) -> frozenset[str] | None:
    if not isinstance(value, list) or len(value) > _ENTRIES_MAX:
        raise _invalid(f"{field} must be a list of at most {_ENTRIES_MAX} names")
    names = [name for name in value if isinstance(name, str) and 0 < len(name) <= _NAME_CHARS_MAX]
    if len(names) != len(value):
        raise _invalid(f"{field} must be a list of names")
    if ALL in names and len(names) > 1:
        raise _invalid(f"{field}: {ALL!r} stands alone")
    return None if names == [ALL] else frozenset(names)


def _check_order(stricter: SecurityLevel, wider: SecurityLevel) -> None:
    """Refuse levels whose names lie: whoever asks for a stricter one must not get more of anything."""
    for what in ("profiles", "effects"):
        less, more = getattr(stricter, what), getattr(wider, what)
        if more is not None and (less is None or not less <= more):
            beyond = ALL if less is None else min(less - more)
            raise _invalid(f"levels.{stricter.name}.{what} opens {beyond!r}, which levels.{wider.name} does not")


def _invalid(rule: str) -> PolicyInvalidError:
    return PolicyInvalidError(f"security: {rule}", code=_CODE, file="data.json")
