"""How far a sink has come: the seq of the last event that it has acknowledged, and the hash of that line.

The hash ties a cursor to its log: one that was put beside another log, or beside a log that was put back, does not fit.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.files import Files, SystemFiles, ensure_directory, persist
from gateway.errors import StoreError

FOLDER: Final = "cursors"
_TEXT: Final = re.compile(
    rb"missiongate audit cursor v1\nseq (0|[1-9][0-9]{0,18})\nhash ([0-9a-f]{64})\n",
)
_BYTES_MAX: Final = 256
_SYSTEM_FILES: Final = SystemFiles()


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event that was delivered, or that nobody is to be told of."""

    seq: int
    hash: str

    def text(self) -> bytes:
        """Return the file's content."""
        return f"missiongate audit cursor v1\nseq {self.seq}\nhash {self.hash}\n".encode()


class CursorFile:
    """`cursors/<name>.cursor` of a log's folder, replaced as a whole."""

    def __init__(self, directory: Path, name: str, files: Files = _SYSTEM_FILES) -> None:
        self._folder = directory / FOLDER
        self._name = f"{name}.cursor"
        self._files = files

    def read(self) -> Cursor | None:
        """Return where the sink is, or None where it has not begun.

        Raises:
            StoreError: `audit.cursor_unreadable`, nobody knows what it says.
        """
        path = self._folder / self._name
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                match = _TEXT.fullmatch(file.read(_BYTES_MAX))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}", code="audit.cursor_unreadable") from error
        if match is None:
            raise StoreError(f"{path}: is no cursor", code="audit.cursor_unreadable")
        return Cursor(int(match[1]), match[2].decode())

    def write(self, cursor: Cursor) -> None:
        """Put a cursor in place of the one that is there, durably.

        Raises:
            OSError: one of the two is there.
        """
        ensure_directory(self._files, self._folder)
        folder = self._files.open_directory(self._folder)
        try:
            persist(self._files, self._folder, folder, self._name, cursor.text())
        finally:
            self._files.close(folder)
