"""The master key, which wraps the key of the values: from a file of its own, or from a passphrase.

    keys/secrets.key       MISSIONGATE-SECRETS-KEY-1 <32 bytes in base64>, mode 0600
    keys/secrets.key.next  the same, while a rotation is under way (`gateway.vault.keeper`)

A passphrase is stretched by scrypt with N = 2^17, r = 8, p = 1 (128 MiB, about half a second) and a random salt of 16
bytes, which stands in the vault. Other parameters are not read: who can write the vault could make them weak, or
large enough to end the process. Source: RFC 7914; OWASP's figures for interactive use.
"""

import base64
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.errors import SecretError, SecretRefusedError
from gateway.vault.sealing import KEY_BYTES

KEY_FILE: Final = "keys/secrets.key"
NEXT_KEY_FILE: Final = "keys/secrets.key.next"
SALT_BYTES: Final = 16
SCRYPT_N: Final = 2**17
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
PASSPHRASE_BYTES_MIN: Final = 12
_FILE_BYTES_MAX: Final = 4_096
_KIND: Final = "secret.key_kind"
_KEY: Final = re.compile(rb"MISSIONGATE-SECRETS-KEY-1 ([A-Za-z0-9+/]{43}=)\n")


@dataclass(frozen=True, slots=True)
class MasterSource:
    """Where the master key comes from: the key file of a home, or a passphrase in a file, which may be elsewhere."""

    home: Path
    passphrase_file: Path | None = None

    @property
    def stretched(self) -> bool:
        """Whether it is made from a passphrase."""
        return self.passphrase_file is not None

    def current(self, salt: bytes) -> bytearray:
        """Return the master key; `salt` is that of the vault, and empty where the key stands in a file.

        Raises:
            SecretError: `secret.key_unreadable`; `secret.key_kind`, the vault was made with the other kind of key.
        """
        if self.stretched is not bool(salt):
            made = "a passphrase" if salt else "a key file"
            raise SecretError(f"the vault was made with {made}; see `secrets` in the configuration", code=_KIND)
        return self._stretched(salt) if self.stretched else read_key(self.home / KEY_FILE)

    def following(self) -> bytearray | None:
        """Return the key that a rotation was about to put in place, or None."""
        path = self.home / NEXT_KEY_FILE
        return None if self.stretched or not path.exists() else read_key(path)

    def _stretched(self, salt: bytes) -> bytearray:
        phrase = bytearray(read_private(self.passphrase_file or Path()))
        while phrase.endswith((b"\n", b"\r")):
            del phrase[-1:]
        if len(phrase) < PASSPHRASE_BYTES_MIN:
            raise SecretRefusedError(
                f"a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes", code="secret.weak_passphrase"
            )
        return bytearray(Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(bytes(phrase)))


def write_key(path: Path, key: bytes | bytearray) -> None:
    """Write a new key file, durably, that nobody else could read at any moment.

    Raises:
        SecretError: `secret.key_unwritable`; there is one already, or the disk refuses.
    """
    text = b"MISSIONGATE-SECRETS-KEY-1 " + base64.b64encode(key) + b"\n"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}", code="secret.key_unwritable") from error


def read_key(path: Path) -> bytearray:
    """Return the key in a file that `write_key` wrote.

    Raises:
        SecretError: `secret.key_unreadable`; it is missing, open to others, or holds no key.
    """
    match = _KEY.fullmatch(read_private(path))
    key = base64.b64decode(match[1]) if match else b""
    if match is None or len(key) != KEY_BYTES or base64.b64encode(key) != match[1]:
        raise SecretError(f"{path}: not a key of secrets", code="secret.key_unreadable")
    return bytearray(key)


def read_private(path: Path) -> bytes:
    """Return the bytes of a small regular file that only its owner can read.

    Raises:
        SecretError: `secret.key_unreadable`.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                message = f"{path}: must be a regular file that only its owner can read (chmod 600)"
                raise SecretError(message, code="secret.key_unreadable")
            return file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}", code="secret.key_unreadable") from error


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
