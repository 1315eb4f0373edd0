"""What the policy bundle's data opens a secret to. Rego decides with the same data; the host checks it once more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.values import JsonValue
from gateway.errors import PolicyInvalidError
from gateway.vault.names import is_name

_LISTS: Final = ("effects", "hosts", "kinds", "tenants")
_WORDS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRule:
    """Where one secret may be used. Every field is all that is open; an empty one opens nothing."""

    effects: frozenset[str]
    hosts: frozenset[str]  # by the exact name that the connection uses
    kinds: frozenset[str]
    tenants: frozenset[str]

    def opens(self, *, tenant: str, kind: str, op: str, host: str) -> bool:
        """Return whether the secret may be sent there."""
        return op in self.effects and host in self.hosts and kind in self.kinds and tenant in self.tenants


def secret_rules(data: Mapping[str, JsonValue]) -> dict[str, SecretRule]:
    """Return the rules by name; a bundle without `secrets` opens none.

    Raises:
        PolicyInvalidError: `policy.secrets`, an entry is not of the form.
    """
    section = data.get("secrets", {})
    if not isinstance(section, Mapping):
        raise _invalid("secrets must be an object")
    return {name: _rule(name, entry) for name, entry in section.items()}


def _rule(name: str, entry: JsonValue) -> SecretRule:
    if not is_name(name):
        raise _invalid(f"secrets: {name[:64]!r} is no name of a secret")
    if not isinstance(entry, Mapping) or sorted(entry) != list(_LISTS):
        raise _invalid(f"secrets.{name} must have exactly {', '.join(_LISTS)}")
    return SecretRule(**{field: _words(f"secrets.{name}.{field}", entry[field]) for field in _LISTS})


def _words(field: str, value: JsonValue) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > _WORDS_MAX:
        raise _invalid(f"{field} must be a list of at most {_WORDS_MAX} strings")
    words = frozenset(word for word in value if isinstance(word, str))
    if len(words) != len(value):
        raise _invalid(f"{field} must be a list of different strings")
    return words


def _invalid(message: str) -> PolicyInvalidError:
    return PolicyInvalidError(message, code="policy.secrets", file="data.json")
