"""Retention: which segments may go, and what the log says of one that goes."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine.audit.commit import SEGMENTS
from engine.audit.errors import AuditEventRefusedError, AuditTamperedError
from engine.audit.record import RecordError, unseal
from engine.audit.seal import Seal, last_line_of, list_seals, read_seal
from engine.audit.segment import list_segments, segment_name
from engine.audit.tree import TREE, leaves_name
from engine.values import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSegment:
    """A sealed segment whose file is here."""

    path: Path
    seal: Seal
    ended: datetime  # the time of its last event


def prunable(directory: Path) -> list[SealedSegment]:
    """Return the sealed segments that are here, oldest first, without the newest: a start goes on from its end.

    Raises:
        AuditTamperedError: a seal, or the end of a segment, is not what it was.
        OSError: one cannot be read.
    """
    there = {segment.first_seq for segment in list_segments(directory / SEGMENTS)}
    found = []
    for first in list_seals(directory)[:-1]:
        if first in there:
            path, seal = directory / SEGMENTS / segment_name(first), read_seal(directory, first)
            found.append(SealedSegment(path=path, seal=seal, ended=_ended(path, seal)))
    return found


def _ended(path: Path, seal: Seal) -> datetime:
    try:
        return unseal(last_line_of(path, seal.size_bytes)).timestamp
    except RecordError as error:
        raise AuditTamperedError(f"{path}: the last line: {error}") from error


def oldest(directory: Path, first: int) -> SealedSegment:
    """Return the segment that begins at `first`, which has to be the oldest that may go.

    Raises:
        AuditEventRefusedError: `audit.not_prunable`.
    """
    candidates = prunable(directory)
    if not candidates or candidates[0].seal.first != first:
        raise AuditEventRefusedError(
            f"the segment of event {first} is not the oldest that may go", code="audit.not_prunable"
        )
    return candidates[0]


def pruned_details(directory: Path, segment: SealedSegment, *, archived: bool, reason: str) -> JsonObject:
    """Return what `audit.pruned` says: enough to tell, for ever, that these events are missing by right."""
    leaves = (directory / TREE / leaves_name(segment.seal.first)).read_bytes()
    return {
        "first": segment.seal.first,
        "size": segment.seal.size,
        "sha256": segment.seal.sha256,
        "leaves_sha256": hashlib.sha256(leaves).hexdigest(),
        "archived": archived,
        "reason": reason,
    }
