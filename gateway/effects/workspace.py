"""The directory that a mission may touch: one per mission, beneath the gateway's home, counted and bounded.

    <home>/workspaces/             0700
    <home>/workspaces/.staging/    half-written files, on the same file system; emptied at start
    <home>/workspaces/.blobs/      what is too large for a journal (`gateway.effects.blobs`)
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

from gateway.effects.blobs import BLOBS_FOLDER, MissionBlobs
from gateway.effects.limits import DEFAULT_LIMITS, EffectLimits, over
from gateway.effects.openat2 import open_beneath
from gateway.effects.rename import rename_into
from gateway.effects.tree import Extent, extent_of, remove_beneath
from gateway.errors import ConfigurationError, EffectError

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STAGING: Final = ".staging"
_NOTHING: Final = Extent(entries=0, directories=0, size_bytes=0, whole=True)
_MISSION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceLimits:
    """What one mission may leave on the disk. Every field is a maximum; a step may have less (`EffectLimits`)."""

    entries_max: int = 10_000  # files and directories
    directories_max: int = 1_000
    bytes_max: int = 256 * 1024 * 1024

    @classmethod
    def of(cls, limits: EffectLimits) -> "WorkspaceLimits":
        """Return them as policy's data has them."""
        return cls(
            entries_max=limits.workspace_entries_max,
            directories_max=limits.workspace_directories_max,
            bytes_max=limits.workspace_bytes_max,
        )


class Usage:
    """What a workspace holds, counted as it is written; a claim is made before the disk is touched."""

    def __init__(self, limits: WorkspaceLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self.entries = 0
        self.directories = 0  # of the entries
        self.bytes = 0

    def claim(
        self, *, entries: int, size_bytes: int, directories: int = 0, limits: EffectLimits = DEFAULT_LIMITS
    ) -> None:
        """Count all of it, or refuse all of it; `limits` are those of the step, which narrow the mission's.

        Raises:
            EffectError: `effect.workspace_full`; the message names the limit.
        """
        own = self._limits
        entries_max = min(own.entries_max, limits.workspace_entries_max)
        directories_max = min(own.directories_max, limits.workspace_directories_max)
        bytes_max = min(own.bytes_max, limits.workspace_bytes_max)
        with self._lock:
            if self.entries + entries > entries_max:
                raise over("workspace_entries_max", entries_max, "files and directories of a workspace")
            if self.directories + directories > directories_max:
                raise over("workspace_directories_max", directories_max, "directories of a workspace")
            if self.bytes + size_bytes > bytes_max:
                raise over("workspace_bytes_max", bytes_max, "bytes of a workspace")
            self.entries += entries
            self.directories += directories
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
        own = self._limits
        return self.bytes > own.bytes_max or self.entries > own.entries_max or self.directories > own.directories_max

    def recount(self, extent: Extent) -> None:
        """Take what was found on the disk; a tree that could not be seen in whole counts as more than there may be.

        What a write has claimed and not placed yet is forgotten, until the next count: at most one file a thread.
        """
        with self._lock:
            self.entries = extent.entries if extent.whole else self._limits.entries_max + 1
            self.directories = extent.directories
            self.bytes = extent.size_bytes

    def release(self, *, entries: int, size_bytes: int, directories: int = 0) -> None:
        """Give back what was claimed and not used, or was replaced."""
        with self._lock:
            self.entries -= entries
            self.directories -= directories
            self.bytes -= size_bytes


@dataclass(frozen=True, slots=True)
class HeldWorkspace:
    """Descriptors that stay valid for one operation."""

    root: int
    staging: int


class Workspace:
    """One mission's directory. Safe to use from several threads."""

    def __init__(self, path: Path, root: int, staging: int, limits: WorkspaceLimits, blobs: MissionBlobs) -> None:
        self.path = path  # for people; code goes through `hold`
        self.blobs = blobs
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

    @property
    def held_bytes(self) -> int:
        """What its files and the mission's blobs hold, as far as is counted."""
        return self.usage.bytes + self.blobs.held_bytes

    def close(self) -> None:
        """Refuse further use; the files stay. Closing twice is harmless."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            os.close(held.root)
            os.close(held.staging)


class Workspaces:
    """All workspaces of one gateway. The caller holds the lock on `home`: two gateways must not share one."""

    def __init__(self, path: Path, root: int, staging: int, blobs: int, limits: WorkspaceLimits) -> None:
        self._path = path
        self._root = root
        self._staging = staging
        self._blobs = blobs
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
                blobs = _private_directory(path / BLOBS_FOLDER)
                undo.callback(os.close, blobs)
                for name in os.listdir(staging):  # noqa: PTH208 - a descriptor, not a path
                    os.unlink(name, dir_fd=staging)
            except OSError as err:
                raise ConfigurationError(f"{path}: {err.strerror}", code="config.workspaces") from err
            _probe(root, staging)
            undo.pop_all()
        return cls(path, root, staging, blobs, limits or WorkspaceLimits())

    def adopt(self, limits: WorkspaceLimits) -> None:
        """From now on give workspaces these limits; one that is open keeps its own."""
        self._limits = limits

    def create(self, mission_id: str, key: bytes) -> Workspace:
        """Make the empty workspace of a new mission, under whose key its blobs are sealed.

        Raises:
            EffectError: `effect.workspace_unavailable`, the id is unsafe or taken, or the disk refuses.
        """
        return self._take(mission_id, key, new=True)

    def reopen(self, mission_id: str, key: bytes) -> Workspace:
        """Open the workspace of a mission that goes on, made if missing; what is in it is counted.

        Raises:
            EffectError: `effect.workspace_unavailable`, the id is unsafe, or the disk refuses.
        """
        return self._take(mission_id, key, new=False)

    def _take(self, mission_id: str, key: bytes, *, new: bool) -> Workspace:
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
        blobs = MissionBlobs(self._blobs, self._staging, mission_id, key)
        if not new:
            blobs.count()
        workspace = Workspace(self._path / mission_id, root, staging, self._limits, blobs)
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
        """Delete workspace and blobs of a mission that nobody needs any more; what is not there is gone already.

        The workspace goes last: it is what a later look for leftovers finds.

        Raises:
            EffectError: `effect.workspace_unavailable`, the id is unsafe, or the disk refuses.
        """
        if not _MISSION_ID.fullmatch(mission_id):
            raise EffectError("a mission id has letters, digits, - and _", code="effect.workspace_unavailable")
        try:
            for folder in (self._blobs, self._root):
                with suppress(FileNotFoundError):
                    _remove(folder, mission_id)
        except OSError as err:
            message = f"the workspace of {mission_id} cannot be removed: {err.strerror}"
            raise EffectError(message, code="effect.workspace_unavailable") from err

    def close(self) -> None:
        """Close the descriptors; workspaces that were handed out keep theirs."""
        os.close(self._root)
        os.close(self._staging)
        os.close(self._blobs)


def _remove(folder: int, name: str) -> None:
    root = open_beneath(folder, name, _DIRECTORY)
    try:
        remove_beneath(root)
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=folder)


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
