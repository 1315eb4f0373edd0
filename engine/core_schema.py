"""What a plain YAML scalar means, by the core schema of YAML 1.2 and nothing older.

`no`, `on`, `12:30` and `2024-01-01` are strings; `010` is ten. Source: YAML 1.2.2, 10.3.2.
"""

import re

from engine.numbers import parse_float, parse_integer
from engine.values import JsonScalar

_WORDS: dict[str, JsonScalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def read_plain(text: str) -> JsonScalar:
    """Return the value of a plain scalar.

    Raises:
        ValueError: a number that is not finite, or does not fit.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return parse_integer(text)
    if _PREFIXED.fullmatch(text):
        return parse_integer(text, 0)
    if _FLOAT.fullmatch(text):
        return parse_float(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("NaN and infinities are not JSON values")
    return text
