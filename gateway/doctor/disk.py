"""The disk below a home: room for what is to be recorded, and a sync that really waits for it."""

import os
from pathlib import Path
from typing import Final

from engine.audit.files import Files, persist
from engine.audit.reserve import RESERVE_BYTES
from gateway.config import Config
from gateway.doctor.check import Check, failed, ok, warn

_MIB: Final = 1024 * 1024
_PROBE: Final = ".doctor"
_ROOMY: Final = 10  # times the least that there must be, below which somebody should look
# Where a sync returns before the bytes are anywhere that survives, or where SQLite's and the log's locks do not hold.
_VOLATILE: Final = frozenset({"tmpfs", "ramfs", "overlay"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"})


def room(home: Path, config: Config, files: Files) -> Check:
    """Whether there is room to work, beside what the log keeps for its last event."""
    code, least = "disk.room", config.operation.disk_free_mib_min * _MIB
    try:
        free = files.free_bytes(home)
    except OSError as error:
        return failed(code, f"{home}: {error.strerror}", "make the disk of the home available")
    message = f"{free // _MIB:,} MiB are free below {home}"
    if free < least + RESERVE_BYTES:
        advice = f"make room, or lower operation.disk_free_mib_min ({config.operation.disk_free_mib_min})"
        return failed(code, message, advice)
    if free < least * _ROOMY:
        return warn(code, message, "make room before the log needs it: a full disk stops the gateway")
    return ok(code, message)


def syncs(home: Path, files: Files) -> Check:
    """Whether a file can be written, synced, renamed and removed: what every acknowledgement rests on."""
    code = "disk.sync"
    try:
        directory = files.open_directory(home)
        try:
            persist(files, home, directory, _PROBE, b"doctor\n")
            read = (home / _PROBE).read_bytes()
            files.unlink(home / _PROBE)
            files.fsync(directory)
        finally:
            files.close(directory)
    except OSError as error:
        advice = "the log stops at such an error: look at the disk, and at who owns the home"
        return failed(code, f"{home}: a file cannot be made durable: {error.strerror}", advice)
    if read != b"doctor\n":
        return failed(code, f"{home}: what was written is not what is read", "replace the disk")
    return ok(code, "a file can be written, synced and renamed")


def kind(home: Path, mounts: str) -> Check:
    """What file system it is; `mounts` is the text of /proc/self/mounts."""
    code, found = "disk.filesystem", file_system(home.resolve(), mounts)
    if found in _VOLATILE:
        advice = "put the home on a disk: what is acknowledged has to survive the machine" + (
            " (in a container, on a volume)" if found == "overlay" else ""
        )
        return warn(code, f"{home} is on {found}", advice)
    if found in _REMOTE:
        return warn(code, f"{home} is on {found}", "locks and syncs over a network are not those of a disk: use one")
    return ok(code, f"{home} is on {found or 'a file system without a name'}")


def file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system that a path is on, "" where that is not known. Source: proc_pid_mounts(5)."""
    best, kind_of = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004 - device, place, type
            continue
        place = os.fsdecode(fields[1].encode("latin-1", "replace").decode("unicode_escape").encode("latin-1"))
        if path.is_relative_to(place) and len(place) >= len(best):
            best, kind_of = place, fields[2]
    return kind_of
