"""Effect arguments, from the JSON that a guest returned to typed values.

The pipeline has checked them against `gateway.effects.schemas` before. Performers check again what they rely on:
a performer that trusted its caller would turn one forgotten check into an open door.
"""

import base64
import binascii
from collections.abc import Collection

from engine.values import JsonObject
from gateway.errors import EffectError


def invalid(message: str) -> EffectError:
    """Return the error for arguments that are not what the operation takes."""
    return EffectError(message, code="effect.arguments")


def only_fields(args: JsonObject, allowed: Collection[str]) -> None:
    """Refuse fields that the operation does not know."""
    for name in args:
        if name not in allowed:
            raise invalid(f"{name!r} is not an argument of this effect")


def text(args: JsonObject, name: str, *, default: str | None = None) -> str:
    """Return a string argument that encodes to UTF-8."""
    value = args.get(name, default)
    if not isinstance(value, str):
        raise invalid(f"{name!r} must be a string")
    encode(name, value)
    return value


def integer(args: JsonObject, name: str, *, maximum: int, default: int | None = None) -> int:
    """Return an integer argument from 0 to `maximum`."""
    value = args.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise invalid(f"{name!r} must be an integer from 0 to {maximum}")
    return value


def payload(args: JsonObject, name: str) -> bytes | None:
    """Return bytes given as text in `name` or as base64 in `name_base64`, or None where neither is given."""
    plain, encoded = args.get(name), args.get(f"{name}_base64")
    if plain is not None and encoded is not None:
        raise invalid(f"{name!r} and '{name}_base64' exclude each other")
    if isinstance(encoded, str):
        return _decode_base64(f"{name}_base64", encoded)
    if isinstance(plain, str):
        return encode(name, plain)
    if plain is not None or encoded is not None:
        raise invalid(f"{name!r} must be a string")
    return None


def encode(name: str, value: str) -> bytes:
    """Return UTF-8; a lone surrogate has none."""
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as err:
        raise invalid(f"{name!r} is not valid Unicode") from err


def _decode_base64(name: str, value: str) -> bytes:
    """Return the bytes of canonical base64: what encodes back to the same text."""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as err:
        raise invalid(f"{name!r} is not base64") from err
    if base64.b64encode(raw).decode("ascii") != value:
        raise invalid(f"{name!r} is not canonical base64")
    return raw


def bytes_fields(name: str, raw: bytes) -> dict[str, str]:
    """Return `{name: text}` for UTF-8 and `{name_base64: …}` for other bytes: how outcomes carry content."""
    try:
        return {name: raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode("ascii")}
