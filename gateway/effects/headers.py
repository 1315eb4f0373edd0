"""Header fields of HTTP effects: what a guest may send, what the host adds, and how an answer is recorded."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from engine.values import JsonObject
from gateway.effects.arguments import invalid
from gateway.effects.target import HttpTarget
from gateway.errors import EffectError
from gateway.vault.opened import NOTHING_OPENED, OpenedSecrets

FIELDS_MAX: Final = 64
FIELDS_BYTES_MAX: Final = 16 * 1024  # all names and values of one message

# The host's to set: framing and connection (RFC 9112; hop-by-hop fields, RFC 9110, 7.6.1), the name that policy
# decided on, the coding, and the key of the effect.
_RESERVED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_RESERVED_PREFIX: Final = "proxy-"
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, 5.6.2: token
_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")  # RFC 9110, 5.5, without obs-text
_SENT: Final = re.compile(_VALUE.pattern.encode("ascii"))

TRACEPARENT: Final = b"Traceparent"  # W3C Trace Context; a guest that sends its own keeps it

Fields = list[tuple[bytes, bytes]]


def has_field(fields: Fields, name: bytes) -> bool:
    """Return whether a field of that name is there."""
    return any(each.lower() == name.lower() for each, _ in fields)


def request_fields(
    guest: JsonObject,
    target: HttpTarget,
    *,
    key: str,
    body_bytes: int | None,
    secrets: OpenedSecrets = NOTHING_OPENED,
) -> Fields:
    """Return the fields of a request: the host's own, then the guest's, with secrets in place of their handles.

    Raises:
        EffectError: `effect.header_refused`, a field that is the host's to set, or is no field.
    """
    fields: Fields = [
        (b"Host", target.authority.encode("ascii")),
        (b"Connection", b"close"),
        (b"Accept-Encoding", b"identity"),  # what is decompressed can be a bomb
        (b"Idempotency-Key", key.encode("ascii")),
    ]
    if body_bytes is not None:
        fields.append((b"Content-Length", str(body_bytes).encode("ascii")))
    if not any(name.lower().replace("_", "-") == "user-agent" for name in guest):
        fields.append((b"User-Agent", b"missiongate"))
    return fields + _guest_fields(guest, secrets)


def _guest_fields(guest: JsonObject, secrets: OpenedSecrets) -> Fields:
    fields: Fields = []
    seen: set[str] = set()
    for name, value in guest.items():
        if not isinstance(value, str):
            raise invalid("the value of a header field must be a string")
        folded = name.lower().replace("_", "-")  # CGI and its heirs take both for one: transfer_encoding is no new name
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _refused(f"{name[:128]!r}: name or value has characters that a field cannot have")
        if folded in _RESERVED or folded.startswith(_RESERVED_PREFIX):
            raise _refused(f"{folded!r} is set by the gateway")
        if folded in seen:
            raise _refused(f"{folded!r} is given twice")
        seen.add(folded)
        sent = secrets.in_header(value)
        if not _SENT.fullmatch(sent):
            raise _refused(f"{name[:128]!r}: a secret has characters that a field cannot have")
        fields.append((name.encode("ascii"), sent))
    if len(fields) > FIELDS_MAX or sum(len(n) + len(v) for n, v in fields) > FIELDS_BYTES_MAX:
        raise _refused(f"a request has at most {FIELDS_MAX} fields and {FIELDS_BYTES_MAX} bytes of them")
    return fields


def response_headers(fields: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str] | None:
    """Return the fields of an answer by lower-case name, or None where they are over the limit.

    Repeated fields are joined with a comma (RFC 9110, 5.2). Bytes beyond ASCII are read as Latin-1, which every byte
    has a character in.
    """
    if len(fields) > FIELDS_MAX or sum(len(n) + len(v) for n, v in fields) > FIELDS_BYTES_MAX:
        return None
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def response_fields(fields: Sequence[tuple[bytes, bytes]], secrets: OpenedSecrets) -> Mapping[str, str] | None:
    """Return what `response_headers` does, and no value of a secret in it.

    Looked for is what is told: a name in small letters and a list put together can be a value that the answer's own
    bytes were not. A name is looked at before as well, since small letters can hide one that is not quite lost.
    """
    if not secrets:
        return response_headers(fields)
    told = response_headers([(await secrets.mask(name), value) for name, value in fields])
    if told is None:
        return None
    return {await _masked(name, secrets): await _masked(value, secrets) for name, value in told.items()}


async def _masked(text: str, secrets: OpenedSecrets) -> str:
    return (await secrets.mask(text.encode("latin-1"))).decode("latin-1")


def _refused(message: str) -> EffectError:
    return EffectError(message, code="effect.header_refused")
