"""Keys for one purpose each, from one key that is kept."""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32  # of AES-256, and of HMAC-SHA256


def derived_key(root: bytes | bytearray, purpose: bytes, salt: bytes | None = None) -> bytes:
    """Return the key that comes from `root` for one purpose, by HKDF-SHA256. Source: RFC 5869."""
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=purpose).derive(bytes(root))
