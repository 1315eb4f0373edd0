"""A JSON document held in a string: one value, which every parser reads alike.

Source: RFC 8259; RFC 7493 (I-JSON: unique names, no lone surrogates, numbers within reach).
"""

import json
import re
from typing import Final, NoReturn

import orjson

from engine.numbers import parse_float, parse_integer
from gateway.sanitizer.finding import Finding

JSON_CHARS_MAX: Final = 1024 * 1024
JSON_NESTING_MAX: Final = 64

_TOO_LONG: Final = Finding("too_long", f"is longer than {JSON_CHARS_MAX} characters")
_TOO_DEEP: Final = Finding("too_deep", f"is nested deeper than {JSON_NESTING_MAX} levels")
_SYNTAX: Final = Finding("syntax", "is no JSON document, or holds half of a surrogate pair")
_DUPLICATE: Final = Finding("duplicate_key", "has an object that names a key twice")
_NUMBER: Final = Finding("number", "has a number that is not finite, or an integer outside of 64 bits")

# Atomic, and closed by the end of input: linear also on text with many escapes and no closing quote.
_TOKEN: Final = re.compile(r'"(?>(?:[^"\\]|\\.)*)(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


class _RefusedError(Exception):
    """Carries the finding out of the parser's hooks."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.rule)
        self.finding = finding


def check_json(value: str) -> Finding | None:
    """Return the rule that `value` breaks, or None."""
    if len(value) > JSON_CHARS_MAX:
        return _TOO_LONG
    if _nesting(value) > JSON_NESTING_MAX:
        return _TOO_DEEP
    try:
        # Duplicate keys and numbers need the hooks of one parser; lone surrogates and odd syntax, a stricter one.
        _DECODER.decode(value)
        orjson.loads(value)
    except _RefusedError as refused:
        return refused.finding
    except ValueError:
        return _SYNTAX
    return None


def _nesting(value: str) -> int:
    """Return the deepest level, looking at brackets only, before anything recurses into them."""
    depth = deepest = 0
    for match in _TOKEN.finditer(value):
        char = match[0][0]
        if char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char != '"':
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _RefusedError(_DUPLICATE)
    return out


def _integer(text: str) -> int:
    try:
        return parse_integer(text)
    except ValueError as error:
        raise _RefusedError(_NUMBER) from error


def _float(text: str) -> float:
    try:
        return parse_float(text)
    except ValueError as error:
        raise _RefusedError(_NUMBER) from error


def _constant(_text: str) -> NoReturn:
    raise _RefusedError(_NUMBER)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
