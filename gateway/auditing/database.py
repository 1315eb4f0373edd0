"""`index.db`, beside the log: its tables. All of it is derived from the log, so it may be deleted at any time.

WAL with synchronous=NORMAL: a power cut may take the last rows, never the file; what is missing is read anew.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import StoreError
from gateway.store.connection import connect, use_write_ahead_log
from gateway.store.failures import store_error

INDEX_FILE: Final = "index.db"
APPLICATION_ID: Final = 0x4D47_4158  # "MGAX"
VERSION: Final = 1  # of tables and of what lines are said to be about: another one is rebuilt, not migrated

_PRAGMAS: Final = ("PRAGMA synchronous = NORMAL", "PRAGMA cache_size = -16384", "PRAGMA temp_store = MEMORY")
_TABLES: Final = """
CREATE TABLE state ( -- one row: how far the index is, and of which log
    size INTEGER NOT NULL, -- events before this one are in it
    hash BLOB NOT NULL, -- of the event before: 64 hex digits; by the chain it stands for all of them
    next_offset INTEGER NOT NULL -- where the next line begins, unless a new segment does
) STRICT;
CREATE TABLE types (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT; -- actors, codes, tenants, missions
CREATE TABLE missions (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL) STRICT; -- both of names
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    place INTEGER NOT NULL, -- offset in its segment
    at INTEGER NOT NULL, -- microseconds since 1970; grows with seq
    type INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    target TEXT NOT NULL,
    event INTEGER NOT NULL, -- the first 64 bits of event_id
    tenant INTEGER, -- whose event it is; NULL: the gateway's own, or of several
    allow INTEGER,
    code INTEGER,
    decision TEXT
) STRICT;
CREATE TABLE about (mission INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (mission, seq)) STRICT, WITHOUT ROWID;
"""
_LOOKUPS: Final = """
CREATE INDEX IF NOT EXISTS events_type ON events (type);
CREATE INDEX IF NOT EXISTS events_actor ON events (actor);
CREATE INDEX IF NOT EXISTS events_event ON events (event);
CREATE INDEX IF NOT EXISTS events_tenant ON events (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_decision ON events (decision) WHERE decision IS NOT NULL;
"""
_NAMES_OF_TABLES: Final = ("state", "types", "names", "missions", "events", "about")


def open_writer(path: Path) -> sqlite3.Connection:
    """Open for writing; what is there and not of this version, or no database at all, is replaced.

    Raises:
        StoreError: the folder cannot be written, or SQLite fails.
    """
    try:
        return _opened(path)
    except sqlite3.DatabaseError:  # damaged, or no database: nothing is lost with it
        remove(path)
    try:
        return _opened(path)
    except sqlite3.Error as error:
        raise store_error(error) from error


def open_reader(path: Path) -> sqlite3.Connection:
    """Open for reading, beside the writer.

    Raises:
        StoreError: there is none, or it is not of this version.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no index", code="audit.index_missing")
    try:
        connection = connect(path, *_PRAGMAS, query="mode=ro")
        try:
            connection.execute("PRAGMA query_only = ON")
            ours = _is_ours(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise store_error(error) from error
    if not ours:
        connection.close()
        raise StoreError(f"{path}: the index is of another version", code="audit.index_missing")
    return connection


def reset(connection: sqlite3.Connection) -> None:
    """Empty it; readers see all of it or nothing of it gone. Lookups by value are made again by `make_lookups`."""
    drops = "".join(f"DROP TABLE IF EXISTS {name};" for name in _NAMES_OF_TABLES)
    connection.executescript(
        f"BEGIN IMMEDIATE; {drops} {_TABLES} INSERT INTO state VALUES (0, x'', 0);"  # noqa: S608 - ours
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
    )


def make_lookups(connection: sqlite3.Connection) -> None:
    """Make what finds rows by value. After many rows it is faster than with each of them."""
    connection.executescript(_LOOKUPS)


def remove(path: Path) -> None:
    """Delete the files of an index.

    Raises:
        StoreError: one cannot be deleted.
    """
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        try:
            name.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{name}: {error.strerror}") from error


def _opened(path: Path) -> sqlite3.Connection:
    try:
        with suppress(FileExistsError):  # -wal and -shm take over the mode of the database
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    connection = connect(path, *_PRAGMAS)
    try:
        use_write_ahead_log(connection, path)
        if not _is_ours(connection):
            reset(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_ours(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (APPLICATION_ID, VERSION):
        return False
    (rows,) = connection.execute("SELECT count(*) FROM state").fetchone()
    return int(rows) == 1
