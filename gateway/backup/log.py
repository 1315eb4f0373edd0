"""Copies the log of a gateway that writes to it: what one signed checkpoint covers, and not a byte more.

The cursors come first: what they say was delivered is then covered. The checkpoint comes next, and decides what belongs
to the copy; everything that it covers is durable, and never changes. A segment that is pruned meanwhile begins the copy
anew: the event that tells of it has to be in it.
"""

import os
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError, note_text
from engine.audit.commit import CHECKPOINT_NAME, SEGMENTS
from engine.audit.key_ring import ROTATIONS
from engine.audit.merkle import HASH_BYTES
from engine.audit.recovery import QUARANTINE
from engine.audit.seal import SEALS, list_seals, seal_name
from engine.audit.segment import Segment, lines_from, list_segments
from engine.audit.tree import TREE, leaves_name, roots_name
from engine.audit.witnessed import WITNESSED_NAME
from gateway.backup.copying import Target
from gateway.backup.manifest import LogState
from gateway.errors import BackupError
from gateway.exporting.cursors import FOLDER as CURSORS
from gateway.folders import AUDIT_FOLDER

ATTEMPTS: Final = 3


def copy_log(home: Path, target: Target, key: str) -> LogState:
    """Copy the log of a home; `key` is the verifier key that goes into the manifest.

    Raises:
        BackupError: `backup.no_log`; `backup.changed`, it was pruned again and again.
        OSError: a disk fails.
    """
    before = len(target.entries)
    for _ in range(ATTEMPTS):
        try:
            return _copy(home / AUDIT_FOLDER, target, key)
        except FileNotFoundError:  # pruned between two looks
            del target.entries[before:]
            shutil.rmtree(target.folder / AUDIT_FOLDER, ignore_errors=True)
    raise BackupError("the log was pruned while it was copied; try again", code="backup.changed")


def _copy(log: Path, target: Target, key: str) -> LogState:
    _folder(log, CURSORS, target, "*.cursor")
    note = _checkpoint(log)
    head = Checkpoint.parse(note_text(note))
    size = head.size
    segments = [segment for segment in list_segments(log / SEGMENTS) if segment.first_seq < size]
    for first in list_seals(log):
        if _end(log, first) <= size:  # one that is newer than the checkpoint is not of this copy
            target.take_file(_name(SEALS, seal_name(first)), log / SEALS / seal_name(first))
            target.take_file(_name(TREE, leaves_name(first)), log / TREE / leaves_name(first))
            target.take_file(_name(TREE, roots_name(first)), log / TREE / roots_name(first))
    for segment in segments:
        _segment(segment, size, target)
    _numbered(log, ROTATIONS, target, size)
    _numbered(log, QUARANTINE, target, size + 1)
    if (witnessed := _read(log / WITNESSED_NAME)) is not None and _size_of(witnessed) <= size:
        target.take_bytes(_name(WITNESSED_NAME), witnessed)
    target.take_bytes(_name(CHECKPOINT_NAME), note)
    return LogState(origin=head.origin, size=size, root=b64encode(head.root).decode(), key=key)


def _checkpoint(log: Path) -> bytes:
    note = _read(log / CHECKPOINT_NAME)
    if note is None:
        raise BackupError(f"{log}: there is no log yet", code="backup.no_log")
    return note


def _segment(segment: Segment, size: int, target: Target) -> None:
    """Copy the lines of a segment that are covered: all but those of the last one are."""
    seq, length = segment.first_seq, 0
    for line in lines_from(segment.path, 0):
        if seq >= size:
            break
        seq, length = seq + 1, length + len(line)
    source = os.open(segment.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        target.take(_name(SEGMENTS, segment.path.name), source, bytes_max=length)
    finally:
        os.close(source)


def _end(log: Path, first: int) -> int:
    """Return the seq after the last event of a closed segment."""
    return first + (log / TREE / leaves_name(first)).stat().st_size // HASH_BYTES


def _numbered(log: Path, folder: str, target: Target, below: int) -> None:
    """Copy the files of a folder whose names begin with a number below that."""
    for path in sorted((log / folder).glob("[0-9]*")) if (log / folder).is_dir() else ():
        if path.suffix != ".tmp" and int(path.name[:20]) < below:
            target.take_file(_name(folder, path.name), path)


def _folder(log: Path, folder: str, target: Target, pattern: str) -> None:
    for path in sorted((log / folder).glob(pattern)) if (log / folder).is_dir() else ():
        target.take_file(_name(folder, path.name), path)


def _size_of(note: bytes) -> int:
    try:
        return Checkpoint.parse(note_text(note)).size
    except CheckpointError as error:
        raise BackupError(f"{WITNESSED_NAME}: {error}", code="backup.log_damaged") from error


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(NOTE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None


def _name(*parts: str) -> bytes:
    return "/".join((AUDIT_FOLDER, *parts)).encode()
