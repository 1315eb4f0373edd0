"""Rotation of the master key: every mission's key is wrapped anew, and the old master key is destroyed.

The new key lies beside the old one before any row is wrapped by it. All rows change in one transaction, then the new
key takes the old one's place, whose bytes are overwritten. Wherever it is stopped, each row says which of the two keys
opens it and both are there, so that the gateway starts; the next rotation takes it to its end, and begins no other.

No payload is sealed anew: that is what keys of missions are wrapped for. A copy of the database from before, with the
old key gone, opens no more: what was erased meanwhile is gone from that as well.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from engine.clock import Clock
from gateway.errors import SecretError, StoreError
from gateway.store.connection import truncate_log
from gateway.store.failures import store_error
from gateway.store.master_keys import KEY_FILE, NEXT_KEY_FILE, MasterKeys, key_in
from gateway.store.opening import lock, open_writer
from gateway.store.sealing import Sealer
from gateway.vault.keeper import Keeper
from gateway.vault.master import MasterSource, sync_directory, write_key
from gateway.vault.sealing import KEY_BYTES, wipe


def rotate_master_key(database: Path, source: MasterSource, clock: Clock) -> int:
    """Rotate the master key of a home whose gateway does not run, and return how many keys were wrapped anew.

    Raises:
        StoreError: `store.locked`, the gateway runs; the store cannot be read or written. Nothing has changed, or the
            next call goes on.
        SecretError: the key cannot be had, or not be written.
    """
    descriptor = lock(database)
    try:
        current, following = source.home / KEY_FILE, source.home / NEXT_KEY_FILE
        if not following.exists():
            write_key(following, os.urandom(KEY_BYTES))
        root = Keeper(source, clock).handle_key() if source.stretched else None
        old, new = key_in(current, root), key_in(following, root)
        try:
            count = _wrap_all(database, MasterKeys(old, new), MasterKeys(new))
        finally:
            for key in (root, old, new):
                if key is not None:
                    wipe(key)
        _replace(current, following)
    finally:
        os.close(descriptor)
    return count


def _wrap_all(database: Path, both: MasterKeys, new: MasterKeys) -> int:
    """Wrap by the new key what is not, all of it or nothing, and leave the old wrapping nowhere in the files."""
    with closing(open_writer(database, Sealer(both))) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            count = 0
            rows = connection.execute("SELECT * FROM mission_keys WHERE kek <> ?", (new.number,)).fetchall()
            for row in rows:
                mission_id = row["mission_id"]
                wrapped = new.wrap(mission_id, both.unwrap(mission_id, row["kek"], row["wrapped"]))
                values = (new.number, wrapped, mission_id)
                connection.execute("UPDATE mission_keys SET kek = ?, wrapped = ? WHERE mission_id = ?", values)
                count += 1
            connection.execute("COMMIT")
            truncate_log(connection)
        except sqlite3.Error as error:
            raise store_error(error) from error
        except StoreError:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
    return count


def _replace(current: Path, following: Path) -> None:
    """Put the new key in the old one's place, and overwrite the bytes of the old one, which has no name any more."""
    try:
        descriptor = os.open(current, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            following.replace(current)
            sync_directory(current.parent)
            os.write(descriptor, bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SecretError(f"{current}: {error.strerror}", code="secret.key_unwritable") from error
