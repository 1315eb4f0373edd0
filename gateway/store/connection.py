"""How a database of the gateway is connected to: which settings every one has, whatever is in it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway.errors import StoreError

_BUSY_SECONDS: Final = 5.0  # an operator's sqlite3 shell may hold a lock for a moment
_PRAGMAS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",  # a schema that was tampered with cannot call functions with side effects
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",  # an I/O error is then an error code, not SIGBUS
    "PRAGMA journal_size_limit = 67108864",
)


def connect(path: Path, *pragmas: str, query: str = "") -> sqlite3.Connection:
    """Connect to the file at `path`; `pragmas` are its own settings, `query` that of a SQLite URI (`mode=ro`).

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    # Transactions are written out (isolation_level None). One thread uses the connection, another than opened it.
    target: str | Path = f"{path.absolute().as_uri()}?{query}" if query else path
    connection = sqlite3.connect(
        target, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=bool(query)
    )
    try:
        connection.row_factory = sqlite3.Row
        for pragma in (*pragmas, *_PRAGMAS):
            with closing(connection.execute(pragma)):
                pass
    except BaseException:
        connection.close()
        raise
    return connection


def use_write_ahead_log(connection: sqlite3.Connection, path: Path) -> None:
    """Let readers go on while one writes.

    Raises:
        StoreError: the file system cannot do it.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path}: this file system cannot hold a write-ahead log")


def truncate_log(connection: sqlite3.Connection) -> None:
    """Bring every page to the database, overwritten where it was freed, and leave no log behind.

    Raises:
        StoreError: `store.busy`, somebody has been reading for seconds.
    """
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError("somebody reads the store, so that its log cannot be emptied now", code="store.busy")
