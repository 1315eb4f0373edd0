"""Signing keys of the log: who signs, and how the public half of a key is written.

Source: C2SP signed-note (key names, key IDs, `vkey`); the private form is that of golang.org/x/mod/sumdb/note, so
that Go's tools read the same file.
"""

import base64
import hashlib
import os
import re
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519: Final = b"\x01"  # C2SP signed-note, signature type
_NAME: Final = re.compile(r"[!-*,-~]{1,255}")  # printable ASCII without space and plus; C2SP allows more, we need none
_ENCODED_KEY: Final = r"\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})"  # 33 bytes in base64
_VERIFIER_KEY: Final = re.compile(r"([!-*,-~]{1,255})" + _ENCODED_KEY)


class Signer(Protocol):
    """Holds a key and signs checkpoints; a file, a PKCS#11 token or a KMS may stand behind it."""

    @property
    def name(self) -> str:
        """The key's name, which is the log's origin."""

    def verifier_key(self) -> str:
        """Return the public half as a C2SP vkey, `name+id+key`."""

    def sign(self, note_text: bytes) -> bytes:
        """Return the 64 bytes of an Ed25519 signature of `note_text`. May raise anything; the log then stops."""


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the four bytes that tell keys of one name apart. Source: C2SP signed-note, Ed25519 signatures."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


class VerifierKey:
    """The public half of a log's key."""

    __slots__ = ("_key", "id", "name")

    def __init__(self, name: str, public_key: bytes) -> None:
        """Take the 32 bytes of an Ed25519 public key."""
        self.name = name
        self.id = key_id(name, public_key)
        self._key = Ed25519PublicKey.from_public_bytes(public_key)

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """Read `name+id+key`.

        Raises:
            ValueError: `vkey` is no C2SP Ed25519 verifier key.
        """
        match = _VERIFIER_KEY.fullmatch(vkey)
        if match is None:
            raise ValueError("not a C2SP verifier key, name+id+key")
        name, raw_id, encoded = match.groups()
        public_key = key_bytes(encoded)
        if key_id(name, public_key).hex() != raw_id:
            raise ValueError("the id is not that of this name and key")
        return cls(name, public_key)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's for `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Ed25519Signer:
    """A signer whose key is in this process's memory; `engine.audit.keyfile` reads it from a file."""

    __slots__ = ("_key", "name")

    def __init__(self, name: str, seed: bytes | bytearray) -> None:
        """Take the 32 bytes that RFC 8032 calls the private key.

        Raises:
            ValueError: `name` is no key name, or `seed` is not 32 bytes.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError("a key name is 1 to 255 printable ASCII characters, without space and plus")
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def __repr__(self) -> str:
        return f"Ed25519Signer({self.verifier_key()})"

    @classmethod
    def generate(cls, name: str) -> "Ed25519Signer":
        """Return a signer with a fresh key. `name` is best a URL without scheme that the operator owns."""
        return cls(name, os.urandom(32))

    def verifier_key(self) -> str:
        """Return the public half as a C2SP vkey, `name+id+key`."""
        encoded = base64.b64encode(_ED25519 + self._key.public_key().public_bytes_raw()).decode()
        return f"{self.name}+{self._id().hex()}+{encoded}"

    def sign(self, note_text: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature of `note_text`. Source: RFC 8032, 5.1.6."""
        return self._key.sign(note_text)

    def seed(self) -> bytes:
        """Return the private half: for `engine.audit.keyfile`, which keeps it."""
        return self._key.private_bytes_raw()

    def _id(self) -> bytes:
        return key_id(self.name, self._key.public_key().public_bytes_raw())


def private_key_text(signer: Ed25519Signer) -> str:
    """Return the key as golang.org/x/mod/sumdb/note writes it, its LF included."""
    name, identity, _ = signer.verifier_key().split("+", 2)
    return f"PRIVATE+KEY+{name}+{identity}+{base64.b64encode(_ED25519 + signer.seed()).decode()}\n"


def key_bytes(encoded: str) -> bytes:
    """Return the 32 key bytes behind the type byte; only the one canonical base64 spelling is read."""
    raw = base64.b64decode(encoded, validate=True)
    if base64.b64encode(raw).decode() != encoded or raw[:1] != _ED25519:
        raise ValueError("not an Ed25519 key in base64")
    return raw[1:]
