"""Counts and removes what is beneath a directory, whoever filled it: no depth, mode or link in it can stop or mislead.

A command may nest directories deeper than any recursion or path reaches, and take its own rights to them away.
"""

import os
import stat
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

DEPTH_MAX: Final = 64  # of directories that are counted; effects make at most 32
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o700
_FILLABLE: Final = 0o300


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much there is."""

    entries: int  # files, directories, links and whatever else has a name
    directories: int  # of the entries
    size_bytes: int  # of all files and links; a file with two names counts twice
    whole: bool  # everything was seen


def extent_of(root: int, *, entries_max: int, mend: bool = False) -> Extent:
    """Return what is beneath the open directory `root`; where there is more than `entries_max`, not all of it.

    With `mend`, directories that shut out their owner are opened again, which is only for trees that nobody is
    changing meanwhile: the mode is set by name.
    """
    entries = directories = size_bytes = 0
    levels = [_walk(root, mend=mend)]
    try:
        while levels:
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
                continue
            entries += 1
            directories += found.folder is not None
            size_bytes += found.size_bytes
            deep = found.folder is not None and len(levels) >= DEPTH_MAX
            if not found.seen or entries > entries_max or deep:
                return Extent(entries=entries, directories=directories, size_bytes=size_bytes, whole=False)
            if found.folder is not None:
                levels.append(_walk(found.folder, mend=mend))
    finally:
        for level in reversed(levels):
            level.close()
    return Extent(entries=entries, directories=directories, size_bytes=size_bytes, whole=True)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One name; `folder` is a descriptor where it is a directory that could be opened."""

    size_bytes: int = 0
    folder: int | None = None
    seen: bool = True


def _walk(folder: int, *, mend: bool) -> Generator[_Entry, None, None]:
    """Yield what is in one directory; each descriptor is closed once the caller comes back for more."""
    for name in os.listdir(folder):
        mode = 0
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield _Entry(status.st_size)
                continue
            mode = stat.S_IMODE(status.st_mode)
            if mend and mode & _MODE != _MODE:
                os.chmod(name, _MODE, dir_fd=folder)
            inner = os.open(name, _DIRECTORY, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError:
            yield _Entry(seen=mode & _FILLABLE != _FILLABLE)  # where nothing can be put, nothing is hidden
            continue
        try:
            yield _Entry(folder=inner)
        finally:
            os.close(inner)


def remove_beneath(root: int) -> None:
    """Remove all that is beneath the open directory `root`; nobody else changes it meanwhile.

    Directories are lifted to the top one by one and emptied there, so that one descriptor is enough for any depth.

    Raises:
        OSError: the disk refuses.
    """
    lifted = 0
    while names := os.listdir(root):
        for name in names:
            if not _unlinked(root, name):
                lifted = _emptied(root, name, lifted)
                os.rmdir(name, dir_fd=root)


def _emptied(root: int, name: str, lifted: int) -> int:
    """Unlink the files of one directory and lift its directories to the top; return the next number for a name."""
    os.chmod(name, _MODE, dir_fd=root)
    folder = os.open(name, _DIRECTORY, dir_fd=root)
    try:
        for inner in os.listdir(folder):  # noqa: PTH208 - a descriptor, not a path
            if _unlinked(folder, inner):
                continue
            with suppress(PermissionError):
                os.chmod(inner, _MODE, dir_fd=folder)  # moving a directory changes its `..`
            while True:
                lifted += 1
                try:
                    os.rename(inner, f".lifted-{lifted}", src_dir_fd=folder, dst_dir_fd=root)
                except OSError as error:
                    if not _taken(root, f".lifted-{lifted}"):
                        raise error from None
                else:
                    break
    finally:
        os.close(folder)
    return lifted


def _taken(root: int, name: str) -> bool:
    """Return whether a name at the top is in use: an empty directory of that name would have been replaced."""
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlinked(folder: int, name: str) -> bool:
    """Unlink what is no directory; return whether it was none."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    except PermissionError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        return False
    return True
