"""`sprintf` as Go's `fmt` writes what OPA hands to it: the verbs %s, %v, %d and %%, without flags or widths.

Source: OPA v1/topdown/strings.go `builtinSprintf`; Go `fmt`, `strconv.Quote`. Numbers are int64 or float64 there,
strings are strings, and everything else is the text of a Rego term. What has another verb, or too few or too many
values, is refused: Go writes its complaint into the text.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from gateway.policy.supplied.jsontext import Spelling
from gateway.policy.supplied.operands import OperandError, Value, string

_VERB: Final = re.compile(r"%(.?)", re.DOTALL)
_QUOTED: Final = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r"}
_ESCAPES: Final = {**{chr(c): f"\\x{c:02x}" for c in (*range(0x20), 0x7F)}, **_QUOTED, "\t": "\\t", "\v": "\\v"}


def sprintf(spelling: Spelling) -> Callable[[Value, Value], str]:
    """Return `sprintf(format, values)`."""

    def builtin(template: Value, values: Value) -> str:
        if type(values) is not list:
            raise OperandError("the values of sprintf are an array")
        rest = iter(values)
        out = _VERB.sub(lambda verb: _one(verb[1], rest, spelling), string(template))
        if next(rest, rest) is not rest:
            raise OperandError("sprintf has more values than verbs")
        return string(out)

    return builtin


def _one(verb: str, rest: Iterator[Value], spelling: Spelling) -> str:
    if verb == "%":
        return "%"
    if verb not in {"s", "d", "v"}:
        raise OperandError(f"sprintf has the verbs %s, %d and %v here, and no %{verb}")
    try:
        value = next(rest)
    except StopIteration:
        raise OperandError("sprintf has fewer values than verbs") from None
    if type(value) in {int, float}:
        return _number(verb, value, spelling)
    shown = value if type(value) is str else term(value, spelling)
    return f"%!d(string={shown})" if verb == "d" else shown


def _number(verb: str, value: float, spelling: Spelling) -> str:
    written = spelling.write(value)
    if verb == "v" or (verb == "d" and type(value) is int):
        return written
    return f"%!{verb}({'int64' if type(value) is int else 'float64'}={written})"


def term(value: Value, spelling: Spelling) -> str:
    """Return a value as Rego writes it."""
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is str:
        return '"' + "".join(_quoted(char) for char in value) + '"'
    if type(value) in {int, float}:
        return spelling.write(value)
    if type(value) is list:
        return "[" + ", ".join(term(one, spelling) for one in value) + "]"
    if type(value) is set:
        return "{" + ", ".join(term(one, spelling) for one in _ordered(value)) + "}" if value else "set()"
    return "{" + ", ".join(f"{term(key, spelling)}: {term(value[key], spelling)}" for key in _ordered(value)) + "}"


def _ordered(values: Value) -> list[Value]:
    if not (all(type(one) is str for one in values) or all(type(one) in {int, float} for one in values)):
        raise OperandError("the order of things that are not all strings or all numbers")
    return sorted(values)


def _quoted(char: str) -> str:
    if (escaped := _ESCAPES.get(char)) is not None:
        return escaped
    if not char.isprintable():
        raise OperandError(f"U+{ord(char):04X} in a value that is written as Rego")
    return char
