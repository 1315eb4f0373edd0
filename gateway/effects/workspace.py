"""The directory that a mission may touch: one per mission, beneath the gateway's home, counted and bounded.

    <home>/workspaces/             0700
    <home>/workspaces/.staging/    half-written files, on the same file system; emptied at start
    <home>/workspaces/<mission>/   0700

Descriptors are opened once and duplicated for each use, so that a path above the workspace is walked only here, and
a workspace that is closed meanwhile cannot hand a late thread somebody else's descriptor.
"""

import asyncio
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.effects.openat2 import open_beneath
from gateway.effects.rename import rename_into
from gateway.effects.tree import Extent, extent_of, remove_beneath
from gateway.errors import ConfigurationError, EffectError

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STAGING: Final = ".staging"
_NOTHING: Final = Extent(0, 0, whole=True)
_MISSION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceLimits:
    """What one mission may leave on the disk. Every field is a maximum."""

    entries_max: int = 10_000  # files and directories
    bytes_max: int = 256 * 1024 * 1024


class Usage:
    """What a workspace holds, counted as it is written; a claim is made before the disk is touched."""

    def __init__(self, limits: WorkspaceLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self.entries = 0
        self.bytes = 0

    def claim(self, *, entries: int, size_bytes: int) -> None:
        """Count `entries` and `size_bytes`, or refuse both.

        Raises:
            EffectError: `effect.workspace_full`.
        """
        with self._lock:
            if self.entries + entries > self._limits.entries_max or self.bytes + size_bytes > self._limits.bytes_max:
                raise EffectError(
                    f"a workspace holds at most {self._limits.entries_max} files and directories "
                    f"and {self._limits.bytes_max} bytes",
                    code="effect.workspace_full",
                )
            self.entries += entries
            self.bytes += size_bytes

    @property
    def limits(self) -> WorkspaceLimits:
        """What it may hold at most."""
        return self._limits

    @property
    def left_bytes(self) -> int:
        """How many bytes may still be added; below 0 where there are too many."""
        return self._limits.bytes_max - self.bytes

    @property
    def over(self) -> bool:
        """Whether there is more than there may be: a command writes first and is counted afterwards."""
        return self.bytes > self._limits.bytes_max or self.entries > self._limits.entries_max

    def recount(self, extent: Extent) -> None:
        """Take what was found on the disk; a tree that could not be seen in whole counts as more than there may be.

        What a write has claimed and not placed yet is forgotten, until the next count: at most one file a thread.
        """
        with self._lock:
            self.entries = extent.entries if extent.whole else self._limits.entries_max + 1
            self.bytes = extent.size_bytes

    def release(self, *, entries: int, size_bytes: int) -> None:
        """Give back what was claimed and not used, or was replaced."""
        with self._lock:
            self.entries -= entries
            self.bytes -= size_bytes


@dataclass(frozen=True, slots=True)
class HeldWorkspace:
    """Descriptors that stay valid for one operation."""

    root: int
    staging: int


class Workspace:
    """One mission's directory. Safe to use from several threads."""

    def __init__(self, path: Path, root: int, staging: int, limits: WorkspaceLimits) -> None:
        self.path = path  # for people; code goes through `hold`
        self.usage = Usage(limits)
        self.commanding = asyncio.Lock()  # held by the one command that has the workspace
        self.placing = threading.Lock()  # held while a name changes its meaning, so that `usage` stays exact
        self._held: HeldWorkspace | None = HeldWorkspace(root, staging)
        self._lock = threading.Lock()

    @contextmanager
    def hold(self) -> Iterator[HeldWorkspace]:
        """Yield descriptors of one's own.

        Raises:
            EffectError: `effect.workspace_closed`, the mission has ended.
        """
        with ExitStack() as opened:
            with self._lock:
                if self._held is None:
                    raise EffectError("the mission has ended", code="effect.workspace_closed")
                root = os.dup(self._held.root)
                opened.callback(os.close, root)
                staging = os.dup(self._held.staging)
                opened.callback(os.close, staging)
            yield HeldWorkspace(root, staging)

    def recount(self) -> None:
        """Count what is on the disk, after something else than an effect of the gateway's own may have changed it.

        Raises:
            EffectError: `effect.workspace_closed`, the mission has ended.
        """
        with self.hold() as held, self.placing:
            extent = extent_of(held.root, entries_max=self.usage.limits.entries_max, mend=True)
            self.usage.recount(extent)

    def close(self) -> None:
        """Refuse further use; the files stay. Closing twice is harmless."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            os.close(held.root)
            os.close(held.staging)


class Workspaces:
    """All workspaces of one gateway. The caller holds the lock on `home`: two gateways must not share one."""

    def __init__(self, path: Path, root: int, staging: int, limits: WorkspaceLimits) -> None:
        self._path = path
        self._root = root
        self._staging = staging
        self._limits = limits

    @classmethod
    def open(cls, home: Path, *, limits: WorkspaceLimits | None = None) -> "Workspaces":
        """Make what is missing beneath `home`, drop half-written files, and see that the kernel holds the boundary.

        Raises:
            ConfigurationError: the directory is not private (`config.workspaces`), or kernel or file system lack
                openat2 or renameat2 (`config.kernel`).
        """
        path = home / "workspaces"
        with ExitStack() as undo:
            try:
                root = _private_directory(path)
                undo.callback(os.close, root)
                staging = _private_directory(path / _STAGING)
                undo.callback(os.close, staging)
                for name in os.listdir(staging):  # noqa: PTH208 - a descriptor, not a path
                    os.unlink(name, dir_fd=staging)
            except OSError as err:
                raise ConfigurationError(f"{path}: {err.strerror}", code="config.workspaces") from err
            _probe(root, staging)
            undo.pop_all()
        return cls(path, root, staging, limits or WorkspaceLimits())

    def create(self, mission_id: str) -> Workspace:
        """Make the empty workspace of a new mission.

        Raises:
            EffectError: `effect.workspace_unavailable`, the id is unsafe or taken, or the disk refuses.
        """
        return self._take(mission_id, new=True)

    def reopen(self, mission_id: str) -> Workspace:
        """Open the workspace of a mission that goes on, made if missing; what is in it is counted.

        Raises:
            EffectError: `effect.workspace_unavailable`, the id is unsafe, or the disk refuses.
        """
        return self._take(mission_id, new=False)

    def _take(self, mission_id: str, *, new: bool) -> Workspace:
        if not _MISSION_ID.fullmatch(mission_id):
            raise EffectError("a mission id has letters, digits, - and _", code="effect.workspace_unavailable")
        with ExitStack() as undo:
            try:
                with nullcontext() if new else suppress(FileExistsError):
                    os.mkdir(mission_id, 0o700, dir_fd=self._root)
                root = open_beneath(self._root, mission_id, _DIRECTORY)
                undo.callback(os.close, root)
                staging = os.dup(self._staging)
                undo.callback(os.close, staging)
                extent = _NOTHING if new else extent_of(root, entries_max=self._limits.entries_max, mend=True)
            except OSError as err:
                message = f"the workspace of {mission_id} cannot be made: {err.strerror}"
                raise EffectError(message, code="effect.workspace_unavailable") from err
            undo.pop_all()
        workspace = Workspace(self._path / mission_id, root, staging, self._limits)
        workspace.usage.recount(extent)
        return workspace

    def names(self) -> list[str]:
        """Return the missions that have a workspace.

        Raises:
            EffectError: `effect.workspace_unavailable`, the disk refuses.
        """
        try:
            found = os.listdir(self._root)  # noqa: PTH208 - a descriptor, not a path
        except OSError as err:
            message = f"the workspaces cannot be listed: {err.strerror}"
            raise EffectError(message, code="effect.workspace_unavailable") from err
        return sorted(name for name in found if _MISSION_ID.fullmatch(name))

    def remove(self, mission_id: str) -> None:
        """Delete the workspace of a mission that nobody needs any more; one that is not there is gone already.

        Raises:
            EffectError: `effect.workspace_unavailable`, the id is unsafe, or the disk refuses.
        """
        if not _MISSION_ID.fullmatch(mission_id):
            raise EffectError("a mission id has letters, digits, - and _", code="effect.workspace_unavailable")
        try:
            root = open_beneath(self._root, mission_id, _DIRECTORY)
            try:
                remove_beneath(root)
            finally:
                os.close(root)
            os.rmdir(mission_id, dir_fd=self._root)
        except FileNotFoundError:
            return
        except OSError as err:
            message = f"the workspace of {mission_id} cannot be removed: {err.strerror}"
            raise EffectError(message, code="effect.workspace_unavailable") from err

    def close(self) -> None:
        """Close the descriptors; workspaces that were handed out keep theirs."""
        os.close(self._root)
        os.close(self._staging)


def _private_directory(path: Path) -> int:
    """Open `path`, made if missing, and refuse a directory that others may enter."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    descriptor = os.open(path, _DIRECTORY)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(descriptor)
        raise ConfigurationError(f"{path} must be ours alone (mode 0700)", code="config.workspaces")
    return descriptor


def _probe(root: int, staging: int) -> None:
    """Use both system calls once: where one is missing, the gateway must not start."""
    try:
        os.close(open_beneath(root, _STAGING, _DIRECTORY))
        os.close(os.open("probe", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=staging))
        rename_into(staging, "probe", staging, "probed", replace=False)
        os.unlink("probed", dir_fd=staging)
    except OSError as err:
        raise ConfigurationError(
            f"file effects need openat2 (Linux 5.6) and renameat2 with RENAME_NOREPLACE: {err.strerror}",
            code="config.kernel",
        ) from err
