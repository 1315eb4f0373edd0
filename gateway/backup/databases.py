"""Copies a SQLite database that is written to: one moment of it, through SQLite's own online backup.

Source: sqlite.org/backup.html. The copy is one file, without a write-ahead log; opening it makes that anew.
"""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway.backup.copying import Target
from gateway.errors import BackupError
from gateway.store.connection import connect
from gateway.store.failures import store_error

_CHUNK: Final = 1024 * 1024


def copy_database(source: Path, name: bytes, target: Target) -> None:
    """Copy the database at `source`, as it is at one moment between two transactions; none is no error.

    Raises:
        StoreError: it cannot be read; BackupError: `backup.database`, the copy is damaged.
    """
    if not source.is_file():
        return
    place = target.place(name)
    os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        with closing(connect(source, query="mode=ro")) as reading, closing(connect(place)) as writing:
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.Error as error:
        raise store_error(error) from error
    check_database(place)
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        digest, size = hashlib.sha256(), 0
        while part := os.read(descriptor, _CHUNK):
            digest.update(part)
            size += len(part)
    finally:
        os.close(descriptor)
    target.note(name, size, digest.hexdigest())


def check_database(path: Path) -> None:
    """Let SQLite look at every page of a database that nobody has open.

    Raises:
        BackupError: `backup.database`.
    """
    try:
        with closing(connect(path, query="mode=ro&immutable=1")) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{path}: {error}", code="backup.database") from error
    if said != "ok":
        raise BackupError(f"{path}: {said}", code="backup.database")
