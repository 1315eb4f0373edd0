"""The files of a home that are secret by themselves, and the one sealed file in which a backup may have them.

    keys.sealed   {"format": "missiongate sealed keys v1", "salt", "sealed"}, base64

A passphrase is stretched as that of the vault (`gateway.vault.master`): scrypt with N = 2^17, r = 8, p = 1. What it
seals, with AES-256-GCM, is a JSON object of paths and contents.
"""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel

from engine.audit.keyfile import Passphrase
from gateway.backup.manifest import checked_path
from gateway.errors import BackupError, SecretError
from gateway.section import Section
from gateway.signing.signers import VERIFIER_KEY_FILE
from gateway.vault.master import PASSPHRASE_BYTES_MIN, SALT_BYTES, SCRYPT_N, SCRYPT_P, SCRYPT_R
from gateway.vault.sealing import KEY_BYTES, NONCE_BYTES, seal_whole, unseal_whole, wipe

KEYS_FOLDER: Final = b"keys/"
SECRET_BYTES_MAX: Final = 1024 * 1024  # of one file
FILES_MAX: Final = 256
_FORMAT: Final = "missiongate sealed keys v1"
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_LOOK_BYTES: Final = 64 * 1024
_NAMES: Final = re.compile(r"(?:^|_)(?:token|passphrase|password|key|secret)_file$")
_WORKSPACES: Final = b"workspaces/"  # a mission's own files: whatever they look like, they are payloads


class SecretFiles:
    """Knows which files are secret: those under keys/, those that the configuration names so, and private keys."""

    def __init__(self, home: Path, config: Section) -> None:
        paths = [home / name for name in _named(config)]
        named = {Path(os.path.normpath(path)) for path in paths} | {path.resolve() for path in paths}
        inside = [path.relative_to(home) for path in named if path.is_relative_to(home)]
        self._named = frozenset(os.fsencode(path) for path in inside)

    def holds(self, path: bytes, opened: int) -> bool:
        """Return whether the file at `path`, which is open, is one of them."""
        if path == VERIFIER_KEY_FILE.encode():
            return False
        if path.startswith(KEYS_FOLDER) or path in self._named:
            return True
        return not path.startswith(_WORKSPACES) and bool(_PRIVATE.search(os.pread(opened, _LOOK_BYTES, 0)))


def seal_files(files: Mapping[bytes, bytes], phrase: Passphrase) -> bytes:
    """Return the content of `keys.sealed`.

    Raises:
        BackupError: `backup.weak_passphrase`.
    """
    if len(phrase) < PASSPHRASE_BYTES_MIN:
        raise BackupError(f"a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes", code="backup.weak_passphrase")
    salt = os.urandom(SALT_BYTES)
    plain = {quote_from_bytes(path): base64.b64encode(content).decode() for path, content in files.items()}
    cipher = _cipher(phrase, salt)
    sealed = seal_whole(cipher, orjson.dumps(plain), (_FORMAT,), os.urandom(NONCE_BYTES))
    made = {"format": _FORMAT, "salt": base64.b64encode(salt).decode(), "sealed": base64.b64encode(sealed).decode()}
    return orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)


def unseal_files(content: bytes, phrase: Passphrase) -> dict[bytes, bytes]:
    """Return the files that `seal_files` has sealed, by path.

    Raises:
        BackupError: `backup.keys_sealed`, the passphrase is another one, or the file was changed.
    """
    try:
        document = orjson.loads(content)
        salt, sealed = (base64.b64decode(document[name], validate=True) for name in ("salt", "sealed"))
        plain = unseal_whole(_cipher(phrase, salt), sealed, (_FORMAT,))
        return {
            checked_path(unquote_to_bytes(path)): base64.b64decode(text) for path, text in orjson.loads(plain).items()
        }
    except (ValueError, KeyError, TypeError, SecretError) as error:
        message = "the keys do not open: the passphrase is another one, or the file was changed"
        raise BackupError(message, code="backup.keys_sealed") from error


def _cipher(phrase: Passphrase, salt: bytes) -> AESGCM:
    key = bytearray(Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(bytes(phrase)))
    try:
        return AESGCM(key)
    finally:
        wipe(key)


def _named(section: BaseModel) -> Iterator[str]:
    """Yield what every key of the configuration says that names a secret file."""
    for name in type(section).model_fields:
        yield from _in_value(name, getattr(section, name))


def _in_value(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from _named(value)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _in_value(name, each)
    elif isinstance(value, str) and value and _NAMES.search(name):
        yield value
