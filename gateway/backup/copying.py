"""Copies trees of files that change meanwhile, and that a guest may have had its hands in: no link is followed."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.backup.manifest import FILES_MAX, Entry, copied
from gateway.errors import BackupError

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folders(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(mode=0o700)


class Target:
    """The folder that a backup grows in; it knows what is there."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.entries: list[Entry] = []
        self.skipped = 0

    def place(self, path: bytes) -> Path:
        """Return where a file goes, the folders above it made."""
        if len(self.entries) >= FILES_MAX:
            raise BackupError(f"more than {FILES_MAX} files", code="backup.too_large")
        where = self.folder / os.fsdecode(path)
        make_folders(where.parent)
        return where

    def take(self, path: bytes, source: int, *, bytes_max: int | None = None) -> None:
        """Copy an open file to `path`, durably."""
        target = os.open(self.place(path), _NEW, 0o600)
        try:
            size, digest = copied(source, target, bytes_max=bytes_max)
            os.fsync(target)
        finally:
            os.close(target)
        self.entries.append(Entry(path=path, size=size, sha256=digest))

    def take_file(self, path: bytes, source: Path) -> None:
        """Copy a file by its name."""
        opened = os.open(source, _READ)
        try:
            self.take(path, opened)
        finally:
            os.close(opened)

    def take_bytes(self, path: bytes, content: bytes) -> None:
        """Write a file that is made here."""
        source = os.memfd_create("backup", os.MFD_CLOEXEC)
        try:
            os.write(source, content)
            os.lseek(source, 0, os.SEEK_SET)
            self.take(path, source)
        finally:
            os.close(source)

    def note(self, path: bytes, size: int, digest: str) -> None:
        """Say that a file was put there by somebody else."""
        self.entries.append(Entry(path=path, size=size, sha256=digest))

    def take_link(self, path: bytes, says: bytes) -> None:
        """Note a link; it stands in the manifest alone."""
        self.entries.append(Entry(path=path, link=says))


def copy_tree(home: Path, name: bytes, target: Target, *, leave_out: Callable[[bytes, int], bool]) -> None:
    """Copy what is at `name` of a home. What vanishes meanwhile was not there.

    Args:
        home: where from.
        name: of a file or a folder in it.
        target: where to.
        leave_out: is shown the path of each regular file, and the file itself, open; True leaves it out.
    """
    top = os.fsencode(home / os.fsdecode(name))
    try:
        found = os.lstat(top)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _copy_one(directory, name, name, target, leave_out)
        finally:
            os.close(directory)
        return
    for path, directory, names in _walk(top, name):
        for each in names:
            _copy_one(directory, each, path + b"/" + each, target, leave_out)


def _walk(top: bytes, name: bytes) -> Iterator[tuple[bytes, int, list[bytes]]]:
    """Yield (path, open folder, names in it that are no folders); links to folders are names."""
    for root, folders, names, directory in os.fwalk(top, follow_symlinks=False):
        links = [each for each in folders if stat.S_ISLNK(os.lstat(each, dir_fd=directory).st_mode)]
        yield name + root[len(top) :], directory, sorted([*names, *links])


def _copy_one(
    directory: int, name: bytes, path: bytes, target: Target, leave_out: Callable[[bytes, int], bool]
) -> None:
    try:
        found = os.lstat(name, dir_fd=directory)
        if stat.S_ISLNK(found.st_mode):
            target.take_link(path, os.readlink(name, dir_fd=directory))
            return
        if not stat.S_ISREG(found.st_mode):
            target.skipped += 1
            return
        source = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        if not leave_out(path, source):
            os.lseek(source, 0, os.SEEK_SET)
            target.take(path, source)
    finally:
        os.close(source)
