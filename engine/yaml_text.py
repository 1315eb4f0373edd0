"""Reads YAML from strangers: libyaml's events, no constructors, the scalars of the YAML 1.2 core schema.

Refused, because it expands, hides or is read differently elsewhere: anchors, aliases, tags, merge keys, directives,
duplicate keys, keys that are not strings, several documents, and line breaks that only a YAML reader sees.
"""

import contextlib
import re
from collections.abc import Collection, Iterator
from typing import Any, Literal, NoReturn

import yaml

from engine.core_schema import read_plain
from engine.findings import Findings, Path, Place, Position, position_at, shown
from engine.mission import MissionLimits
from engine.values import JsonScalar, JsonValue

# libyaml compares each %TAG with all before it: 4 MiB of them take minutes, so a directive is refused unparsed.
_DIRECTIVE = re.compile(r"(?>(?:[ \t]*(?:#[^\n]*)?\r?\n)*)(?=%)")
_NOTHING_MORE = re.compile(r"(?:\.\.\.)?(?>(?:[ \t]*(?:#[^\n]*)?\r?\n)*)[ \t]*(?:#[^\n]*)?")
# Line breaks to libyaml and to no editor: what follows one would look like part of the comment before it.
_HIDDEN_BREAK = re.compile("[\x85\u2028\u2029]|\r(?!\n)")


def read_yaml(text: str, limits: MissionLimits) -> JsonValue:
    """Return the value of `text`, made of dict, list, str, int, float, bool and None.

    Raises:
        MissionInvalidError: it is no YAML, or none that is accepted here; every violation has its position.
    """
    findings = Findings()
    value: JsonValue = None
    try:
        _refuse_unparsed(text, findings)
        value = _Reader(text, limits, findings).document()
    except _StopError:
        pass
    except yaml.YAMLError as error:
        message, position = _syntax(error, text)
        findings.add((), "document.syntax", message, position=position)
    findings.refuse_if_any()
    return value


def locate_yaml(text: str, paths: Collection[Path], limits: MissionLimits) -> dict[Path, Place]:
    """Return where each of `paths` stands in `text`, which `read_yaml` accepted; unknown paths are left out."""
    reader = _Reader(text, limits, Findings(), frozenset(paths))
    with contextlib.suppress(_StopError):
        reader.document()
    return reader.places


class _StopError(Exception):
    """Ends reading: everything wanted was found, or nothing useful can follow."""


def _refuse_unparsed(text: str, findings: Findings) -> None:
    """Refuse what must not reach libyaml."""
    if directive := _DIRECTIVE.match(text):
        message = "directives are not supported; the document is read as YAML 1.2"
        findings.add((), "document.directive", message, position=position_at(text, directive.end()))
    if hidden := _HIDDEN_BREAK.search(text):
        message = "this is a line break to YAML and to no editor; write it as an escape in double quotes"
        findings.add((), "document.line_break", message, position=position_at(text, hidden.start()))
    if findings:
        raise _StopError


def _syntax(error: yaml.YAMLError, text: str) -> tuple[str, Position]:
    """Return what libyaml says, and where; it counts bytes where a character itself is at fault."""
    if isinstance(error, yaml.reader.ReaderError):
        return str(error.reason), position_at(text, len(text.encode()[: error.position].decode(errors="ignore")))
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = [getattr(error, "context", None), getattr(error, "problem", None)]
    return ": ".join(filter(None, said)) or "this is no YAML", Position(1, 1) if mark is None else _position(mark)


