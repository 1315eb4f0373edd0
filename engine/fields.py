"""Readers of single fields: each takes a JSON value, reports what is wrong with it, and returns what can be used of it.

A value returned beside a report only keeps reading possible, so that one pass finds everything; it is never executed.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from engine.findings import Findings, Path, shown, suggestion
from engine.values import JsonValue

IDENTIFIER_CHARS_MAX = 128
_IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
_CONCURRENCY_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}")
_TYPE_NAMES = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list"}

_T = TypeVar("_T")
_Choice = TypeVar("_Choice", bound=StrEnum)
Reader: TypeAlias = Callable[[JsonValue, Path, Findings], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object."""

    read: Reader
    required: bool = False


def read_object(value: JsonValue, path: Path, fields: Mapping[str, Field], findings: Findings) -> dict[str, Any]:
    """Return the fields that are there, each as its reader returned it; unknown and missing ones are reported."""
    members: dict[str, Any] = {}
    if not isinstance(value, dict):
        return _wrong_type(value, path, "an object", findings, members)
    for key, item in value.items():
        field = fields.get(key)
        if field is None:
            message = f"there is no field '{shown(key)}' here{suggestion(key, fields)}"
            findings.add((*path, key), "mission.unknown_field", message, at_key=True)
        else:
            members[key] = field.read(item, (*path, key), findings)
    for key, field in fields.items():
        if field.required and key not in value:
            findings.add((*path, key), "mission.missing_field", f"the field '{key}' is required", at=path)
    return members


def text(bytes_max: int, *, may_be_empty: bool = False) -> Reader:
    """A string of at most `bytes_max` bytes of UTF-8."""

    def read(value: JsonValue, path: Path, findings: Findings) -> str:
        if not isinstance(value, str):
            return _wrong_type(value, path, "a string", findings, "")
        if len(value) > bytes_max or len(value.encode()) > bytes_max:
            findings.add(path, "mission.out_of_range", f"at most {bytes_max} bytes are allowed", kind="limit")
        elif not value and not may_be_empty:
            findings.add(path, "mission.out_of_range", "this must not be empty")
        return value

    return read


def identifier(value: JsonValue, path: Path, findings: Findings) -> str | None:
    """A name that references can spell: ASCII letters, digits, `_` and, but for the first character, `-`."""
    if not isinstance(value, str):
        return _wrong_type(value, path, "a string", findings, None)
    if not _IDENTIFIER.fullmatch(value):
        findings.add(path, "mission.bad_identifier", _identifier_rule(value))
    return value


def _identifier_rule(name: str) -> str:
    return (
        f"'{shown(name)}' is no identifier: 1 to {IDENTIFIER_CHARS_MAX} of A-Z, a-z, 0-9, _ and -, not beginning with -"
    )


def seconds(maximum: float) -> Reader:
    """A number of seconds, more than 0 and at most `maximum`, as float."""

    def read(value: JsonValue, path: Path, findings: Findings) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _wrong_type(value, path, "a number of seconds", findings, None)
        if value > maximum:
            findings.add(path, "mission.out_of_range", f"at most {maximum:g} seconds are allowed", kind="limit")
        elif not value > 0:
            findings.add(path, "mission.out_of_range", "this must be more than 0 seconds")
        return float(value)

    return read


def count(maximum: int, *, minimum: int = 1) -> Reader:
    """An integer from `minimum` to `maximum`."""

    def read(value: JsonValue, path: Path, findings: Findings) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return _wrong_type(value, path, "a whole number", findings, None)
        if value > maximum:
            findings.add(path, "mission.out_of_range", f"at most {maximum} is allowed", kind="limit")
        elif value < minimum:
            findings.add(path, "mission.out_of_range", f"this must be at least {minimum}")
        return value

    return read


def boolean(value: JsonValue, path: Path, findings: Findings) -> bool | None:
    """True or false, and no word or number for it."""
    return value if isinstance(value, bool) else _wrong_type(value, path, "true or false", findings, None)


def json_object(value: JsonValue, path: Path, findings: Findings) -> dict[str, JsonValue]:
    """An object, whatever is in it."""
    return value if isinstance(value, dict) else _wrong_type(value, path, "an object", findings, {})


