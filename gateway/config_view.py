"""The effective configuration for people and programs: each key, its value, and who has said so; secrets left out."""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from engine.values import JsonValue
from gateway.config_sources import Layers, dotted, leaves
from gateway.section import Section

REDACTED: Final = "(not shown)"
# What a key is called may say that its value is secret, whoever adds it, and forgets to mark it; files are only named.
_SECRET_NAME: Final = re.compile(r"(?:^|_)(?:secret|password|passphrase|token|pin|credential)$")
_USER_IN_URL: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#@\s]*@", re.IGNORECASE)
_QUERY_IN_URL: Final = re.compile(r"^([a-z][a-z0-9+.-]*://[^?#\s]*)[?#].*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A key in force."""

    key: str
    value: JsonValue
    origin: str  # flag, env, file or default
    place: str  # the option, the variable, the file; "" of a default


def settings_of(config: Section, layers: Layers) -> tuple[Setting, ...]:
    """Return every key in force, in the order of the sections."""
    found = []
    for path, info, value in leaves(config):
        origin = layers.origin(path)
        shown = _shown(path[-1], value) if info.repr or not value else REDACTED
        place = layers.place(path) if origin != "default" else ""
        found.append(Setting(key=dotted(path), value=shown, origin=origin, place=place))
    return tuple(found)


def _shown(name: str, value: Any) -> JsonValue:
    """Return a value without what is secret in it, however deep."""
    if value and _SECRET_NAME.search(name):
        return REDACTED
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            key: _shown(key, getattr(value, key)) if info.repr or not getattr(value, key) else REDACTED
            for key, info in fields.items()
        }
    if isinstance(value, dict):
        return {str(key): _shown(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(name, each) for each in value]
    if isinstance(value, str):
        return _USER_IN_URL.sub(rf"\1{REDACTED}@", _QUERY_IN_URL.sub(rf"\1?{REDACTED}", value))
    return value if isinstance(value, bool | int | float) or value is None else str(value)
