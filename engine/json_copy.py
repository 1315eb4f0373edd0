"""Copies a Python value by way of its JSON: what comes out is plain, exact, and shares nothing with what went in."""

from typing import Any, Final

import orjson

# orjson would turn these into strings and objects by rules of its own; here only JSON is JSON.
_JSON_ONLY: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

_PLACE_CHARACTERS_MAX: Final = 200  # keys are as long as whoever made the value makes them


class NotJsonError(ValueError):
    """A Python value has no exact JSON form; the text says where."""


def encode(value: object) -> bytes:
    """Return compact JSON.

    Raises:
        NotJsonError: orjson knows none for a type, or the value is nested over 254 levels, a circle included.
    """
    try:
        return orjson.dumps(value, option=_JSON_ONLY)
    except orjson.JSONEncodeError as error:
        raise NotJsonError(str(error)) from error


def read_back(encoded: bytes, value: object) -> Any:
    """Return the value of `encoded`, equal to `value` but sharing nothing with it, tuples as lists.

    Raises:
        NotJsonError: orjson wrote something else without a word, as it does for NaN (null) or a UUID (its text).
    """
    copy = orjson.loads(encoded)
    if copy != value and (place := _altered(value, copy)) is not None:
        raise NotJsonError(f"${place[:_PLACE_CHARACTERS_MAX]} is no JSON value")
    return copy


def _altered(value: object, copy: object) -> str | None:
    """Return the path of the first place where `copy` differs from `value`, a tuple being as good as a list."""
    if isinstance(copy, dict) and isinstance(value, dict):
        for key, item in copy.items():
            if (place := _altered(value[key], item)) is not None:
                return f".{key}{place}"
        return None
    if isinstance(copy, list) and isinstance(value, list | tuple):
        for index, item in enumerate(copy):
            if (place := _altered(value[index], item)) is not None:
                return f"[{index}]{place}"
        return None
    return None if value == copy else ""