def variables(value: JsonValue, path: Path, findings: Findings) -> dict[str, JsonValue]:
    """An object whose keys are identifiers; references must be able to name them."""
    members = json_object(value, path, findings)
    for name in members:
        if not _IDENTIFIER.fullmatch(name):
            findings.add((*path, name), "mission.bad_identifier", _identifier_rule(name), at_key=True)
    return members


def labels(entries_max: int, bytes_max: int) -> Reader:
    """An object of at most `entries_max` strings; keys as Kubernetes writes them (`team`, `example.org/tier`)."""
    read_text = text(bytes_max, may_be_empty=True)

    def read(value: JsonValue, path: Path, findings: Findings) -> dict[str, str]:
        members = json_object(value, path, findings)
        if len(members) > entries_max:
            findings.add(path, "mission.out_of_range", f"at most {entries_max} labels are allowed", kind="limit")
            return {}
        for key in members:
            if not _LABEL_KEY.fullmatch(key):
                message = f"'{shown(key)}' is no label: letters, digits, and . _ / - between them, at most 128"
                findings.add((*path, key), "mission.bad_identifier", message, at_key=True)
        return {key: read_text(item, (*path, key), findings) for key, item in members.items()}

    return read


def names(value: JsonValue, path: Path, findings: Findings) -> tuple[str, ...]:
    """A list of strings; nothing of it when one entry is none."""
    if not isinstance(value, list):
        return _wrong_type(value, path, "a list of step ids", findings, ())
    wrong = [at for at, item in enumerate(value) if not isinstance(item, str)]
    for at in wrong:
        _wrong_type(value[at], (*path, at), "a step id", findings, None)
    return () if wrong else tuple(value)


def camel_case(name: str) -> str:
    """Return the other spelling of a step type: `CreateFile` for `create_file`."""
    return "".join(word.capitalize() for word in name.split("_"))


def step_type_spellings(known: Collection[str]) -> dict[str, str]:
    """Return which of `known` each accepted spelling means: `create_file` and `CreateFile`."""
    return {name: name for name in known} | {camel_case(name): name for name in known}


def step_type(known: Collection[str]) -> Reader:
    """One of `known`, spelled `create_file` or `CreateFile`; the former is returned."""
    spellings = step_type_spellings(known)

    def read(value: JsonValue, path: Path, findings: Findings) -> str | None:
        if not isinstance(value, str):
            return _wrong_type(value, path, "a string", findings, None)
        name = spellings.get(value)
        if name is None:
            message = f"there is no step type '{shown(value)}'{suggestion(value, known)}"
            findings.add(path, "mission.unknown_step_type", message)
        return name

    return read


def exactly(expected: str, code: str, message: str) -> Reader:
    """This one string."""

    def read(value: JsonValue, path: Path, findings: Findings) -> str:
        if value != expected:
            findings.add(path, code, message)
        return expected

    return read


def one_of(choices: type[_Choice]) -> Reader:
    """One member of a `StrEnum`, by its value."""
    known = {choice.value: choice for choice in choices}

    def read(value: JsonValue, path: Path, findings: Findings) -> _Choice | None:
        if not isinstance(value, str):
            return _wrong_type(value, path, "a string", findings, None)
        choice = known.get(value)
        if choice is None:
            message = f"'{shown(value)}' is none of {', '.join(known)}{suggestion(value, known)}"
            findings.add(path, "mission.unknown_choice", message)
        return choice

    return read


def concurrency_key(value: JsonValue, path: Path, findings: Findings) -> str | None:
    """A name that many missions share, such as `deploy/eu-west:db`; ASCII, so that no two that look alike differ."""
    if not isinstance(value, str):
        return _wrong_type(value, path, "a string", findings, None)
    if not _CONCURRENCY_KEY.fullmatch(value):
        message = f"'{shown(value)}' is no key: a letter or a digit, then letters, digits, and . _ / : -, at most 128"
        findings.add(path, "mission.bad_identifier", message)
    return value


def _wrong_type(value: JsonValue, path: Path, expected: str, findings: Findings, instead: _T) -> _T:
    found = "nothing" if value is None else _TYPE_NAMES.get(type(value), "an object")
    findings.add(path, "mission.wrong_type", f"{expected} is expected here, not {found}")
    return instead
