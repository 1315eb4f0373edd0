"""Opening: check the lines since the last seal against the signed checkpoint; set aside what a crash left behind it.

A crash leaves at most one batch after the last checkpoint, none of it acknowledged. So that tail may go, to
`quarantine/`, never to nowhere; anything else that does not fit is tampering, and the log is not opened.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.chain import Chain, ChainError
from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError
from engine.audit.commit import BATCH_EVENTS_MAX, CHECKPOINT_NAME, SEGMENTS, LogEnd
from engine.audit.errors import AuditTamperedError
from engine.audit.files import Files, ensure_directory, persist
from engine.audit.merkle import leaf_hash
from engine.audit.record import LINE_BYTES_MAX, Record, RecordError, unseal
from engine.audit.seal import list_seals, sealed_end
from engine.audit.segment import LineIndex, Segment, lines_from, list_segments, segment_name
from engine.audit.tree import OpenRow, sealed_rows
from engine.values import JsonObject, JsonValue

QUARANTINE: Final = "quarantine"
_TAIL_BYTES_MAX: Final = BATCH_EVENTS_MAX * (LINE_BYTES_MAX + 1)

Opens = Callable[[bytes], Checkpoint]  # of a note that the log has signed; CheckpointError for any other


@dataclass(slots=True, kw_only=True)
class Scan:
    """The covered part of a log, and what follows it."""

    chain: Chain
    end: LogEnd
    tail: bytes = b""  # of the last segment, after the covered bytes


def read_checkpoint(directory: Path, opens: Opens) -> tuple[Checkpoint, bytes] | None:
    """Return the checkpoint and its note, or None for a log that has never been signed.

    A new log signs the empty tree before its first segment exists, so lines without a checkpoint are never honest.

    Raises:
        AuditTamperedError: there are lines but no checkpoint, or it is malformed or not this key's.
    """
    path = directory / CHECKPOINT_NAME
    if not path.exists():
        written = any(s.path.stat().st_size for s in list_segments(directory / SEGMENTS))
        if written or list_seals(directory) or _quarantined(directory, 0):
            raise AuditTamperedError(f"{directory}: there are events, but no checkpoint")
        return None
    with path.open("rb") as file:
        note = file.read(NOTE_BYTES_MAX + 1)
    try:
        return opens(note), note
    except CheckpointError as error:
        raise AuditTamperedError(f"{path}: {error}") from error


def scan(directory: Path, checkpoint: Checkpoint, chain: Chain, opens: Opens) -> Scan:
    """Read the covered lines since the last seal and compare them with the checkpoint.

    Raises:
        AuditTamperedError: a line is wrong or missing, the root differs, more follows than one crash can leave, or
            seals, hashes and segments are not of one log.
    """
    found = _from_last_seal(directory, checkpoint, chain, opens)
    for segment in list_segments(directory / SEGMENTS):
        if segment.first_seq < found.end.row.first:
            continue
        if found.tail or segment.first_seq != chain.next_seq or segment.first_seq != found.end.row.first:
            raise AuditTamperedError(f"{segment.path} does not follow the segment before")
        _scan_segment(found, segment, checkpoint.size)
    if chain.next_seq < checkpoint.size:
        raise AuditTamperedError(f"{chain.next_seq} events are left of {checkpoint.size} that were signed")
    if found.end.tree.root() != checkpoint.root:
        raise AuditTamperedError(f"the root hash of {checkpoint.size} events is not the signed one")
    if len(found.tail) > _TAIL_BYTES_MAX or found.tail.removesuffix(b"\n").count(b"\n") >= BATCH_EVENTS_MAX:
        raise AuditTamperedError("more follows the checkpoint than a crash can leave: the checkpoint is an old one")
    return found


def _from_last_seal(directory: Path, checkpoint: Checkpoint, chain: Chain, opens: Opens) -> Scan:
    """Return a scan that has all that is sealed, and none of the lines after that."""
    folder = directory / SEGMENTS
    seals = list_seals(directory)
    if not seals:
        return Scan(chain=chain, end=LogEnd(segment=folder / segment_name(0)))
    rows = tuple(sealed_rows(directory, seals))
    last = sealed_end(directory, seals[-1], opens)
    size = last.seal.size
    if rows[-1].first + rows[-1].count != size or size > checkpoint.size:
        raise AuditTamperedError(f"{directory}: {size} events were sealed, which the checkpoint does not cover")
    chain.resume(last.last)
    end = LogEnd(
        tree=last.tree,
        sealed=rows,
        row=OpenRow(size),
        segment=folder / segment_name(size),
        last_line=last.line,
    )
    _mark_sealed(end.index, folder, seals)
    return Scan(chain=chain, end=end)


def _mark_sealed(index: LineIndex, folder: Path, seals: list[int]) -> None:
    """Say where the lines of sealed segments are; those that are missing have to be the oldest."""
    there = {segment.first_seq for segment in list_segments(folder)}
    pruned = next((at for at, first in enumerate(seals) if first in there), len(seals))
    for first in seals[pruned:]:
        if first not in there:
            raise AuditTamperedError(f"{folder / segment_name(first)} is missing between others")
        index.mark(first, folder / segment_name(first), 0)


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
        persist(files, quarantine, fd, f"{found.end.tree.size:020d}-{digest}.tail", found.tail)
    finally:
        files.close(fd)
    fd = files.open_append(found.end.segment)
    try:
        files.truncate(fd, found.end.content.size_bytes)
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
        found.end.index.mark(found.chain.next_seq, segment.path, found.end.content.size_bytes)
        try:
            record = _whole(raw)
            found.chain.accept(record)
        except (RecordError, ChainError) as error:
            seq = found.chain.next_seq
            raise AuditTamperedError(f"{segment.path}, line {number}, event {seq}: {error}") from error
        found.end.began = found.end.began or record.timestamp
        found.end.last_line = raw[:-1]
        leaf = leaf_hash(found.end.last_line)
        found.end.row.append(leaf, found.end.tree.append(leaf))
        found.end.content.take(raw)
    found.tail = b"".join(tail)


def _whole(raw: bytes) -> Record:
    if not raw.endswith(b"\n"):
        raise RecordError("the line is torn")
    return unseal(raw[:-1])


def _quarantined(directory: Path, size: int) -> list[Path]:
    return sorted((directory / QUARANTINE).glob(f"{size:020d}-*.tail"))
