"""A file as a second place for checkpoints, best on a disk that this machine's users cannot change.

`FILE` is the newest checkpoint, replaced whole; `FILE.history` has every one that was put there, one behind the other,
and is only ever appended to.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX
from gateway.anchoring.ports import UnreachableError

HISTORY_SUFFIX: Final = ".history"
_READABLE: Final = 0o644  # a checkpoint is for others to hold


class FilePlace:
    """Writes on a thread: the disk may be a slow one, or gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    async def read(self) -> bytes | None:
        """Return what is there; one byte over the bound where it is no note."""
        return await asyncio.to_thread(self._read)

    async def put(self, note: bytes) -> None:
        """Append to the history, then replace the file; both durable. After a crash in between the history has more."""
        await asyncio.to_thread(self._put, note)

    def _read(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                return file.read(NOTE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreachableError(f"cannot be read: {error.strerror}") from error

    def _put(self, note: bytes) -> None:
        path = self._path
        try:
            _write(path.with_name(path.name + HISTORY_SUFFIX), os.O_APPEND, note)
            temporary = path.with_name(path.name + ".tmp")
            _write(temporary, os.O_TRUNC, note)
            temporary.replace(path)
            _sync_directory(path.parent)
        except OSError as error:
            raise UnreachableError(f"cannot be written: {error.strerror}") from error


def _write(path: Path, how: int, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how, _READABLE)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(fd)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
