"""`decisions.db`: its tables, and how it is opened. Private to its owner, in WAL mode with synchronous=NORMAL.

NORMAL: what was written in the last moments before a power cut may be missing, and the file is whole. The audit log,
which is what a decision is proved by, waits for the disk; its documents need not (docs/decisions.md).
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import StoreError
from gateway.store.connection import connect, use_write_ahead_log
from gateway.store.failures import store_error

DATABASE_FILE: Final = "decisions.db"
APPLICATION_ID: Final = 0x4D47_4443  # "MGDC"
VERSION: Final = 1

_PRAGMAS: Final = (
    "PRAGMA synchronous = NORMAL",
    "PRAGMA secure_delete = ON",  # what is deleted is overwritten: erasure is meant
)
_SCHEMA: Final = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL, -- hmac-sha256:<hex> of what was sealed; of older rows sha256:<hex>
    day INTEGER NOT NULL, -- which key
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY, -- order of writing
    id TEXT NOT NULL UNIQUE, -- sorts by time
    at TEXT NOT NULL, -- RFC 3339, UTC, microseconds
    day INTEGER NOT NULL, -- which key
    entrypoint TEXT NOT NULL,
    subject BLOB, -- a tag: HMAC of tenant and subject under a key of the records
    mission_id TEXT,
    bundle TEXT NOT NULL,
    allow INTEGER NOT NULL,
    codes TEXT NOT NULL, -- JSON
    document_id INTEGER NOT NULL REFERENCES documents (id),
    answer BLOB NOT NULL -- sealed, bound to every column above but seq
) STRICT;
CREATE INDEX decisions_at ON decisions (at);
CREATE INDEX decisions_document ON decisions (document_id);
CREATE INDEX decisions_mission ON decisions (mission_id) WHERE mission_id IS NOT NULL;
CREATE INDEX decisions_subject ON decisions (subject) WHERE subject IS NOT NULL;

CREATE TABLE outbox ( -- events that the collector has not taken yet
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    day INTEGER NOT NULL,
    subject BLOB,
    mission_id TEXT,
    sealed BLOB NOT NULL
) STRICT;
"""


def open_writer(path: Path, check: bytes) -> sqlite3.Connection:
    """Open for writing, and make what is missing.

    Args:
        path: the file.
        check: `RecordKeys.check`; what is there must have been sealed with the same keys.

    Raises:
        StoreError: `decisions.other_key`, the file was written with another key; `store.*`, it is damaged, another
            program's, of a newer version, or cannot be used.
    """
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return _opened(path, "", lambda connection: _prepare(connection, path, check))


def open_beside(path: Path, check: bytes) -> sqlite3.Connection:
    """Open for reading only, whoever else has the file.

    Raises:
        StoreError: as `open_writer`.
    """

    def verify(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")
        _require_ours(connection, path)
        _require_key(connection, path, check)

    return _opened(path, "mode=ro", verify)


def _opened(path: Path, query: str, verify: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Connect, and close again where what is there cannot be trusted."""
    try:
        connection = connect(path, *_PRAGMAS, query=query)
        try:
            verify(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise store_error(error) from error
    except UnicodeError as error:  # of a message about a damaged schema, which repeats it
        raise StoreError("the file is damaged", code="store.corrupt") from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, check: bytes) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version or tables:
        _require_ours(connection, path)
        _require_key(connection, path, check)
    else:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        )
        connection.execute("INSERT INTO meta VALUES ('check', ?)", (check,))
        connection.execute("COMMIT")
    use_write_ahead_log(connection, path)


def _require_ours(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path}: this is another program's database", code="store.foreign")
    if version != VERSION:
        raise StoreError(f"{path}: it is of another version of the gateway", code="store.schema_newer")


def _require_key(connection: sqlite3.Connection, path: Path, check: bytes) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'check'").fetchone()
    if row is None or row["value"] != check:
        message = f"{path}: its decisions were recorded with another key; put that key back, or move the file away"
        raise StoreError(message, code="decisions.other_key")
