"""The exact bytes of one event line; docs/audit-format.md, section 2, is the specification."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from engine.audit.errors import AuditEventRefusedError
from engine.values import JsonObject

LINE_BYTES_MAX: Final = 65_536  # one line, without its LF
GENESIS_HASH: Final = "0" * 64  # previous_hash of event 0
CLOCK_RAW: Final = "clock_raw"  # reserved in details: what the clock said, where `timestamp` had to move on from it

_KEYS: Final = (
    "seq",
    "event_id",
    "timestamp",
    "event_type",
    "actor",
    "target",
    "details",
    "previous_hash",
    "hash",
)
_HASH_SUFFIX_BYTES: Final = len(',"hash":""}') + 64
_EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
_EVENT_TYPE_CHARS_MAX: Final = 128
_EVENT_ID: Final = re.compile(r"[0-9a-f]{32}")
_TIMESTAMP: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
# Floats are the one thing that encoders spell differently from release to release (1e16, 1e+16): section 2.2.
_STRING_OR_FLOAT: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:e[+-]?[0-9]+)?|e[+-]?[0-9]+)'
)
# A dataclass or a datetime has more than one spelling in JSON; the caller chooses one.
_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event, read back; its line was canonical and its hash true."""

    seq: int
    event_id: str
    timestamp: datetime
    event_type: str
    actor: str
    target: str
    details: JsonObject
    previous_hash: str
    hash: str


class RecordError(ValueError):
    """A line is not the encoding of an event; the text says what is wrong."""


def seal(
    *,
    seq: int,
    event_id: str,
    timestamp: str,
    event_type: str,
    actor: str,
    target: str,
    details: JsonObject,
    previous_hash: str,
) -> tuple[bytes, str]:
    """Return the line, without LF, and its hash in hex.

    Raises:
        AuditEventRefusedError: a value is no JSON value, or the line is over `LINE_BYTES_MAX`.
    """
    _check_types(actor, target, details)
    if len(event_type) > _EVENT_TYPE_CHARS_MAX or _EVENT_TYPE.fullmatch(event_type) is None:
        raise AuditEventRefusedError("an event type is dotted lower-case words, such as mission.submitted")
    try:
        body = orjson.dumps(
            {
                "seq": seq,
                "event_id": event_id,
                "timestamp": timestamp,
                "event_type": event_type,
                "actor": actor,
                "target": target,
                "details": details,
                "previous_hash": previous_hash,
            },
            default=_plain_mapping,
            option=_STRICT,
        )
    except TypeError as error:
        raise AuditEventRefusedError(f"{event_type}: not JSON: {error}") from error
    if b"null" in body and _has_non_finite(details):
        raise AuditEventRefusedError(f"{event_type}: NaN and infinities are not JSON")
    if len(body) + _HASH_SUFFIX_BYTES - 1 > LINE_BYTES_MAX:
        raise AuditEventRefusedError(f"{event_type}: over {LINE_BYTES_MAX} bytes", code="audit.event_too_large")
    digest = hashlib.sha256(body).hexdigest()
    return b'%b,"hash":"%b"}' % (body[:-1], digest.encode()), digest


def unseal(line: bytes) -> Record:
    """Return the event of `line` (without LF).

    Raises:
        RecordError: `line` is not, byte for byte, what `seal` makes of its values.
    """
    try:
        event = orjson.loads(line)
        encoded = orjson.dumps(event)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:  # the latter is for what nests too deep
        raise RecordError(f"not JSON: {error}") from error
    if type(event) is not dict or tuple(event) != _KEYS:
        raise RecordError("not the nine fields in their order")
    details = event["details"]
    texts = (event[key] for key in _KEYS if key not in {"seq", "details"})
    if type(event["seq"]) is not int or type(details) is not dict or any(type(text) is not str for text in texts):
        raise RecordError("a field has another type")
    # Canonical: duplicate keys, white space and other spellings all fail here.
    if len(line) > LINE_BYTES_MAX or (encoded != line and encoded != _STRING_OR_FLOAT.sub(_respell, line)):
        raise RecordError("not the canonical encoding")
    if _EVENT_ID.fullmatch(event["event_id"]) is None or _EVENT_TYPE.fullmatch(event["event_type"]) is None:
        raise RecordError("malformed event_id or event_type")
    if hashlib.sha256(line[:-_HASH_SUFFIX_BYTES] + b"}").hexdigest() != event["hash"]:
        raise RecordError("the hash is not that of the line")
    return Record(**{**event, "timestamp": _moment(event["timestamp"])})


def _moment(text: str) -> datetime:
    if _TIMESTAMP.fullmatch(text) is None:
        raise RecordError("malformed timestamp")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordError("no such time") from error


def _respell(token: re.Match[bytes]) -> bytes:
    """Return a float as this release spells it, and a string as it is."""
    text = token[0]
    return text if text.startswith(b'"') else orjson.dumps(orjson.loads(text))


def _check_types(actor: object, target: object, details: object) -> None:
    """Look again at what the types promise: a line of the wrong shape could never be taken back."""
    if not (isinstance(actor, str) and isinstance(target, str) and isinstance(details, Mapping)):
        raise AuditEventRefusedError("actor and target are strings, details is an object")


def _plain_mapping(value: object) -> dict[object, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__}")


def _has_non_finite(value: object) -> bool:
    """Whether orjson wrote a null for a NaN or an infinity. Only asked where there is a null, so it may be slow."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_has_non_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_non_finite(item) for item in value)
    return False
