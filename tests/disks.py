"""Disks that fail at the n-th call, or lose what was not synced when their power goes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from engine.audit.files import SystemFiles


class InjectedError(OSError):
    """EIO, as far as the program can tell."""


class FailingFiles(SystemFiles):
    """Fails the n-th call that changes the disk, after half of a write; and counts the calls.

    It does not sync: what would be lost without is `UnpluggedFiles`' to say, and the tests run in seconds.
    """

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at = fail_at
        self.calls = 0
        self.log: list[str] = []

    def _step(self, name: str) -> bool:
        self.log.append(name)
        self.calls += 1
        return self.calls - 1 == self.fail_at

    def _call(self, name: str) -> None:
        if self._step(name):
            raise InjectedError(5, name)

    def open_append(self, path: Path) -> int:
        self._call("open_append")
        return super().open_append(path)

    def create(self, path: Path) -> int:
        self._call("create")
        return super().create(path)

    def open_directory(self, path: Path) -> int:
        self._call("open_directory")
        return super().open_directory(path)

    def write(self, fd: int, data: bytes) -> None:
        if self._step("write"):
            os.write(fd, data[: len(data) // 2])
            raise InjectedError(28, "write")
        super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        del fd
        self._call("fdatasync")

    def fsync(self, fd: int) -> None:
        del fd
        self._call("fsync")

    def truncate(self, fd: int, size: int) -> None:
        self._call("truncate")
        super().truncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        self._call("replace")
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        super().unlink(path)

    def make_directory(self, path: Path) -> None:
        self._call("make_directory")
        super().make_directory(path)

    def allocate(self, fd: int, size: int) -> None:
        self._call("allocate")
        os.ftruncate(fd, size)

    def free_bytes(self, path: Path) -> int:
        self._call("free_bytes")
        return super().free_bytes(path)


Loss = Callable[[bytes, int], bytes]  # what is left of a file of which so many bytes were synced

LOSSES: dict[str, Loss] = {
    "all unsynced bytes": lambda content, synced: content[:synced],
    "half of them": lambda content, synced: content[: (synced + len(content)) // 2],
    "the bytes, not the size": lambda content, synced: content[:synced] + bytes(len(content) - synced),
    "nothing": lambda content, _: content,
}


class UnpluggedFiles(FailingFiles):
    """A disk whose power goes at the n-th call: what was not synced, names included, may be lost."""

    def __init__(self, fail_at: int, loss: Loss, *, names_last: bool) -> None:
        super().__init__(fail_at)
        self._loss = loss
        self._names_last = names_last
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}  # bytes that are safe
        self._cut: dict[Path, bytes] = {}  # truncated since their fdatasync: what was there before
        self._unsafe_names: dict[Path, bytes | None] = {}  # changed since their folder's fsync: what was there before

    def open_append(self, path: Path) -> int:
        if not path.exists():
            self._unsafe_names.setdefault(path, None)
        self._synced.setdefault(path, path.stat().st_size if path.exists() else 0)
        fd = super().open_append(path)
        self._paths[fd] = path
        return fd

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._paths[fd] = path
        self._synced[path] = 0
        return fd

    def open_directory(self, path: Path) -> int:
        fd = super().open_directory(path)
        self._paths[fd] = path
        return fd

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        path = self._paths[fd]
        self._synced[path] = path.stat().st_size
        self._cut.pop(path, None)

    def truncate(self, fd: int, size: int) -> None:
        path = self._paths[fd]
        before = path.read_bytes()
        super().truncate(fd, size)
        self._cut[path] = before
        self._synced[path] = size

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        for path in [path for path in self._unsafe_names if path.parent == self._paths[fd]]:
            del self._unsafe_names[path]

    def replace(self, source: Path, target: Path) -> None:
        before = target.read_bytes() if target.exists() else None
        super().replace(source, target)
        self._unsafe_names.setdefault(target, before)
        self._synced[target] = self._synced.pop(source)

    def unlink(self, path: Path) -> None:
        before = path.read_bytes()
        super().unlink(path)
        self._unsafe_names.setdefault(path, before)

    def make_directory(self, path: Path) -> None:
        missing = not path.exists()
        super().make_directory(path)
        if missing:
            self._unsafe_names[path] = None

    def close(self, fd: int) -> None:
        super().close(fd)
        self._paths.pop(fd, None)

    def pull_the_plug(self) -> None:
        """Leave on the disk what a power cut may leave."""
        for path, synced in self._synced.items():
            if path.exists():
                path.write_bytes(self._loss(path.read_bytes(), synced))
        if self._names_last:
            return
        for path, content in self._cut.items():
            path.write_bytes(content)
        for path, before in self._unsafe_names.items():
            if path.is_dir():
                shutil.rmtree(path)
            elif before is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(before)
