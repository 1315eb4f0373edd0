"""Looks through percent-encoding, also repeated, the way the most lenient consumer would; never to repair."""

import re
from collections.abc import Iterator
from typing import Final

ROUNDS_MAX: Final = 8  # encodings of encodings; honest values have one or two

# `%u002e` is no standard, but servers that decode it exist.
_ESCAPE: Final = re.compile(rb"%(?:[uU]([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))")


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")
    return bytes((int(match[2], 16),))


def decode_once(data: bytes) -> bytes:
    """Return `data` with each escape replaced once, left to right; what is no escape stays."""
    return _ESCAPE.sub(_unescape, data)


def decodings(data: bytes) -> Iterator[bytes | None]:
    """Yield `data`, then each further decoding until nothing is left to decode; None if that takes too long."""
    yield data
    for _ in range(ROUNDS_MAX):
        decoded = decode_once(data)
        if decoded == data:
            return
        yield decoded
        data = decoded
    yield None
