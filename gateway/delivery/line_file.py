"""A log in a file: one JSON object a line, rotated by size; only its owner can read it.

NAME, NAME.1 (the one before), … NAME.N (the oldest that is kept)
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, StoreError
from gateway.vault.master import sync_directory

SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
KEPT_MAX: Final = 8  # files beside the current one
_TAIL_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a file is called where something is wrong with it."""

    what: str  # "the decision log"
    configured: str  # code of a file that cannot be used
    fault: str  # code of a write that failed


class LineFile:
    """Appends whole lines; a write that fails leaves none of them, or a part of one."""

    def __init__(
        self,
        path: Path,
        names: Names,
        *,
        synced: bool = False,
        size_bytes_max: int = SIZE_BYTES_MAX,
        kept_max: int = KEPT_MAX,
    ) -> None:
        """Open the file, and cut off the torn line that a process which was killed has left.

        Args:
            path: of the newest file.
            names: what the file is, for errors.
            synced: lines are on the disk, under the file's own name, when `append` returns.
            size_bytes_max: a file that would have more is put aside.
            kept_max: files beside the newest.

        Raises:
            ConfigurationError: `names.configured`, it cannot be written, is no regular file, or open to others.
        """
        self._path = path
        self._names = names
        self._synced = synced
        self._size_bytes_max = size_bytes_max
        self._kept_max = kept_max
        try:
            self._descriptor = self._open()
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
                os.close(self._descriptor)
                message = f"{path}: must be a regular file that only its owner can read (chmod 600)"
                raise ConfigurationError(message, code=names.configured)
            self._size = _without_torn_line(self._descriptor, status.st_size)
            if synced:
                sync_directory(path.parent)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}", code=names.configured) from error

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines, none of which has a line feed in it.

        Raises:
            StoreError: `names.fault`; the file is as it was, or has whole lines more.
        """
        data = b"".join(line + b"\n" for line in lines)
        try:
            if self._size and self._size + len(data) > self._size_bytes_max:
                self._rotate()
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if self._synced:
                os.fdatasync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            message = f"{self._names.what} {self._path}: {error.strerror}"
            raise StoreError(message, code=self._names.fault) from error
        self._size += len(data)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _rotate(self) -> None:
        """Begin a new file. One that has failed half way is gone on with, and moves no older file a second time."""
        if self._path.exists():
            numbers = range(1, self._kept_max)
            free = next((number for number in numbers if not self._numbered(number).exists()), self._kept_max)
            for number in range(free - 1, 0, -1):
                self._numbered(number).replace(self._numbered(number + 1))
            if self._kept_max:
                self._path.replace(self._numbered(1))
            else:
                self._path.unlink()
        opened = self._open()
        os.close(self._descriptor)
        self._descriptor, self._size = opened, 0
        if self._synced:
            sync_directory(self._path.parent)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)


def _without_torn_line(descriptor: int, size: int) -> int:
    """Cut off what stands behind the last line feed, and return the size."""
    end = size
    while end:
        begin = max(0, end - _TAIL_BYTES)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end != size:
        os.ftruncate(descriptor, end)
    return end
