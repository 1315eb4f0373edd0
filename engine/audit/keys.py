"""Signing keys of the log: who signs, how a key is kept in a file, how its public half is written.

Source: C2SP signed-note (key names, key IDs, `vkey`); the private form is that of golang.org/x/mod/sumdb/note, so
that Go's tools read the same file.
"""

import base64
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from engine.audit.errors import KeyFileError

_ED25519: Final = b"\x01"  # C2SP signed-note, signature type
_KEY_FILE_BYTES_MAX: Final = 4_096
_NAME: Final = re.compile(r"[!-*,-~]{1,255}")  # printable ASCII without space and plus; C2SP allows more, we need none
_ENCODED_KEY: Final = r"\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})"  # 33 bytes in base64
_VERIFIER_KEY: Final = re.compile(r"([!-*,-~]{1,255})" + _ENCODED_KEY)
_PRIVATE_KEY: Final = re.compile(r"PRIVATE\+KEY\+([!-*,-~]{1,255})" + _ENCODED_KEY + r"\n")


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
        public_key = _typed_key(encoded)
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
    """A signer whose key is in this process's memory. Encryption at rest and rotation come with their own issue."""

    __slots__ = ("_key", "name")

    def __init__(self, name: str, seed: bytes) -> None:
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

    @classmethod
    def load(cls, path: Path) -> "Ed25519Signer":
        """Read a key file that `save` wrote.

        Raises:
            KeyFileError: there is no such file, it is open to others, or it holds no key.
        """
        text = _read_private(path)
        match = _PRIVATE_KEY.fullmatch(text)
        if match is None:
            raise KeyFileError(f"{path}: not a signing key")
        name, raw_id, encoded = match.groups()
        try:
            signer = cls(name, _typed_key(encoded))
        except ValueError as error:
            raise KeyFileError(f"{path}: not a signing key") from error
        if signer._id().hex() != raw_id:
            raise KeyFileError(f"{path}: the key id does not match the key")
        return signer

    def save(self, path: Path) -> None:
        """Write the key to a new file, mode 0600, and make it durable. Never overwrites: a lost key is lost.

        Raises:
            KeyFileError: the file exists (`key.exists`), or cannot be written.
        """
        encoded = base64.b64encode(_ED25519 + self._key.private_bytes_raw()).decode()
        text = f"PRIVATE+KEY+{self.name}+{self._id().hex()}+{encoded}\n"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise KeyFileError(f"{path}: exists, and a key is never overwritten", code="key.exists") from error
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror}") from error
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            _fsync_directory(path.parent)
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror}") from error

    def verifier_key(self) -> str:
        """Return the public half as a C2SP vkey, `name+id+key`."""
        encoded = base64.b64encode(_ED25519 + self._key.public_key().public_bytes_raw()).decode()
        return f"{self.name}+{self._id().hex()}+{encoded}"

    def sign(self, note_text: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature of `note_text`. Source: RFC 8032, 5.1.6."""
        return self._key.sign(note_text)

    def _id(self) -> bytes:
        return key_id(self.name, self._key.public_key().public_bytes_raw())


def _typed_key(encoded: str) -> bytes:
    """Return the 32 key bytes behind the type byte; only the one canonical base64 spelling is read."""
    raw = base64.b64decode(encoded, validate=True)
    if base64.b64encode(raw).decode() != encoded or raw[:1] != _ED25519:
        raise ValueError("not an Ed25519 key in base64")
    return raw[1:]


def _read_private(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise KeyFileError(f"{path}: must be a regular file that only its owner can read (chmod 600)")
            return file.read(_KEY_FILE_BYTES_MAX).decode("ascii")
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path}: not a signing key") from error


def _fsync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
