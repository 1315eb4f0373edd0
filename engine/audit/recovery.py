"""Opening: check every covered line against the signed checkpoint, and set aside what a crash left behind it.

A crash leaves at most one batch after the last checkpoint, none of it acknowledged. So that tail may go, to
`quarantine/`, never to nowhere; anything else that does not fit is tampering, and the log is not opened.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.audit.chain import Chain, ChainError
from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError, open_checkpoint
from engine.audit.commit import BATCH_EVENTS_MAX, CHECKPOINT_NAME
from engine.audit.errors import AuditTamperedError
from engine.audit.files import Files, ensure_directory, persist
from engine.audit.keys import VerifierKey
from engine.audit.merkle import Frontier, leaf_hash
from engine.audit.record import LINE_BYTES_MAX, Record, RecordError, unseal
from engine.audit.segment import LineIndex, Segment, lines_from, list_segments, segment_name
from engine.values import JsonObject, JsonValue

SEGMENTS: Final = "segments"
QUARANTINE: Final = "quarantine"
_TAIL_BYTES_MAX: Final = BATCH_EVENTS_MAX * (LINE_BYTES_MAX + 1)


@dataclass(slots=True, kw_only=True)
class Scan:
    """The covered part of a log: the ends of its chain and tree, where its lines are, and what follows them."""

    chain: Chain
    tree: Frontier = field(default_factory=Frontier)
    index: LineIndex = field(default_factory=LineIndex)
    segment: Path  # the file that the next line goes to; it may not exist yet
    covered_bytes: int = 0  # of `segment`
    tail: bytes = b""  # of `segment`, after the covered bytes


def read_checkpoint(directory: Path, key: VerifierKey) -> tuple[Checkpoint, bytes] | None:
    """Return the checkpoint and its note, or None for a log that has never been signed.

    A new log signs the empty tree before its first segment exists, so lines without a checkpoint are never honest.

    Raises:
        AuditTamperedError: there are lines but no checkpoint, or it is malformed or not this key's.
    """
    path = directory / CHECKPOINT_NAME
    if not path.exists():
        if any(s.path.stat().st_size for s in list_segments(directory / SEGMENTS)) or _quarantined(directory, 0):
            raise AuditTamperedError(f"{directory}: there are events, but no checkpoint")
        return None
    with path.open("rb") as file:
        note = file.read(NOTE_BYTES_MAX + 1)
    try:
        return open_checkpoint(note, key), note
    except CheckpointError as error:
        raise AuditTamperedError(f"{path}: {error}") from error


def scan(directory: Path, checkpoint: Checkpoint, chain: Chain) -> Scan:
    """Read the covered lines and compare them with the checkpoint.

    Raises:
        AuditTamperedError: a line is wrong or missing, the root differs, or more follows than one crash can leave.
    """
    folder = directory / SEGMENTS
    segments = list_segments(folder)
    found = Scan(chain=chain, segment=folder / segment_name(0))
    for segment in segments:
        if found.tail or segment.first_seq != chain.next_seq:
            raise AuditTamperedError(f"{segment.path} does not follow the segment before")
        found.segment, found.covered_bytes = segment.path, 0
        _scan_segment(found, segment, checkpoint.size)
    if chain.next_seq < checkpoint.size:
        raise AuditTamperedError(f"{chain.next_seq} events are left of {checkpoint.size} that were signed")
    if found.tree.root() != checkpoint.root:
        raise AuditTamperedError(f"the root hash of {checkpoint.size} events is not the signed one")
    if len(found.tail) > _TAIL_BYTES_MAX or found.tail.removesuffix(b"\n").count(b"\n") >= BATCH_EVENTS_MAX:
        raise AuditTamperedError("more follows the checkpoint than a crash can leave: the checkpoint is an old one")
    return found


def set_aside(directory: Path, found: Scan, files: Files) -> None:
    """Copy the tail to the quarantine, durably, then cut it off.

    The file's name begins with the size of the log, and stays until the event that tells of it is signed, under a
    larger size: a crash in between loses neither the bytes nor the telling.
    """
    if not found.tail:
        return
    quarantine = directory / QUARANTINE
    ensure_directory(files, quarantine)
    digest = hashlib.sha256(found.tail).hexdigest()
    fd = files.open_directory(quarantine)
    try:
        persist(files, quarantine, fd, f"{found.tree.size:020d}-{digest}.tail", found.tail)
    finally:
        files.close(fd)
    fd = files.open_append(found.segment)
    try:
        files.truncate(fd, found.covered_bytes)
        files.fdatasync(fd)
    finally:
        files.close(fd)


def recovery_details(directory: Path, size: int) -> JsonObject | None:
    """Return what `audit.recovered` says of the tails set aside at `size`, or None where there is none to tell of."""
    dropped: list[JsonValue] = []
    for path in _quarantined(directory, size):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        dropped.append({"file": f"{QUARANTINE}/{path.name}", "bytes": len(content), "sha256": digest})
    return {"checkpoint_size": size, "dropped": dropped} if dropped else None


def _scan_segment(found: Scan, segment: Segment, size: int) -> None:
    """Take over the covered lines of one segment; the rest of it is the tail."""
    tail = []
    tail_bytes = 0
    for number, raw in enumerate(lines_from(segment.path, 0), start=1):
        if found.chain.next_seq >= size:
            tail.append(raw)
            tail_bytes += len(raw)
            if tail_bytes > _TAIL_BYTES_MAX:
                break
            continue
        found.index.mark(found.chain.next_seq, segment.path, found.covered_bytes)
        try:
            found.chain.accept(_whole(raw))
        except (RecordError, ChainError) as error:
            seq = found.chain.next_seq
            raise AuditTamperedError(f"{segment.path}, line {number}, event {seq}: {error}") from error
        found.tree.append(leaf_hash(raw[:-1]))
        found.covered_bytes += len(raw)
    found.tail = b"".join(tail)


def _whole(raw: bytes) -> Record:
    if not raw.endswith(b"\n"):
        raise RecordError("the line is torn")
    return unseal(raw[:-1])


def _quarantined(directory: Path, size: int) -> list[Path]:
    return sorted((directory / QUARANTINE).glob(f"{size:020d}-*.tail"))
