"""What the kernel tells of a command's processes: how many there are, what they hold, and what has no name any more.

A process may take its leader away: the first thread ends, the others go on, and the process shows as a zombie, without
memory and without files. So every thread is looked at, and none is believed for all. Source: proc(5).
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's are
_ENDED: Final = frozenset("ZXx")
_DELETED: Final = " (deleted)"
_MAP_FIELDS: Final = 6  # addresses, rights, offset, device, inode, path


def lists_children() -> bool:
    """Return whether this kernel lists the children of a thread; without it nobody's descendants are seen."""
    return Path("/proc/thread-self/children").exists()


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below `pid`, itself left out, as the kernel lists them now."""
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):  # it ended meanwhile
                for child in map(int, children.read_text(encoding="ascii").split()):
                    yield child
                    waiting.append(child)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process is, threads that have ended left out."""

    threads: tuple[Path, ...]  # the folder of each; at least one
    resident_bytes: int


def measured(pid: int) -> Measured | None:
    """Return what a process is; None where all of it has ended."""
    threads: list[Path] = []
    pages = 0
    for thread in _listed(Path(f"/proc/{pid}/task")):
        try:
            text = (thread / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        if fields[0] not in _ENDED:
            threads.append(thread)
            pages = max(pages, int(fields[21]))
    return Measured(tuple(threads), pages * _PAGE_BYTES) if threads else None


def nameless_bytes(processes: Iterable[int], root: int, mapped_bytes: int) -> int | None:
    """Return what files without a name take of the disk; None where a process does not let itself be seen.

    No walk finds a file that was unlinked and is held: open, or as a piece of memory, however small a piece. What is
    only in memory has no size that could be asked for, and counts as `mapped_bytes`, which is what a file may have.

    Args:
        processes: who may hold them.
        root: the directory beneath which they have been, open; what is in memory of other places is not theirs.
        mapped_bytes: as above.
    """
    beneath = f"{Path(f'/proc/self/fd/{root}').readlink()}/"
    opened: dict[int, int] = {}  # by inode
    mapped: set[int] = set()
    try:
        for pid in processes:
            process = measured(pid)
            if process is None:
                continue
            for thread in process.threads:  # each may have a table of its own
                opened.update(_nameless(thread))
            mapped |= _mapped(process.threads[0], beneath)
    except PermissionError:
        return None
    return sum(opened.values()) + mapped_bytes * len(mapped - opened.keys())


def _nameless(thread: Path) -> Iterator[tuple[int, int]]:
    for descriptor in _listed(thread / "fd"):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = descriptor.stat()
            if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                yield status.st_ino, status.st_blocks * _BLOCK_BYTES


def _mapped(thread: Path, beneath: str) -> set[int]:
    """Return the inodes of nameless files that are in the memory of a process."""
    found: set[int] = set()
    with suppress(FileNotFoundError, ProcessLookupError), (thread / "maps").open(errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(maxsplit=_MAP_FIELDS - 1)
            if len(fields) == _MAP_FIELDS and fields[5].startswith(beneath) and fields[5].endswith(_DELETED):
                found.add(int(fields[4]))
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return []
