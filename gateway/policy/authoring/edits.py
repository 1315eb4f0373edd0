"""Changes of an input or of data: one field set, one member added to a list or taken out of it, one key removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from gateway.policy.authoring.documents import field_path

Place: TypeAlias = tuple[str | int, ...]  # "input" or "data", then keys and indices
Action: TypeAlias = Literal["set", "add", "remove"]
VALUE_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `add` is to a list or a set of values; `remove` is a key, or a member of a list."""

    place: Place
    action: Action
    value: Any = None  # of set and add; of remove: the member, where `place` is a list

    @property
    def target(self) -> str:
        """`input` or `data`."""
        return str(self.place[0])

    @property
    def key(self) -> bytes:
        """What two changes that are the same have in common."""
        return orjson.dumps([self.place, self.action, self.value])

    def document(self) -> dict[str, object]:
        """Return the change as JSON."""
        out: dict[str, object] = {"target": self.target, "path": list(self.place[1:]), "action": self.action}
        return out if self.action == "remove" and self.value is None else {**out, "value": self.value}

    def told(self) -> str:
        """Return the change in words."""
        where = field_path(self.place)
        value = orjson.dumps(self.value).decode()
        shown = value if len(value) <= VALUE_CHARS_MAX else f"{value[:VALUE_CHARS_MAX]}…"
        if self.action == "set":
            return f"{where} = {shown}"
        if self.action == "add":
            return f"{where}: add {shown}"
        return f"{where}: take out {shown}" if self.value is not None else f"without {where}"


def at(value: Any, place: Sequence[str | int]) -> tuple[bool, Any]:
    """Return whether there is something at a place, and what."""
    for key in place:
        if isinstance(value, Mapping) and key in value:
            value = value[str(key)]
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return False, None
    return True, value


def changed(value: Any, place: Place, change: Change) -> Any:
    """Return a value with a change at a place in it; the value itself stays as it is. None of the rest is copied.

    Raises:
        LookupError: there is nothing that could be changed so.
    """
    if not place:
        return _member(value, change)
    key, rest = place[0], place[1:]
    if isinstance(value, Mapping) and isinstance(key, str):
        if not rest and change.action == "remove" and change.value is None:
            if key not in value:
                raise LookupError(key)
            return {name: item for name, item in value.items() if name != key}
        if not rest and change.action == "set":
            return {**value, key: change.value}
        if key not in value:
            raise LookupError(key)
        return {**value, key: changed(value[key], rest, change)}
    if isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
        if not rest and change.action == "remove" and change.value is None:
            return [*value[:key], *value[key + 1 :]]
        item = change.value if not rest and change.action == "set" else changed(value[key], rest, change)
        return [*value[:key], item, *value[key + 1 :]]
    raise LookupError(key)


def _member(value: Any, change: Change) -> Any:
    if change.action == "set":
        return change.value
    members = value if isinstance(value, list) else None
    if members is None or (change.value in members) is (change.action == "add"):
        raise LookupError(change.action)
    if change.action == "add":
        return [*members, change.value]
    return [item for item in members if item != change.value]
