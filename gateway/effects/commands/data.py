"""Reads `commands` of the policy data into rules; an entry that is not understood in full stops the gateway."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Final, TypeVar

from engine.values import JsonObject, JsonValue
from gateway.effects.commands.limits import OUTPUT_BYTES_MAX, WALL_MS_MAX, CommandLimits
from gateway.effects.commands.pattern import TokenPattern
from gateway.effects.commands.rule import NAME, TOKEN_CHARS_MAX, CommandRule, Form, OptionRule
from gateway.errors import PolicyInvalidError

COMMANDS_MAX: Final = 256
OPTIONS_MAX: Final = 256
LIST_MAX: Final = 64

_T = TypeVar("_T")
_FIELDS: Final = frozenset(field.name for field in fields(CommandRule)) - {"name"}
_LIMITS: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "wall_ms": ("wall_ms_max", WALL_MS_MAX),
        "cpu_seconds": ("cpu_seconds_max", 60),
        "memory_bytes": ("memory_bytes_max", 16 * 1024 * 1024 * 1024),
        "file_bytes": ("file_bytes_max", 1024 * 1024 * 1024),
        "processes_max": ("processes_max", 256),
        "output_bytes": ("output_bytes_max", OUTPUT_BYTES_MAX),
    }
)
_OPTION_FIELDS: Final = frozenset({"value", "form"})
_OPTION: Final = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9_-]{0,63}|-[A-Za-z0-9]{1,64}")
_FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {"attached": "attached", "separate": "separate", "either": "either"}
)
_PATH: Final = re.compile(r"(?:/[^/\0]{1,255}){1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHORT_CHARS: Final = 2


def commands_from(data: JsonObject) -> Mapping[str, CommandRule]:
    """Return the commands that `data["commands"]` opens, by name; none without the key.

    Raises:
        PolicyInvalidError: `policy.command_invalid`; the message names the entry and the field.
    """
    given = data.get("commands", {})
    if not isinstance(given, Mapping) or len(given) > COMMANDS_MAX:
        raise _invalid("commands", f"must be an object of at most {COMMANDS_MAX} entries")
    return MappingProxyType({name: _rule(name, entry) for name, entry in given.items()})


def _rule(name: str, entry: JsonValue) -> CommandRule:
    where = f"commands.{name}"
    if not NAME.fullmatch(name):
        raise _invalid("commands", "a name has small letters, digits, _ . -, and begins with a letter or digit")
    given = _object(where, entry, _FIELDS)
    positionals = _list(f"{where}.positionals", given.get("positionals", ()), _pattern)
    return CommandRule(
        name=name,
        executable=_path(f"{where}.executable", given.get("executable")),
        sha256=_optional(f"{where}.sha256", given.get("sha256"), _sha256),
        fixed=_list(f"{where}.fixed", given.get("fixed", ()), _fixed),
        options=_options(f"{where}.options", given.get("options", {})),
        positionals=positionals,
        required=_whole(f"{where}.required", given.get("required", len(positionals)), 0, len(positionals)),
        rest=_optional(f"{where}.rest", given.get("rest"), _pattern),
        end_of_options=_boolean(f"{where}.end_of_options", given.get("end_of_options", False)),
        stdin=_boolean(f"{where}.stdin", given.get("stdin", False)),
        reads=_list(f"{where}.reads", given.get("reads", ()), _path),
        executes=_list(f"{where}.executes", given.get("executes", ()), _path),
        limits=_limits(f"{where}.limits", given.get("limits", {})),
    )


def _options(where: str, value: JsonValue) -> Mapping[str, OptionRule]:
    if not isinstance(value, Mapping) or len(value) > OPTIONS_MAX:
        raise _invalid(where, f"must be an object of at most {OPTIONS_MAX} entries")
    options = {name: _option(f"{where}.{name}", name, entry) for name, entry in value.items()}
    for name in options:
        # "-ov" is "-o" with the value "v" to most programs: it must not be another option to us.
        short = options.get(name[:_SHORT_CHARS])
        if short is not None and short.value is not None and not name.startswith("--") and len(name) > _SHORT_CHARS:
            raise _invalid(f"{where}.{name}", f"reads as {name[:_SHORT_CHARS]} with an attached value")
    return MappingProxyType(options)


def _option(where: str, name: str, entry: JsonValue) -> OptionRule:
    if not _OPTION.fullmatch(name):
        raise _invalid(where, "is no name of an option: -x, -name or --name, without =")
    given = _object(where, entry, _OPTION_FIELDS)
    value = _optional(f"{where}.value", given.get("value"), _pattern)
    if value is None:
        if "form" in given:
            raise _invalid(f"{where}.form", "an option without a value has none")
        return OptionRule(name)
    form = _FORMS.get(str(given.get("form", "attached" if name.startswith("--") else "separate")))
    if form is None:
        raise _invalid(f"{where}.form", "must be attached, separate or either")
    if form != "separate" and not name.startswith("--") and len(name) != _SHORT_CHARS:
        raise _invalid(f"{where}.form", "only --name and -n take an attached value")
    return OptionRule(name, value, form)


def _limits(where: str, value: JsonValue) -> CommandLimits:
    given = _object(where, value, frozenset(_LIMITS))
    bounds = {_LIMITS[key][0]: _whole(f"{where}.{key}", v, 1, _LIMITS[key][1]) for key, v in given.items()}
    return CommandLimits(**bounds)


def _object(where: str, value: JsonValue, known: frozenset[str]) -> JsonObject:
    if not isinstance(value, Mapping):
        raise _invalid(where, "must be an object")
    if unknown := sorted(set(value) - known):
        raise _invalid(where, f"has an unknown field {unknown[0]!r}")
    return value


def _list(where: str, value: JsonValue, parse: Callable[[str, JsonValue], _T]) -> tuple[_T, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > LIST_MAX:
        raise _invalid(where, f"must be a list of at most {LIST_MAX}")
    return tuple(parse(f"{where}[{at}]", item) for at, item in enumerate(value))


def _optional(where: str, value: JsonValue, parse: Callable[[str, JsonValue], _T]) -> _T | None:
    return None if value is None else parse(where, value)


def _pattern(where: str, value: JsonValue) -> TokenPattern:
    if not isinstance(value, str):
        raise _invalid(where, "must be a pattern")
    try:
        return TokenPattern.compile(value)
    except ValueError as error:
        raise _invalid(where, str(error)) from error


def _fixed(where: str, value: JsonValue) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TOKEN_CHARS_MAX or not value.isprintable():
        raise _invalid(where, f"must be printable text of 1 to {TOKEN_CHARS_MAX} characters")
    return value


def _path(where: str, value: JsonValue) -> str:
    if not isinstance(value, str) or not _PATH.fullmatch(value) or {"..", "."} & set(value.split("/")):
        raise _invalid(where, "must be an absolute path, without . and ..")
    return value


def _sha256(where: str, value: JsonValue) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise _invalid(where, "must be 64 hex digits in small letters")
    return value


def _boolean(where: str, value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise _invalid(where, "must be true or false")
    return value


def _whole(where: str, value: JsonValue, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _invalid(where, f"must be a whole number from {least} to {most}")
    return value


def _invalid(where: str, rule: str) -> PolicyInvalidError:
    return PolicyInvalidError(f"{where}: {rule}", code="policy.command_invalid")
