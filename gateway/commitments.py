"""Commitments: what the log says of a value that must not be found out by guessing.

A digest of a short value, or of one of few, is as good as the value: who has the log tries them all. A commitment is an
HMAC under a key that stands outside the log, of the mission or of the person whose value it is. Who has key and value
can show that the log speaks of them; once the key is erased, nobody can, and the commitment says nothing any more.
Source: RFC 2104, RFC 5869; docs/adr/0031.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import orjson

from engine.values import JsonObject
from gateway.derivation import derived_key

KEY_BYTES: Final = 32
PREFIX: Final = "hmac-sha256:"
_COMMITMENTS: Final = b"commitments"
_EFFECTS: Final = b"effects"


_PLAIN: Final = frozenset({str, int, bool, float, type(None)})  # hide nothing; each event is looked through

Evidence: TypeAlias = dict[str, Any]
"""Details of an event as they are gathered: JSON values, and what is hidden."""


class Hidden:
    """A value on its way into an event, which will have a commitment in its place; the key is that of the event.

    It is no JSON: an event that is recorded without a key is refused by the log, and not written with the value.
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        """Hide a JSON value, or bytes as they are; nobody may change it any more."""
        self.value = value

    def __repr__(self) -> str:
        return "Hidden(…)"


class Commitments:
    """Commits to values under the key of one mission, or of one person."""

    __slots__ = ("_mac", "_mac_of_effects")

    def __init__(self, key: bytes) -> None:
        """Derive from `key`, 32 bytes.

        Raises:
            ValueError: it has another length.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of commitments has {KEY_BYTES} bytes")
        self._mac = hmac.new(derived_key(key, _COMMITMENTS), digestmod="sha256")  # copied: half of an HMAC is its key
        self._mac_of_effects = hmac.new(derived_key(key, _EFFECTS), digestmod="sha256")

    def of(self, value: object) -> str:
        """Return `hmac-sha256:<hex>` of a JSON value's canonical form (sorted keys, no white space), or of bytes.

        Raises:
            TypeError: it is no JSON value.
        """
        raw = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        mac = self._mac.copy()
        mac.update(raw)
        return PREFIX + mac.hexdigest()

    def of_effect(self, identity: bytes) -> str:
        """Return the key of an effect, 64 hex digits: by another key, so that it is no commitment to anything."""
        mac = self._mac_of_effects.copy()
        mac.update(identity)
        return mac.hexdigest()

    def commit(self, details: Mapping[str, Any]) -> JsonObject:
        """Return details of an event with a commitment in the place of whatever is hidden, however deep."""
        return {name: value if value.__class__ in _PLAIN else self._committed(value) for name, value in details.items()}

    def _committed(self, value: Any) -> Any:
        if isinstance(value, Hidden):
            return self.of(value.value)
        if isinstance(value, dict):
            return self.commit(value)
        if isinstance(value, list):
            return [self._committed(each) for each in value]
        return value
