"""AES-256-GCM under a name: what is sealed for one place does not open in another.

Source: NIST SP 800-38D. Nonces are 96 random bits; a data key seals at most a few thousand values between two
rotations, far below the 2^32 of section 8.3.
"""

import os
from dataclasses import dataclass
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import SecretError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

Place = tuple[str, ...]  # what a sealed value is bound to: format, vault, purpose, tenant, name


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value that only the key and the place open."""

    nonce: bytes
    body: bytes  # ciphertext and tag


def seal(key: bytes | bytearray, value: bytes | bytearray, place: Place) -> Sealed:
    """Seal `value` under `key` for `place`."""
    return seal_with(AESGCM(key), value, place)


def seal_with(cipher: AESGCM, value: bytes | bytearray, place: Place, nonce: bytes | None = None) -> Sealed:
    """Seal `value` by a key that is prepared already; a `nonce` that is given was random, and is used once."""
    nonce = nonce or os.urandom(NONCE_BYTES)
    return Sealed(nonce, cipher.encrypt(nonce, value, _bound(place)))


def seal_whole(cipher: AESGCM, value: bytes | bytearray, place: Place, nonce: bytes) -> bytes:
    """Return what `seal_with` gives in one piece: nonce, ciphertext, tag."""
    return nonce + cipher.encrypt(nonce, value, _bound(place))


def unseal_whole(cipher: AESGCM, sealed: bytes, place: Place) -> bytearray:
    """Return what `seal_whole` has sealed; as `unseal`.

    Raises:
        SecretError: `secret.damaged`.
    """
    return unseal_with(cipher, Sealed(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]), place)


def unseal(key: bytes | bytearray, sealed: Sealed, place: Place) -> bytearray:
    """Return the value, in a buffer that its owner wipes; it is decrypted into it, and stands in no other of ours.

    Raises:
        SecretError: `secret.damaged`, another key, another place, or a changed byte: nobody can tell which.
    """
    return unseal_with(AESGCM(key), sealed, place)


def unseal_with(cipher: AESGCM, sealed: Sealed, place: Place) -> bytearray:
    """Return the value by a key that is prepared already; as `unseal`.

    Raises:
        SecretError: `secret.damaged`.
    """
    size = len(sealed.body) - TAG_BYTES
    if len(sealed.nonce) != NONCE_BYTES or size < 0:
        raise _damaged()
    value = bytearray(size)
    try:
        cipher.decrypt_into(sealed.nonce, sealed.body, _bound(place), value)
    except InvalidTag as error:
        wipe(value)
        raise _damaged() from error
    return value


def wipe(value: bytearray) -> None:
    """Overwrite a buffer. What Python, OpenSSL or the kernel have copied of it is not reached (docs/secrets.md)."""
    value[:] = bytes(len(value))


def _bound(place: Place) -> bytes:
    return orjson.dumps(place)


def _damaged() -> SecretError:
    return SecretError("a sealed value does not open: it was changed, or the key is another", code="secret.damaged")
