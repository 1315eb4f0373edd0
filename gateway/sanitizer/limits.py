"""Bounds a JSON value before anything else looks at it; without recursion, so that depth costs no stack."""

import math
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.sanitizer.finding import Finding

_NOT_JSON: Final = Finding("not_json", "holds something that JSON has no form for")
_KEY: Final = Finding("key", "has a key that is no string")
_INTEGER_LIMIT: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterLimits:
    """How much one step's parameters, or one effect's arguments, may be. Every field is a maximum."""

    bytes_max: int = 2 * 1024 * 1024  # as JSON without white space
    nesting_max: int = 64  # levels
    values_max: int = 100_000  # members and elements, all levels together
    key_chars_max: int = 1_024


DEFAULT_LIMITS: Final = ParameterLimits()


def check_limits(value: object, limits: ParameterLimits = DEFAULT_LIMITS) -> Finding | None:
    """Return which bound `value` breaks, or None: then it is JSON, finite, well-formed Unicode, and small enough."""
    if finding := _check_shape(value, limits):
        return finding
    try:
        size = len(orjson.dumps(value))
    except TypeError:
        # Type and depth are checked, so what is left is a string that has no UTF-8.
        return Finding("surrogate", "holds half of a surrogate pair, which is no character; send well-formed Unicode")
    return Finding("too_large", f"is larger than {limits.bytes_max} bytes") if size > limits.bytes_max else None


def _check_shape(value: object, limits: ParameterLimits) -> Finding | None:
    """Walk the containers level by level; leaves are looked at in place."""
    level: list[object] = [value]
    values = 0
    for _ in range(limits.nesting_max):
        below: list[object] = []
        for container in level:
            children: list[object]
            if isinstance(container, dict):
                if finding := _check_keys(container, limits):
                    return finding
                children = list(container.values())
            elif isinstance(container, list):
                children = container
            else:
                children = [container]  # the root may be a leaf
            values += len(children)
            if values > limits.values_max:
                return Finding("too_many_values", f"holds more than {limits.values_max} values")
            for child in children:
                kind = type(child)
                if kind is str or kind is bool or child is None:
                    continue
                if kind is dict or kind is list:
                    below.append(child)
                elif not _is_json_number(child):
                    return _NOT_JSON
        if not below:
            return None
        level = below
    return Finding("too_deep", f"is nested deeper than {limits.nesting_max} levels")


def _check_keys(members: dict[object, object], limits: ParameterLimits) -> Finding | None:
    for key in members:
        if type(key) is not str:
            return _KEY
        if len(key) > limits.key_chars_max:
            return Finding("key_too_long", f"has a key longer than {limits.key_chars_max} characters")
    return None


def _is_json_number(value: object) -> bool:
    if type(value) is int:
        return -_INTEGER_LIMIT <= value < _INTEGER_LIMIT
    return type(value) is float and math.isfinite(value)
