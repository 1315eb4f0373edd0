"""Reading policy data strictly: what is not understood in full is refused, with the field and the rule."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError

ENTRIES_MAX: Final = 256  # of one list, or of one object
CHARS_MAX: Final = 256  # of one name or text
FIGURE_MAX: Final = 2**53  # what JSON holds exactly everywhere


def invalid(field: str, rule: str) -> PolicyInvalidError:
    """Return the refusal of a field of data.gateway.config, which names the rule that it breaks."""
    return PolicyInvalidError(f"{field}: {rule}", code="policy.data_invalid", file="data.json")


def read_object(field: str, value: JsonValue, known: Collection[str], required: Collection[str] = ()) -> JsonObject:
    """Return an object that has the `required` fields and none but the `known` ones.

    Raises:
        PolicyInvalidError: it is none.
    """
    if not isinstance(value, Mapping):
        raise invalid(field, "must be an object")
    if unknown := sorted(set(value) - set(known)):
        raise invalid(field, f"has no field {unknown[0][:64]!r}; it has {', '.join(sorted(known))}")
    if missing := sorted(set(required) - set(value)):
        raise invalid(field, f"the field {missing[0]!r} is missing")
    return value


def read_entries(field: str, value: JsonValue) -> JsonObject:
    """Return an object of named entries, whose names are free.

    Raises:
        PolicyInvalidError: it is none, or too large.
    """
    if not isinstance(value, Mapping) or len(value) > ENTRIES_MAX:
        raise invalid(field, f"must be an object of at most {ENTRIES_MAX} entries")
    for name in value:
        read_text(field, name)
    return value


def read_list(field: str, value: JsonValue) -> list[JsonValue]:
    """Return a list.

    Raises:
        PolicyInvalidError: it is none, or too long.
    """
    if not isinstance(value, list) or len(value) > ENTRIES_MAX:
        raise invalid(field, f"must be a list of at most {ENTRIES_MAX} entries")
    return value


def read_text(field: str, value: JsonValue) -> str:
    """Return a text that is not empty.

    Raises:
        PolicyInvalidError: it is none, or too long.
    """
    if not isinstance(value, str) or not 0 < len(value) <= CHARS_MAX:
        raise invalid(field, f"must be a text of 1 to {CHARS_MAX} characters")
    return value


def read_names(field: str, value: JsonValue, known: Collection[str] | None = None, of: str = "") -> list[str]:
    """Return a list of different texts, at least one: an empty list would choose nothing, and read as if it chose all.

    With `known`, each is one of those, which stand in `of`.

    Raises:
        PolicyInvalidError: it is none.
    """
    names = [read_text(f"{field}[{i}]", name) for i, name in enumerate(read_list(field, value))]
    if not names:
        raise invalid(field, "must not be empty; leave it out where nothing is to be chosen by it")
    if len(set(names)) < len(names):
        raise invalid(field, "names something twice")
    if known is not None and (unknown := [name for name in names if name not in known]):
        raise invalid(field, f"{unknown[0]!r} is not among {of}")
    return names


def read_matching(field: str, value: JsonValue, pattern: re.Pattern[str], rule: str) -> list[str]:
    """Return a list of names that match a pattern as a whole; `rule` says what that means.

    Raises:
        PolicyInvalidError: one does not.
    """
    names = read_names(field, value)
    if wrong := [name for name in names if pattern.fullmatch(name) is None]:
        raise invalid(field, f"{wrong[0]!r} {rule}")
    return names


def read_figure(field: str, value: JsonValue, maximum: int = FIGURE_MAX, minimum: int = 0) -> int:
    """Return a whole number.

    Raises:
        PolicyInvalidError: it is none, or beyond its bounds.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise invalid(field, f"must be a whole number from {minimum} to {maximum}")
    return value


def names_of(data: JsonObject, *path: str) -> Collection[str]:
    """Return the names of the entries at a path of the data; none where there is nothing."""
    value: JsonValue = data
    for key in path:
        value = value.get(key, {}) if isinstance(value, Mapping) else {}
    return value.keys() if isinstance(value, Mapping) else ()
