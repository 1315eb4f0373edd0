"""Walks JSON text and knows where it is: slower than the parser, and used only when there is something to report."""

import contextlib
import json
import re
from collections.abc import Collection
from typing import Protocol

from engine.findings import Path, Place, position_at, shown

_TOKEN = re.compile(
    r"""[ \t\n\r]*
    ( [\[\]{},:]
    | "[^"\\\x00-\x1f]*+(?>(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*)"
    | -?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?
    | [A-Za-z]+ | -Infinity
    | \Z )""",
    re.VERBOSE,
)
_WHITE = re.compile(r"[ \t\n\r]*")
WORDS = frozenset({"true", "false", "null"})
_VALUE_STARTS = frozenset('0123456789-"[{')
NOT_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})  # no JSON, yet many writers write them


class JsonSyntaxError(Exception):
    """The text is no JSON from offset `at` on."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


class Visitor(Protocol):
    """Is told of every key and value, in document order; offsets are code points from 0."""

    def on_key(self, path: Path, at: int, lexeme: str, *, repeated: bool) -> None:
        """A key of an object; `path` ends with it."""

    def on_value(self, path: Path, at: int, lexeme: str) -> None:
        """A value begins: `lexeme` is the scalar, or an opening bracket."""


class JsonScanner:
    """Recursive descent. The visitor bounds the depth, by raising from `on_value`."""

    def __init__(self, text: str, visitor: Visitor) -> None:
        self._text = text
        self._visitor = visitor
        self._at = 0

    def document(self) -> None:
        """Walk the whole text.

        Raises:
            JsonSyntaxError: the text is no JSON; what came before was visited.
        """
        self._value(self._take(), ())
        if self._take():
            raise self._error("there is more after the end of the document")

    def _take(self) -> str:
        """Return the next lexeme; "" at the end."""
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            self._token_at = self._at = _WHITE.match(self._text, self._at).end()  # type: ignore[union-attr]
            raise self._error("this is no JSON value; a string may lack its closing quote or hold a control character")
        self._token_at, self._at = match.span(1)
        return match[1]

    def _error(self, message: str) -> JsonSyntaxError:
        return JsonSyntaxError(self._token_at, message)

    def _value(self, lexeme: str, path: Path) -> None:
        if lexeme in WORDS or lexeme in NOT_NUMBERS or lexeme[:1] in _VALUE_STARTS:
            self._visitor.on_value(path, self._token_at, lexeme)
        else:
            raise self._error(
                f"a value is expected here, not '{shown(lexeme)}'" if lexeme else "the document ends too early"
            )
        if lexeme == "{":
            self._members(path)
        elif lexeme == "[":
            self._items(path)

    def _members(self, path: Path) -> None:
        seen: set[str] = set()
        lexeme = self._take()
        while lexeme != "}":
            if lexeme[:1] != '"':
                raise self._error("a key in double quotes is expected here")
            key = json.loads(lexeme)
            self._visitor.on_key((*path, key), self._token_at, lexeme, repeated=key in seen)
            seen.add(key)
            if self._take() != ":":
                raise self._error("a colon is expected here")
            self._value(self._take(), (*path, key))
            lexeme = self._next_of("}")

    def _items(self, path: Path) -> None:
        lexeme = self._take()
        index = 0
        while lexeme != "]":
            self._value(lexeme, (*path, index))
            index += 1
            lexeme = self._next_of("]")

    def _next_of(self, closing: str) -> str:
        """Return the closing bracket, or the lexeme after a comma, which is not the bracket."""
        lexeme = self._take()
        if lexeme == closing:
            return lexeme
        if lexeme != ",":
            raise self._error(f"a comma or '{closing}' is expected here")
        lexeme = self._take()
        if lexeme == closing:
            raise self._error("a comma must not stand before the closing bracket")
        return lexeme


class _AllFoundError(Exception):
    """Ends the walk when nothing is left to look for."""


class _Locator:
    def __init__(self, text: str, wanted: Collection[Path]) -> None:
        self.places: dict[Path, Place] = {}
        self._text = text
        self._wanted = wanted
        self._key_at = 0

    def on_key(self, path: Path, at: int, lexeme: str, *, repeated: bool) -> None:  # noqa: ARG002 - the protocol's
        self._key_at = at

    def on_value(self, path: Path, at: int, lexeme: str) -> None:  # noqa: ARG002 - the protocol's
        if path in self._wanted:
            value = position_at(self._text, at)
            key = position_at(self._text, self._key_at) if path and isinstance(path[-1], str) else value
            self.places[path] = Place(key, value)
            if len(self.places) == len(self._wanted):
                raise _AllFoundError


def locate_json(text: str, paths: Collection[Path]) -> dict[Path, Place]:
    """Return where each of `paths` stands in `text`, which `read_json` accepted; unknown paths are left out."""
    locator = _Locator(text, frozenset(paths))
    with contextlib.suppress(_AllFoundError):
        JsonScanner(text, locator).document()
    return locator.places
