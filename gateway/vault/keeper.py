"""Changes to the vault, by its operator: set, list, remove, and new keys. One at a time, beside a running gateway.

A rotation writes the new key beside the old one, then the vault under the new key, then puts the new key in the old
one's place. Wherever it is stopped, one of the two keys opens the vault; the next change takes the rotation to its end.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.clock import Clock, rfc3339
from gateway.errors import SecretError, SecretRefusedError
from gateway.vault.book import Book
from gateway.vault.master import KEY_FILE, NEXT_KEY_FILE, SALT_BYTES, MasterSource, read_key, sync_directory, write_key
from gateway.vault.names import check_place, check_value
from gateway.vault.sealing import KEY_BYTES, wipe
from gateway.vault.vault_file import make_folder, open_vault, stamp_of, write_vault

_LOCK_FILE: Final = "lock"


class Keeper:
    """The vault of one home, as its operator changes it."""

    def __init__(self, source: MasterSource, clock: Clock) -> None:
        self._source = source
        self._home = source.home
        self._clock = clock

    def set(self, tenant: str, name: str, value: bytearray) -> bool:
        """Keep a value, which the caller wipes; return whether the name is new.

        Raises:
            SecretRefusedError: name, tenant or value break a rule.
            SecretError: the vault or its key cannot be had.
        """
        check_place(tenant, name)
        check_value(name, value)
        with self._changing() as (book, data_key):
            changed = book.with_value(data_key, (tenant, name), value, rfc3339(self._clock.now()))
            write_vault(self._home, changed, data_key)
            return (tenant, name) not in book.entries

    def names(self) -> list[tuple[str, str, str]]:
        """Return tenant, name and time of the last change of every secret, sorted.

        Raises:
            SecretError: the vault or its key cannot be had.
        """
        opened = open_vault(self._source)
        if opened is None:
            return []
        book, data_key, _ = opened
        wipe(data_key)
        return [(tenant, name, entry.changed_at) for (tenant, name), entry in sorted(book.entries.items())]

    def remove(self, tenant: str, name: str) -> None:
        """Forget a secret; copies of the home and of the disk are not reached.

        Raises:
            SecretRefusedError: `secret.unknown`.
            SecretError: the vault or its key cannot be had.
        """
        with self._changing() as (book, data_key):
            if (tenant, name) not in book.entries:
                raise SecretRefusedError(f"tenant {tenant} has no secret {name}", code="secret.unknown")
            write_vault(self._home, book.without((tenant, name)), data_key)

    def handle_key(self) -> bytearray:
        """Return the key that stays the same over rotations, which the caller wipes; a missing vault is made.

        Raises:
            SecretError: the vault or its key cannot be had.
        """
        with self._changing() as (book, data_key):
            if stamp_of(self._home) is None:
                write_vault(self._home, book, data_key)
            return book.open_handle_key(data_key)

    def rotate(self, new_passphrase_file: Path | None = None) -> int:
        """Seal everything anew under new keys, and return how many secrets that were.

        With a passphrase, `new_passphrase_file` holds the new one, which the configured file has to hold from then on.

        Raises:
            SecretError: the vault or its key cannot be had; nothing has changed, or the rotation can be repeated.
        """
        if (new_passphrase_file is not None) is not self._source.stretched:
            message = "a new passphrase is given where the vault was made with one, and only there"
            raise SecretRefusedError(message, code="secret.key_kind")
        with self._changing() as (book, old):
            salt = os.urandom(SALT_BYTES) if new_passphrase_file is not None else b""
            master = self._next_master(new_passphrase_file, salt)
            try:
                changed, data_key = book.rewrapped(old, master, salt)
            finally:
                wipe(master)
            write_vault(self._home, changed, data_key)
            wipe(data_key)
            if new_passphrase_file is None:
                self._place_next_key()
            return len(changed.entries)

    def _next_master(self, passphrase_file: Path | None, salt: bytes) -> bytearray:
        if passphrase_file is not None:
            return MasterSource(self._home, passphrase_file).current(salt)
        (self._home / NEXT_KEY_FILE).unlink(missing_ok=True)  # of a rotation that did not get to the vault
        write_key(self._home / NEXT_KEY_FILE, os.urandom(KEY_BYTES))
        return read_key(self._home / NEXT_KEY_FILE)

    @contextmanager
    def _changing(self) -> Iterator[tuple[Book, bytearray]]:
        """Yield the vault, made if missing, and its data key, while nobody else changes it."""
        folder = make_folder(self._home)
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # a change takes milliseconds
            opened = open_vault(self._source)
            if opened is None:
                book, data_key = self._new()
            else:
                book, data_key, following = opened
                if following:
                    self._place_next_key()
            try:
                yield book, data_key
            finally:
                wipe(data_key)
        finally:
            os.close(descriptor)

    def _new(self) -> tuple[Book, bytearray]:
        """Return an empty vault; a home of an earlier version has no key yet, and gets one."""
        salt = os.urandom(SALT_BYTES) if self._source.stretched else b""
        if not self._source.stretched and not (self._home / KEY_FILE).exists():
            write_key(self._home / KEY_FILE, os.urandom(KEY_BYTES))
        master = self._source.current(salt)
        try:
            book = Book.new(master, salt)
            return book, book.unwrap(master)
        finally:
            wipe(master)

    def _place_next_key(self) -> None:
        try:
            (self._home / NEXT_KEY_FILE).replace(self._home / KEY_FILE)
            sync_directory((self._home / KEY_FILE).parent)
        except OSError as error:
            raise SecretError(f"{self._home / KEY_FILE}: {error.strerror}", code="secret.key_unwritable") from error
