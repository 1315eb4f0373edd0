"""Signing keys in files: plain, as golang.org/x/mod/sumdb/note writes them, or encrypted under a passphrase.

    PRIVATE+KEY+<name>+<key id>+<base64 of 0x01 ‖ seed>

    missiongate signing key v1
    <vkey>
    scrypt <base64 of a salt of 16 bytes>
    aes-256-gcm <base64 of a nonce of 12 bytes ‖ the encrypted seed ‖ a tag of 16 bytes>
    sha256 <hex SHA-256 of the four lines before>

The passphrase is stretched by scrypt with N = 2^17, r = 8, p = 1 (128 MiB, about half a second). Other parameters are
not read: who can write the file could make them weak, or large enough to end the process. The first two lines are the
associated data. The digest keeps no secret: by it, damage can be told from another passphrase.
Source: RFC 7914; NIST SP 800-38D; OWASP's figures for interactive use.
"""

import base64
import hashlib
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from engine.audit.errors import KeyFileError, KeyPassphraseError
from engine.audit.keys import Ed25519Signer, VerifierKey, key_bytes, private_key_text

PASSPHRASE_BYTES_MIN: Final = 12
PASSPHRASE_BYTES_MAX: Final = 1_024
SCRYPT_N: Final = 2**17
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
_FILE_BYTES_MAX: Final = 4_096
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_SEED_BYTES: Final = 32
_TAG_BYTES: Final = 16
_HEADER: Final = "missiongate signing key v1"
_PLAIN: Final = re.compile(r"PRIVATE\+KEY\+([!-*,-~]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})\n")
_ENCRYPTED: Final = re.compile(
    r"(?P<body>(?P<bound>" + _HEADER + r"\n(?P<vkey>[!-~]{1,400})\n)"
    r"scrypt (?P<salt>[A-Za-z0-9+/]{22}==)\naes-256-gcm (?P<box>[A-Za-z0-9+/]{80})\n)sha256 (?P<digest>[0-9a-f]{64})\n"
)