class _Reader:
    """Recursive descent over events, as deep as `nesting_max` allows; it also notes where the `wanted` paths stand."""

    def __init__(
        self, text: str, limits: MissionLimits, findings: Findings, wanted: Collection[Path] = frozenset()
    ) -> None:
        self.places: dict[Path, Place] = {}
        self._text = text
        self._limits = limits
        self._findings = findings
        self._wanted = wanted
        self._values_left = limits.values_max
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CLoader)

    def document(self) -> JsonValue:
        """Return the value of the only document."""
        next(self._events)  # the stream's start
        if type(start := next(self._events)) is not yaml.DocumentStartEvent:
            self._stop(start, (), "document.empty", "there is no mission in this document")
        value = self._value(next(self._events), (), None)
        end = next(self._events)
        if not _NOTHING_MORE.fullmatch(self._text, end.end_mark.index):
            self._stop(end, (), "document.multiple", "something follows the end of the document")
        return value

    def _value(self, event: Any, path: Path, key: Any) -> JsonValue:
        """Return the value that `event` begins; `key` is the event of the key before it, if any."""
        self._values_left -= 1
        if self._values_left < 0:
            message = f"the document has more than {self._limits.values_max} values"
            self._stop(event, (), "document.too_many_values", message, kind="limit")
        if path in self._wanted:
            self._note_place(event, path, key)
        kind = type(event)
        if kind is yaml.AliasEvent:
            self._refuse(event, path, "document.alias", "aliases are not supported; repeat the value itself")
            return None
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(event, path)
        if kind is yaml.ScalarEvent:
            return self._plain(event, path) if event.implicit[0] else str(event.value)
        if len(path) >= self._limits.nesting_max:
            message = f"the document nests more than {self._limits.nesting_max} levels"
            self._stop(event, path, "document.too_deep", message, kind="limit")
        return self._sequence(path) if kind is yaml.SequenceStartEvent else self._mapping(path)

    def _sequence(self, path: Path) -> JsonValue:
        items: list[JsonValue] = []
        while type(event := next(self._events)) is not yaml.SequenceEndEvent:
            items.append(self._value(event, (*path, len(items)), None))
        return items

    def _mapping(self, path: Path) -> JsonValue:
        members: dict[str, JsonValue] = {}
        while type(event := next(self._events)) is not yaml.MappingEndEvent:
            key = self._key(event, path)
            if key in members:
                message = "the key is already there; readers differ in which of two they take"
                self._refuse(event, (*path, key), "document.duplicate_key", message)
            members[key] = self._value(next(self._events), (*path, key), event)
        return members

    def _key(self, event: Any, path: Path) -> str:
        if type(event) is not yaml.ScalarEvent:
            self._stop(event, path, "document.key", "a key must be a string")
        key = str(event.value)
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(event, (*path, key))
        if event.implicit[0]:
            if key == "<<":
                self._refuse(event, (*path, key), "document.merge_key", "merge keys are not supported; copy the fields")
            elif not isinstance(self._plain(event, (*path, key)), str):
                self._refuse(event, (*path, key), "document.key", f'a key must be a string; write "{shown(key)}"')
        return key

    def _plain(self, event: Any, path: Path) -> JsonScalar:
        try:
            return read_plain(event.value)
        except ValueError as error:
            self._refuse(event, path, "document.number", str(error))
            return None

    def _refuse_properties(self, event: Any, path: Path) -> None:
        if event.anchor is not None:
            self._refuse(event, path, "document.alias", "anchors are not supported; repeat the value itself")
        if event.tag is not None:
            self._refuse(event, path, "document.tag", "tags are not supported; quote what must be a string")

    def _refuse(self, event: Any, path: Path, code: str, message: str) -> None:
        self._findings.add(path, code, message, position=_position(event.start_mark))

    def _stop(
        self, event: Any, path: Path, code: str, message: str, *, kind: Literal["malformed", "limit"] = "malformed"
    ) -> NoReturn:
        self._findings.add(path, code, message, kind=kind, position=_position(event.start_mark))
        raise _StopError

    def _note_place(self, event: Any, path: Path, key: Any) -> None:
        value = _position(event.start_mark)
        self.places[path] = Place(value if key is None else _position(key.start_mark), value)
        if len(self.places) == len(self._wanted):
            raise _StopError


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
