"""Opening the file: private, locked, in WAL mode with synchronous=FULL, at the newest schema."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.errors import StoreError
from gateway.store.connection import connect, use_write_ahead_log
from gateway.store.conversion import lend_functions
from gateway.store.failures import store_error
from gateway.store.schema import migrate, require_current
from gateway.store.sealing import Sealer

_DURABLE: Final = "PRAGMA synchronous = FULL"  # each commit waits for the disk; in WAL mode NORMAL does not
_OVERWRITING: Final = "PRAGMA secure_delete = ON"  # what is deleted is overwritten: erasure is meant


def lock(path: Path) -> int:
    """Take the lock of the store at `path`; the descriptor holds it until it is closed, or the process ends.

    A file beside the database, because POSIX locks, which SQLite uses, are lost when any descriptor of the same file
    is closed. SQLite's own locks would keep the file whole with two gateways, but not the missions: each would fail
    the other's as interrupted.

    Raises:
        StoreError: `store.locked`, another gateway has it; `store.unavailable`, there is no such directory.
    """
    try:
        descriptor = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as err:
        raise StoreError(f"{path}: {err.strerror}") from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(descriptor)
        raise StoreError(f"{path}: another gateway uses this store", code="store.locked") from err
    return descriptor


def open_writer(path: Path, sealer: Sealer) -> sqlite3.Connection:
    """Open for writing; make the file, for us alone, where it is missing, and migrate it.

    Raises:
        StoreError: the file is damaged, newer, another program's, or cannot be used.
    """
    try:
        with suppress(FileExistsError):  # -wal and -shm take over the mode of the database
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = connect(path, _DURABLE, _OVERWRITING)
    except OSError as err:
        raise StoreError(f"{path}: {err.strerror}") from err
    except sqlite3.Error as err:
        raise store_error(err) from err
    with _closed_on_failure(connection):
        lend_functions(connection, sealer)
        migrate(connection)  # first: it leaves another program's file as it was
        use_write_ahead_log(connection, path)
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open for reading, after the writer.

    Raises:
        StoreError: the file cannot be used.
    """
    try:
        connection = connect(path, _DURABLE)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as err:
        raise store_error(err) from err
    return connection


def open_beside(path: Path) -> sqlite3.Connection:
    """Open for reading only, whoever else has the file; it must have been opened by a gateway of this version.

    Raises:
        StoreError: the file is missing or damaged, `store.foreign`, `store.schema_newer`, `store.schema_older`.
    """
    try:
        if not path.is_file():
            raise StoreError(f"{path}: there is no store")
        connection = connect(path, _DURABLE, query="mode=ro")
    except (OSError, sqlite3.Error) as err:
        raise store_error(err) if isinstance(err, sqlite3.Error) else StoreError(f"{path}: {err.strerror}") from err
    with _closed_on_failure(connection):
        connection.execute("PRAGMA query_only = ON")
        require_current(connection)
    return connection


def holds_keys(path: Path) -> bool:
    """Return whether a store is there in which keys of missions may be: a master key has wrapped them.

    Raises:
        StoreError: it cannot be read.
    """
    if not path.exists():
        return False
    try:
        with closing(connect(path, query="mode=ro")) as connection:
            return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'mission_keys'").fetchone() is not None
    except sqlite3.Error as err:
        raise store_error(err) from err


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as err:
        connection.close()
        raise store_error(err) from err
    except StoreError:
        connection.close()
        raise
