"""What each operation takes, as JSON Schema with `x-type`: the pipeline sanitizes effect arguments with these.

`x-type` names a type of `gateway.sanitizer`. File content and bodies have none: they are payload, not instructions
to this gateway, and bytes that are not text go as base64. Limits here are those of the performers' defaults, or
wider; a performer's own limit decides.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from engine.values import JsonObject
from gateway.effects.commands.limits import OUTPUT_BYTES_MAX, WALL_MS_MAX
from gateway.effects.commands.rule import TOKENS_MAX
from gateway.effects.headers import FIELDS_MAX
from gateway.effects.http import METHODS, TIMEOUT_MS_MAX
from gateway.effects.paths import PATH_BYTES_MAX
from gateway.effects.target import URL_CHARS_MAX
from gateway.effects.timer import SLEEP_MS_MAX
from gateway.effects.waits import APPROVERS_MAX, EXPIRES_SECONDS_MAX, MESSAGE_CHARS_MAX, NAME_CHARS_MAX, OUTPUTS_MAX

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PAYLOAD_CHARS_MAX: Final = 1024 * 1024
_BASE64_CHARS_MAX: Final = (_PAYLOAD_CHARS_MAX + 2) // 3 * 4

_PATH: Final[JsonObject] = {"type": "string", "x-type": "path", "minLength": 1, "maxLength": PATH_BYTES_MAX}
_TEXT_PAYLOAD: Final[JsonObject] = {"type": "string", "maxLength": _PAYLOAD_CHARS_MAX}
_BASE64_PAYLOAD: Final[JsonObject] = {
    "type": "string",
    "maxLength": _BASE64_CHARS_MAX,
    "pattern": "^[A-Za-z0-9+/]*={0,2}$",
}

# What a content over 64 KiB is: its digest and size (`gateway.effects.blobs`). The host puts the bytes there.
_BLOB: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "$blob": {"type": "string", "maxLength": 71, "pattern": "^sha256:[0-9a-f]{64}$"},
        "size": {"type": "integer", "minimum": 0},
    },
    "required": ["$blob", "size"],
    "additionalProperties": False,
}
_CONTENT: Final[JsonObject] = {"anyOf": [_TEXT_PAYLOAD, _BLOB]}

_FILE_WRITE: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {
        "path": _PATH,
        "content": _CONTENT,
        "content_base64": _BASE64_PAYLOAD,
        "mode": {"enum": ["create", "replace"]},
    },
    "required": ["path"],
    "oneOf": [{"required": ["content"]}, {"required": ["content_base64"]}],
    "additionalProperties": False,
}

_FILE_READ: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {"path": _PATH},
    "required": ["path"],
    "additionalProperties": False,
}

_HTTP_REQUEST: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {
        "method": {"enum": sorted(METHODS)},
        "url": {"type": "string", "x-type": "url", "maxLength": URL_CHARS_MAX},
        "host": {"type": "string", "maxLength": 255},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "headers": {
            "type": "object",
            "maxProperties": FIELDS_MAX,
            "propertyNames": {"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"},
            "additionalProperties": {"type": "string", "x-type": "header", "maxLength": 8192},
        },
        "body": _CONTENT,
        "body_base64": _BASE64_PAYLOAD,
        "timeout_ms": {"type": "integer", "minimum": 1, "maximum": TIMEOUT_MS_MAX},
    },
    "required": ["url"],
    "not": {"required": ["body", "body_base64"]},
    "additionalProperties": False,
}

_TIMER_SLEEP: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {"ms": {"type": "integer", "minimum": 0, "maximum": SLEEP_MS_MAX}},
    "required": ["ms"],
    "additionalProperties": False,
}

_NAME: Final[JsonObject] = {"type": "string", "x-type": "identifier", "maxLength": NAME_CHARS_MAX}

_APPROVAL_REQUEST: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {
        "message": {"type": "string", "x-type": "text", "minLength": 1, "maxLength": MESSAGE_CHARS_MAX},
        "approvers": {"type": "array", "minItems": 1, "maxItems": APPROVERS_MAX, "uniqueItems": True, "items": _NAME},
        "expires_in_seconds": {"type": "integer", "minimum": 1, "maximum": EXPIRES_SECONDS_MAX},
    },
    "required": ["message"],
    "additionalProperties": False,
}

# The nested document is not looked into: its own admission does that, as strictly as for any other mission.
_MISSION_RUN: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {
        "mission": {"type": "object"},
        "outputs": {"type": "array", "maxItems": OUTPUTS_MAX, "uniqueItems": True, "items": _NAME},
    },
    "required": ["mission"],
    "additionalProperties": False,
}

_COMMAND_RUN: Final[JsonObject] = {
    "$schema": _DIALECT,
    "type": "object",
    "properties": {
        "argv": {
            "type": "array",
            "minItems": 1,
            "maxItems": TOKENS_MAX,
            "items": {"type": "string", "x-type": "argv"},
        },
        "stdin": _TEXT_PAYLOAD,
        "stdin_base64": _BASE64_PAYLOAD,
        "timeout_ms": {"type": "integer", "minimum": 1, "maximum": WALL_MS_MAX},
        "output_bytes_max": {"type": "integer", "minimum": 1, "maximum": OUTPUT_BYTES_MAX},
    },
    "required": ["argv"],
    "not": {"required": ["stdin", "stdin_base64"]},
    "additionalProperties": False,
}

ARGUMENT_SCHEMAS: Final[Mapping[str, JsonObject]] = MappingProxyType(
    {
        "file.write": _FILE_WRITE,
        "file.read": _FILE_READ,
        "http.request": _HTTP_REQUEST,
        "timer.sleep": _TIMER_SLEEP,
        "approval.request": _APPROVAL_REQUEST,
        "mission.run": _MISSION_RUN,
        "command.run": _COMMAND_RUN,
    }
)
