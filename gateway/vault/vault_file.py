"""The vault on the disk: `secrets/vault.json` in a directory of our own, read whole, and believed once verified."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import SecretError
from gateway.vault.book import BOOK_BYTES_MAX, Book, damaged
from gateway.vault.master import MasterSource, sync_directory
from gateway.vault.sealing import wipe

FOLDER: Final = "secrets"
VAULT_FILE: Final = "vault.json"
_NEW_FILE: Final = "vault.json.new"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one content of the file from another without reading it: each change is a new file."""

    inode: int
    modified_ns: int
    size: int


def stamp_of(home: Path) -> Stamp | None:
    """Return the stamp of the vault's file, or None where there is none.

    Raises:
        SecretError: `secret.unreadable`.
    """
    try:
        status = (home / FOLDER / VAULT_FILE).stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(error) from error
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)


def open_vault(source: MasterSource) -> tuple[Book, bytearray, bool] | None:
    """Return the verified vault, its data key, and whether the key that a rotation was about to place opens it.

    Raises:
        SecretError: `secret.damaged`, `secret.unreadable`, or the master key cannot be had.
    """
    raw = _read(source.home)
    if raw is None:
        return None
    book, written = Book.decode(raw)
    data_key, following = _unwrap(book, source)
    try:
        book.verify(data_key, written)
    except SecretError:
        wipe(data_key)
        raise
    return book, data_key, following


def write_vault(home: Path, book: Book, data_key: bytearray) -> None:
    """Put the vault in place of what is there, durably: it is seen whole or not at all.

    Raises:
        SecretError: `secret.unwritable`; what was there still is.
    """
    folder = home / FOLDER
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(folder / _NEW_FILE, flags, 0o600), "wb") as file:
            file.write(book.encode(data_key))
            file.flush()
            os.fsync(file.fileno())
        (folder / _NEW_FILE).replace(folder / VAULT_FILE)
        sync_directory(folder)
    except OSError as error:
        raise SecretError(f"{folder}: {error.strerror}", code="secret.unwritable") from error


def make_folder(home: Path) -> Path:
    """Return the directory of the vault, made if missing, and ours alone.

    Raises:
        SecretError: `secret.unwritable`.
    """
    folder = home / FOLDER
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.stat(follow_symlinks=False)
    except OSError as error:
        raise SecretError(f"{folder}: {error.strerror}", code="secret.unwritable") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise SecretError(f"{folder} must be ours alone (mode 0700)", code="secret.unwritable")
    return folder


def _read(home: Path) -> bytes | None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(home / FOLDER / VAULT_FILE, flags), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise SecretError("the vault must be a regular file, mode 0600", code="secret.unreadable")
            raw = file.read(BOOK_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(error) from error
    if len(raw) > BOOK_BYTES_MAX:
        raise damaged("it is too large")
    return raw


def _unwrap(book: Book, source: MasterSource) -> tuple[bytearray, bool]:
    """Return the data key by the master key, or by the one that a rotation was about to put in its place."""
    master = source.current(book.salt)
    try:
        return book.unwrap(master), False
    except SecretError:
        following = source.following()
        if following is None:
            raise
        try:
            return book.unwrap(following), True
        finally:
            wipe(following)
    finally:
        wipe(master)


def _unreadable(error: OSError) -> SecretError:
    return SecretError(f"the vault of secrets: {error.strerror}", code="secret.unreadable")
