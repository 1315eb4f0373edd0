"""What SQLite says when it cannot, as store errors with stable codes."""

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.errors import StoreError

_REASONS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: ("store.full", "the disk is full"),
        sqlite3.SQLITE_CONSTRAINT: ("store.constraint", "the record contradicts what is stored"),
        sqlite3.SQLITE_TOOBIG: ("store.too_large", "the record is too large"),
        sqlite3.SQLITE_BUSY: ("store.busy", "another program holds the store"),
        sqlite3.SQLITE_LOCKED: ("store.busy", "another program holds the store"),
        sqlite3.SQLITE_CORRUPT: ("store.corrupt", "the file is damaged"),
        sqlite3.SQLITE_NOTADB: ("store.corrupt", "the file is not a SQLite database"),
    }
)
_PASSING: Final = frozenset(  # the connection can be used after these
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }
)


def _primary(error: sqlite3.Error) -> int:
    """Return the primary result code: an extended one has it in the low byte. Source: sqlite.org/rescode.html."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def store_error(error: sqlite3.Error) -> StoreError:
    """Return `error` as a store error; what is not listed is `store.unavailable`."""
    code, message = _REASONS.get(_primary(error), ("store.unavailable", "the store does not answer"))
    return StoreError(message, code=code)


def ends_the_store(error: sqlite3.Error) -> bool:
    """Return whether nothing may be written after this until the file was opened anew.

    A failed fsync may have dropped pages that SQLite takes for written, and damage does not stay where it was found.
    An error without a result code is the sqlite3 module's own (a value that it cannot bind): SQLite was not asked.
    """
    return hasattr(error, "sqlite_errorcode") and _primary(error) not in _PASSING
