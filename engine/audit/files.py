"""Every system call by which the log changes the disk, as a port: tests fail the n-th one, or pull the plug there."""

import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """The writer's view of a file system. Every method may raise OSError; none is ever retried."""

    def open_append(self, path: Path) -> int:
        """Open for appending; create the file, mode 0600, where it is missing."""

    def create(self, path: Path) -> int:
        """Open an empty file for writing, mode 0600, in place of any that is there."""

    def open_directory(self, path: Path) -> int:
        """Open a directory, for `fsync`."""

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`, or raise; then any part of it may be in the file."""

    def fdatasync(self, fd: int) -> None:
        """Make the content and the size of a file durable."""

    def fsync(self, fd: int) -> None:
        """Make the entries of a directory durable."""

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file to `size` bytes."""

    def replace(self, source: Path, target: Path) -> None:
        """Rename, atomically, over any `target`."""

    def unlink(self, path: Path) -> None:
        """Remove a file."""

    def make_directory(self, path: Path) -> None:
        """Create a directory, mode 0700, unless it is there."""

    def allocate(self, fd: int, size: int) -> None:
        """Give a file `size` bytes of the disk, so that writing them cannot fail for want of space."""

    def free_bytes(self, path: Path) -> int:
        """Return how much of the disk below `path` this user may still fill."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""


class SystemFiles:
    """The kernel's."""

    def open_append(self, path: Path) -> int:
        """Call open with O_WRONLY | O_APPEND | O_CREAT."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def create(self, path: Path) -> int:
        """Call open with O_WRONLY | O_CREAT | O_TRUNC."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def open_directory(self, path: Path) -> int:
        """Call open with O_RDONLY | O_DIRECTORY."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def write(self, fd: int, data: bytes) -> None:
        """Call write until all is written; a short write is no error and goes on where it stopped."""
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])

    def fdatasync(self, fd: int) -> None:
        """Call fdatasync."""
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        """Call fsync."""
        os.fsync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Call ftruncate."""
        os.ftruncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        """Call rename."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Call unlink."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Call mkdir."""
        path.mkdir(mode=0o700, exist_ok=True)

    def allocate(self, fd: int, size: int) -> None:
        """Call posix_fallocate."""
        os.posix_fallocate(fd, 0, size)

    def free_bytes(self, path: Path) -> int:
        """Call statvfs."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def close(self, fd: int) -> None:
        """Call close."""
        os.close(fd)


def sync_directory(files: Files, path: Path) -> None:
    """Make the entries of the directory `path` durable."""
    fd = files.open_directory(path)
    try:
        files.fsync(fd)
    finally:
        files.close(fd)


def ensure_directory(files: Files, path: Path) -> None:
    """Make sure that the directory `path` is there and stays, its missing ancestors included."""
    if not path.parent.exists():
        ensure_directory(files, path.parent)
    files.make_directory(path)
    sync_directory(files, path.parent)  # also where it was there: the crash may have come right after its mkdir


def persist(files: Files, directory: Path, directory_fd: int, name: str, content: bytes) -> None:
    """Put `content` at `directory/name`, whole or not at all, and durable when this returns.

    write to a temporary file → fdatasync → rename → fsync of the directory: without the last, a power cut may bring
    the old file back after we have spoken of the new one.
    """
    temporary = directory / f"{name}.tmp"
    fd = files.create(temporary)
    try:
        files.write(fd, content)
        files.fdatasync(fd)
    finally:
        files.close(fd)
    files.replace(temporary, directory / name)
    files.fsync(directory_fd)
