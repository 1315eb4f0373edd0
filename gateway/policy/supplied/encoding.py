"""Encodings: base64, base64url, hexadecimal, URL queries; as Go's libraries write and read them.

Source: OPA v1/topdown/encoding.go; Go `encoding/base64`, `encoding/hex`, `net/url`.
"""

import base64
import binascii
import re
from typing import Final
from urllib.parse import quote_plus, unquote_to_bytes

from gateway.policy.supplied.operands import OperandError, Value, items, mapping, string, text

_STANDARD: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_URL: Final = re.compile(r"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?")
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*")


def base64_encode(value: Value) -> str:
    """`base64.encode(x)`."""
    return base64.b64encode(string(value).encode()).decode()


def base64_decode(value: Value) -> str:
    """`base64.decode(x)`; what is no UTF-8 is refused."""
    return text(_standard(string(value)))


def base64_is_valid(value: Value) -> bool:
    """`base64.is_valid(x)`; of what is no string, false."""
    if type(value) is not str:
        return False
    try:
        _standard(string(value))
    except OperandError:
        return False
    return True


def base64url_encode(value: Value) -> str:
    """`base64url.encode(x)`, padded."""
    return base64.urlsafe_b64encode(string(value).encode()).decode()


def base64url_encode_no_pad(value: Value) -> str:
    """`base64url.encode_no_pad(x)`."""
    return base64url_encode(value).rstrip("=")


def base64url_decode(value: Value) -> str:
    """`base64url.decode(x)`; padding may be left out; what is no UTF-8 is refused."""
    return text(base64url_bytes(string(value)))


def base64url_bytes(value: str) -> bytes:
    """Return what base64url stands for, padded or not.

    Raises:
        OperandError: it is none.
    """
    bare = _without_lines(value)
    if not value.endswith("="):
        if bare != value:
            raise OperandError("base64url without padding and in several lines")
        bare += {0: "", 2: "==", 3: "="}.get(len(bare) % 4, "=")
    if not _URL.fullmatch(bare):
        raise OperandError("is not base64url")
    return base64.urlsafe_b64decode(bare)


def hex_encode(value: Value) -> str:
    """`hex.encode(x)`."""
    return string(value).encode().hex()


def hex_decode(value: Value) -> str:
    """`hex.decode(x)`; what is no UTF-8 is refused."""
    base = string(value)
    if not _HEX.fullmatch(base):
        raise OperandError("is not hexadecimal")
    return text(binascii.unhexlify(base))


def query_encode(value: Value) -> str:
    """`urlquery.encode(x)`."""
    return quote_plus(string(value), safe="")


def query_decode(value: Value) -> str:
    """`urlquery.decode(x)`."""
    return text(_unescape(string(value)))


def query_encode_object(value: Value) -> str:
    """`urlquery.encode_object(x)`: keys in order, the values of each in theirs."""
    pairs: list[tuple[str, str]] = []
    for key, values in sorted((string(key), values) for key, values in mapping(value).items()):
        if type(values) is str:
            pairs.append((key, values))
        else:
            several = [string(one) for one in items(values)]
            pairs += [(key, one) for one in (sorted(several) if type(values) is set else several)]
    return "&".join(f"{query_encode(key)}={query_encode(one)}" for key, one in pairs)


def query_decode_object(value: Value) -> dict[str, list[str]]:
    """`urlquery.decode_object(x)`; a semicolon is an error."""
    out: dict[str, list[str]] = {}
    for part in string(value).split("&"):
        if ";" in part:
            raise OperandError("invalid semicolon separator in query")
        if part:
            key, _, one = part.partition("=")
            out.setdefault(text(_unescape(key)), []).append(text(_unescape(one)))
    return out


def _standard(value: str) -> bytes:
    bare = _without_lines(value)
    if not _STANDARD.fullmatch(bare):
        raise OperandError("is not base64")
    return base64.b64decode(bare)


def _without_lines(value: str) -> str:
    """Go's decoder skips the ends of lines."""
    return value.replace("\r", "").replace("\n", "")


def _unescape(value: str) -> bytes:
    if _PERCENT.search(value):
        raise OperandError("invalid URL escape")
    return unquote_to_bytes(value.replace("+", " "))
