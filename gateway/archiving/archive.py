"""The archive: copies of segments, each held to the digest in its seal before anybody relies on it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.audit.files import SystemFiles, ensure_directory, sync_directory
from engine.audit.pruning import SealedSegment
from gateway.errors import StoreError

_CHUNK: Final = 1024 * 1024
_FILES: Final = SystemFiles()


def archive_segment(segment: SealedSegment, folder: Path) -> None:
    """Copy a segment to `folder`, under its own name. It is there, whole and durable, when this returns.

    A copy that is there already is read, and is good if it is the same. Blocks on the disk.

    Raises:
        StoreError: `audit.archive_mismatch`; segment or copy has not the digest that was sealed, or they are one file.
        OSError: a disk fails.
    """
    ensure_directory(_FILES, folder)
    target = folder / segment.path.name
    if target.exists() and target.samefile(segment.path):  # it would be pruned together with its only copy
        raise StoreError(f"{folder} is where the log itself has its segments", code="audit.archive_mismatch")
    if not target.exists():
        _copy(segment, target.with_name(f"{target.name}.tmp"))
        target.with_name(f"{target.name}.tmp").replace(target)
    sync_directory(_FILES, folder)  # also where it was there: a crash may have come before this
    _require(segment, target, _digest(target))


def _copy(segment: SealedSegment, temporary: Path) -> None:
    temporary.unlink(missing_ok=True)  # half a copy, which a crash has left
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as out:
        _require(segment, segment.path, _digest(segment.path, out.write))
        out.flush()
        os.fsync(out.fileno())
        # What is read back is to come from the disk, and not from the memory in which it still is.
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _digest(path: Path, also: Callable[[bytes], object] = len) -> str:
    """Return the SHA-256 of a file, in hex; `also` is given each part of it."""
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
            also(part)
    return digest.hexdigest()


def _require(segment: SealedSegment, path: Path, digest: str) -> None:
    if digest != segment.seal.sha256:
        raise StoreError(f"{path} is not what was sealed; nothing is pruned", code="audit.archive_mismatch")