Passphrase = bytes | bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A seed under a passphrase."""

    salt: bytes
    sealed: bytes  # nonce, encrypted seed, tag
    bound: bytes  # associated data


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A key file that was read and is whole. Its public half is known; the other is, unless it is encrypted."""

    path: Path
    verifier_key: str
    _signer: Ed25519Signer | None = field(repr=False)
    _box: _Box | None = field(repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether it takes a passphrase."""
        return self._box is not None

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Read a key file of either form.

        Raises:
            KeyFileError: there is no such file, it is open to others, or it holds no key.
        """
        try:
            text = read_private(path).decode("ascii")
            plain, sealed = _PLAIN.fullmatch(text), _ENCRYPTED.fullmatch(text)
            if plain is not None:
                return cls._plain(path, *plain.groups())
            if sealed is not None:
                return cls._encrypted(path, sealed)
        except ValueError as error:  # UnicodeDecodeError as well
            raise KeyFileError(f"{path}: not a signing key, or a damaged one: {error}") from error
        raise KeyFileError(f"{path}: not a signing key, or a damaged one")

    @classmethod
    def _plain(cls, path: Path, name: str, key_id: str, encoded: str) -> "KeyFile":
        seed = key_bytes(encoded)
        signer = Ed25519Signer(name, seed)
        if VerifierKey.parse(signer.verifier_key()).id.hex() != key_id:
            raise ValueError("the key id does not match the key")
        return cls(path=path, verifier_key=signer.verifier_key(), _signer=signer, _box=None)

    @classmethod
    def _encrypted(cls, path: Path, found: re.Match[str]) -> "KeyFile":
        if hashlib.sha256(found["body"].encode()).hexdigest() != found["digest"]:
            raise ValueError("the digest is not that of its lines")
        VerifierKey.parse(found["vkey"])
        box = _Box(salt=_base64(found["salt"]), sealed=_base64(found["box"]), bound=found["bound"].encode())
        return cls(path=path, verifier_key=found["vkey"], _signer=None, _box=box)

    def signer(self, passphrase: Passphrase | None = None) -> Ed25519Signer:
        """Return the signer; half a second, where a passphrase has to be stretched. A plain key needs none.

        Raises:
            KeyPassphraseError: `key.passphrase`, it is another one; `key.passphrase_missing`, there is none.
            KeyFileError: what it opens is not the key whose public half stands beside it.
        """
        if self._signer is not None:
            return self._signer
        if self._box is None or passphrase is None:
            raise KeyPassphraseError(
                f"{self.path}: is encrypted, and needs its passphrase", code="key.passphrase_missing"
            )
        seed = bytearray(_SEED_BYTES)
        try:
            _open(self._box, passphrase, seed)
            signer = Ed25519Signer(VerifierKey.parse(self.verifier_key).name, seed)
        except InvalidTag as error:
            raise KeyPassphraseError(f"{self.path}: the passphrase is another one") from error
        finally:
            wipe(seed)
        if signer.verifier_key() != self.verifier_key:
            raise KeyFileError(f"{self.path}: the key is not the one that its public half says")
        return signer


def save_key(path: Path, signer: Ed25519Signer, passphrase: Passphrase | None = None) -> None:
    """Write a key to a new file, mode 0600, and make it durable. Never overwrites: a lost key is lost.

    Raises:
        KeyFileError: the file exists (`key.exists`), or cannot be written.
        KeyPassphraseError: the passphrase is too short or too long (`key.passphrase_weak`).
    """
    text = _encoded(signer, passphrase)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: exists, and a key is never overwritten", code="key.exists") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error


def replace_key(path: Path, signer: Ed25519Signer, passphrase: Passphrase | None) -> None:
    """Write the key in place of the file that holds it now, whole or not at all; what was there is overwritten.

    Raises:
        KeyFileError: the file cannot be written; KeyPassphraseError, as for `save_key`.
    """
    following = path.with_name(f"{path.name}.new")
    following.unlink(missing_ok=True)  # left by a crash; the key itself is still where it was
    save_key(following, signer, passphrase)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            following.replace(path)
            sync_folder(path.parent)
            _overwrite(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error


def destroy_key(path: Path) -> None:
    """Overwrite a key file, as far as the disk lets itself be overwritten, and remove it. Missing is fine.

    Raises:
        KeyFileError: it cannot be removed.
    """
    try:
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _overwrite(fd)
            finally:
                os.close(fd)
            path.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error


def read_private(path: Path) -> bytes:
    """Return the bytes of a small regular file that only its owner can read.

    Raises:
        KeyFileError: it is missing, too large, no regular file, or open to others.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise KeyFileError(f"{path}: must be a regular file that only its owner can read (chmod 600)")
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    if len(content) > _FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: over {_FILE_BYTES_MAX} bytes")
    return content


def wipe(value: bytearray) -> None:
    """Overwrite a buffer. What Python, OpenSSL or the kernel have copied of it is not reached (docs/audit-keys.md)."""
    value[:] = bytes(len(value))


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _encoded(signer: Ed25519Signer, passphrase: Passphrase | None) -> bytes:
    """Return the content of a key file."""
    if passphrase is None:
        return private_key_text(signer).encode()
    if not PASSPHRASE_BYTES_MIN <= len(passphrase) <= PASSPHRASE_BYTES_MAX:
        raise KeyPassphraseError(
            f"a passphrase has {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} bytes", code="key.passphrase_weak"
        )
    bound = f"{_HEADER}\n{signer.verifier_key()}\n".encode()
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    key = _stretched(passphrase, salt)
    try:
        sealed = nonce + AESGCM(key).encrypt(nonce, signer.seed(), bound)
    finally:
        wipe(key)
    body = bound + b"scrypt %b\naes-256-gcm %b\n" % (base64.b64encode(salt), base64.b64encode(sealed))
    return body + b"sha256 %b\n" % hashlib.sha256(body).hexdigest().encode()


def _open(box: _Box, passphrase: Passphrase, seed: bytearray) -> None:
    """Put the seed into the buffer; InvalidTag, where the passphrase is another one."""
    key = _stretched(passphrase, box.salt)
    try:
        AESGCM(key).decrypt_into(box.sealed[:_NONCE_BYTES], box.sealed[_NONCE_BYTES:], box.bound, seed)
    finally:
        wipe(key)


def _stretched(passphrase: Passphrase, salt: bytes) -> bytearray:
    key = bytearray(32)
    Scrypt(salt=salt, length=len(key), n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive_into(passphrase, key)
    return key


def _overwrite(fd: int) -> None:
    """Write over what a file holds. Journals, copies on write and flash keep old blocks: best effort."""
    left = os.fstat(fd).st_size
    if left <= _FILE_BYTES_MAX:
        os.pwrite(fd, bytes(left), 0)
        os.fsync(fd)


def _base64(text: str) -> bytes:
    """Decode only the canonical spelling."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")
    return raw
