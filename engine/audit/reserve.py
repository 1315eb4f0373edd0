"""Space that is kept for the last event, so that a full disk is told of in the log and not only by its silence."""

from pathlib import Path
from typing import Final

from engine.audit.files import Files

RESERVE: Final = "reserve"
RESERVE_BYTES: Final = 1024 * 1024
_MARGIN_BYTES: Final = 256 * 1024  # beside a batch: its checkpoint, and what the file system needs for both


class Reserve:
    """A file of `RESERVE_BYTES` that the disk has really given."""

    __slots__ = ("_directory", "_files")

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory

    def keep(self) -> None:
        """Make sure that the file is there. May raise OSError: on a full disk a log does not open."""
        fd = self._files.open_append(self._directory / RESERVE)
        try:
            self._files.allocate(fd, RESERVE_BYTES)
        finally:
            self._files.close(fd)

    def spent_by(self, size: int) -> bool:
        """Return whether writing `size` bytes would leave too little of the disk. May raise OSError."""
        return self._files.free_bytes(self._directory) < size + _MARGIN_BYTES

    def holds(self, size: int) -> bool:
        """Return whether `size` bytes fit what `release` gives back."""
        return size + _MARGIN_BYTES <= RESERVE_BYTES

    def release(self) -> None:
        """Give the space back to the disk. May raise OSError."""
        fd = self._files.open_append(self._directory / RESERVE)
        try:
            self._files.truncate(fd, 0)
        finally:
            self._files.close(fd)
