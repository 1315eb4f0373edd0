"""JSON texts as Go reads and writes them: `json.marshal`, `json.unmarshal`, `json.is_valid`.

Source: OPA v1/topdown/encoding.go; Go `encoding/json` (keys in order, <, > and & escaped, the last of two equal keys).

OPA keeps how a number was written: 1.0 stays 1.0. regorus does not, so a number is written only where it is known
that OPA would write the same (`Spelling`), and read only in the form that this engine would write.
"""

import json
import re
import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn

from gateway.policy.supplied.numbers import decimal
from gateway.policy.supplied.operands import INTEGER_MAX, OperandError, Value, string

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)', re.DOTALL)
_ESCAPES: Final = {char: f"\\u{ord(char):04x}" for char in [*map(chr, range(0x20)), "<", ">", "&", "\u2028", "\u2029"]}
_ESCAPES.update({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Spelling(threading.local):
    """Which numbers OPA may know under another spelling than this engine, in the document under evaluation.

    Each thread has its own document.
    """

    def __init__(self, data: Value) -> None:
        """Take in the data document, in which every fraction may have been written in several ways."""
        self._data = data
        self._of_data: frozenset[float] | None = None  # both are looked for when the first number is written
        self._document = b""
        self._odd: frozenset[float] | None = None

    def begin(self, document: bytes, *, data: Value = None) -> None:
        """Begin the evaluation of one document, over other data where it is given."""
        if data is not None and data is not self._data:
            self._data, self._of_data = data, None
        self._document, self._odd = document, None

    def write(self, number: float) -> str:
        """Return the spelling of a number.

        Raises:
            OperandError: OPA may spell it otherwise.
        """
        if self._of_data is None:
            self._of_data = frozenset(_fractions(self._data))
        if self._odd is None:
            written = [match[1] for match in _TOKEN.finditer(self._document) if match[1]]
            self._odd = self._of_data | {float(text) for text in written if not _plain(text)}
        if number in self._odd or abs(number) > INTEGER_MAX or "e" in repr(number):
            raise OperandError("a number that may be written otherwise: 1.0 and 1 are one number and two texts")
        return repr(number)


def _plain(text: bytes) -> bool:
    if text.removeprefix(b"-").isdigit():
        return text != b"-0"
    return repr(float(text)).encode() == text and not float(text).is_integer()


def _fractions(value: Value) -> set[float]:
    if isinstance(value, float):
        return {value}
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*(_fractions(one) for one in below))


def marshal(spelling: Spelling) -> Callable[[Value], str]:
    """Return `json.marshal(x)`."""

    def builtin(value: Value) -> str:
        return _write(value, spelling)

    return builtin


def _write(value: Value, spelling: Spelling) -> str:
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is str:
        return '"' + "".join(_ESCAPES.get(char, char) for char in value) + '"'
    if type(value) in {int, float}:
        return spelling.write(value)
    if type(value) is dict:
        pairs = sorted((string(key), one) for key, one in value.items()) if _texts(value) else _unordered()
        return "{" + ",".join(f"{_write(key, spelling)}:{_write(one, spelling)}" for key, one in pairs) + "}"
    if type(value) is set:
        value = sorted(value) if _texts(value) else _unordered()
    return "[" + ",".join(_write(one, spelling) for one in value) + "]"


def _texts(value: Value) -> bool:
    return all(type(one) is str for one in value)


def _unordered() -> NoReturn:
    raise OperandError("a set of other things than strings, or an object with other keys")


def unmarshal(value: Value) -> Value:
    """`json.unmarshal(x)`."""
    return read(string(value))


def is_valid(value: Value) -> bool:
    """`json.is_valid(x)`; of what is no string, false."""
    if type(value) is not str:
        return False
    try:
        _parse(string(value), parse_number=str)
    except ValueError as error:
        if isinstance(error, OperandError):
            raise
        return False
    return True


def read(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        OperandError: it is none, or one that this engine would hold otherwise than OPA.
    """
    try:
        value = _parse(text, parse_number=decimal)
    except OperandError:
        raise
    except ValueError as error:
        raise OperandError("is no JSON") from error
    _check(value)
    return value


def _parse(text: str, *, parse_number: Callable[[str], Any]) -> Any:
    try:
        return json.loads(text, parse_int=parse_number, parse_float=parse_number, parse_constant=_constant)
    except RecursionError as error:
        raise OperandError("JSON that is nested too deep") from error


def _constant(text: str) -> NoReturn:
    raise ValueError(text)


def _check(value: Any) -> None:
    """Refuse half a surrogate pair, for which Go puts U+FFFD."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise OperandError("half a surrogate pair")
    elif isinstance(value, dict):
        for key, one in value.items():
            _check(key)
            _check(one)
    elif isinstance(value, list):
        for one in value:
            _check(one)
