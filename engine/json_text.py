"""Reads JSON from strangers: RFC 8259, less everything that two readers could understand differently.

Refused beyond the RFC: duplicate keys, NaN and infinities, integers beyond 64 bits, lone surrogates.

The C parser of the standard library does the work, on text whose nesting was measured first, so that its recursion
never depends on the client. When it says no, the audit walks the text again and says why and where.
"""

import contextlib
import json
import re
from typing import NoReturn

import orjson

from engine.findings import Findings, Path, Position, position_at
from engine.json_scan import NOT_NUMBERS, WORDS, JsonScanner, JsonSyntaxError
from engine.mission import MissionLimits
from engine.numbers import parse_float, parse_integer
from engine.values import JsonValue

# The end of input closes a string too: else each escaped quote of an open one would begin a search of its own.
_STRING = re.compile(r'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")


def read_json(text: str, limits: MissionLimits) -> JsonValue:
    """Return the value of `text`, made of dict, list, str, int, float, bool and None.

    Raises:
        MissionInvalidError: it is no JSON, or none that is accepted here; every violation has its position.
    """
    bare = _STRING.sub("", text)
    findings = Findings()
    if bare.count(",") + bare.count("[") + bare.count("{") >= limits.values_max:
        message = f"the document has more than {limits.values_max} values"
        findings.add((), "document.too_many_values", message, kind="limit", position=Position(1, 1))
        raise findings.error()
    if _nests_within(bare, limits.nesting_max):
        with contextlib.suppress(ValueError):
            value: JsonValue = _DECODER.decode(text)
            if not _SURROGATE.search(text) or _is_unicode(value):
                return value
    _audit(text, limits, findings)
    raise findings.error()


def _nests_within(bare: str, nesting_max: int) -> bool:
    """Return whether the brackets of `bare`, which has no strings, open at most `nesting_max` deep."""
    depth = 0
    for bracket in bare.encode().translate(None, _NO_BRACKET):
        if bracket in b"[{":
            depth += 1
            if depth > nesting_max:
                return False
        else:
            depth -= 1
    return True


def _is_unicode(value: JsonValue) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _object(members: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(members)
    if len(value) < len(members):
        raise ValueError("duplicate key")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _number(text: str) -> int | float:
    if text in NOT_NUMBERS:
        _constant(text)
    return parse_integer(text) if text.lstrip("-").isdigit() else parse_float(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=parse_integer, parse_float=parse_float, parse_constant=_constant
)


class _TooDeepError(Exception):
    """Stops the walk."""


class _Auditor:
    """Tells `findings` of everything that is JSON, and refused all the same."""

    def __init__(self, text: str, limits: MissionLimits, findings: Findings) -> None:
        self._text = text
        self._limits = limits
        self._findings = findings

    def on_key(self, path: Path, at: int, lexeme: str, *, repeated: bool) -> None:
        if repeated:
            message = "the key is already there; readers differ in which of two they take"
            self._findings.add(path, "document.duplicate_key", message, position=position_at(self._text, at))
        self._check_unicode(path, at, lexeme)

    def on_value(self, path: Path, at: int, lexeme: str) -> None:
        if lexeme in ("[", "{"):
            if len(path) >= self._limits.nesting_max:
                message = f"the document nests more than {self._limits.nesting_max} levels"
                self._findings.add(
                    path, "document.too_deep", message, kind="limit", position=position_at(self._text, at)
                )
                raise _TooDeepError
        elif lexeme[0] == '"':
            self._check_unicode(path, at, lexeme)
        elif lexeme not in WORDS:
            self._check_number(path, at, lexeme)

    def _check_unicode(self, path: Path, at: int, lexeme: str) -> None:
        if "\\u" in lexeme and any("\ud800" <= c <= "\udfff" for c in json.loads(lexeme)):
            message = "an escape that is half of a surrogate pair is no character"
            self._findings.add(path, "document.encoding", message, position=position_at(self._text, at))

    def _check_number(self, path: Path, at: int, lexeme: str) -> None:
        try:
            _number(lexeme)
        except ValueError as error:
            self._findings.add(path, "document.number", str(error), position=position_at(self._text, at))


def _audit(text: str, limits: MissionLimits, findings: Findings) -> None:
    """Tell `findings` every reason why `text` is refused; there is at least one afterwards."""
    try:
        JsonScanner(text, _Auditor(text, limits, findings)).document()
    except _TooDeepError:
        return
    except JsonSyntaxError as error:
        findings.add((), "document.syntax", str(error), position=position_at(text, error.at))
    if not findings:  # the parser and this walk disagree; the stricter of the two holds
        findings.add((), "document.syntax", "this is no JSON that is accepted here", position=Position(1, 1))
