"""One batch of lines becomes durable and signed; the order of these steps is what an acknowledgement rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from engine.audit.errors import AuditUnavailableError
from engine.audit.files import Files, ensure_directory, persist, sync_directory
from engine.audit.keys import Signer, VerifierKey
from engine.audit.merkle import HASH_BYTES, Frontier, leaf_hash
from engine.audit.record import unseal
from engine.audit.reserve import Reserve
from engine.audit.seal import SEALS, Seal, seal_name
from engine.audit.segment import LineIndex, SegmentContent, SegmentWriter, segment_name
from engine.audit.tree import TREE, OpenRow, SealedRow, TreeReader, leaves_name, roots_name

CHECKPOINT_NAME: Final = "checkpoint"
SEGMENTS: Final = "segments"
# A batch is the most that a crash can leave after a checkpoint; readers rely on it (audit-format.md, section 7).
BATCH_EVENTS_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class Covered:
    """What is durable and signed: `note` covers the first `size` events."""

    size: int
    note: bytes


@dataclass(slots=True, kw_only=True)
class LogEnd:
    """Where a log goes on: what was read of it, and checked."""

    tree: Frontier = field(default_factory=Frontier)
    index: LineIndex = field(default_factory=LineIndex)
    sealed: tuple[SealedRow, ...] = ()
    row: OpenRow = field(default_factory=lambda: OpenRow(0))
    segment: Path  # the file that the next line goes to; it may not exist yet
    content: SegmentContent = field(default_factory=SegmentContent)  # the covered bytes of `segment`
    began: datetime | None = None  # the time of the first event of `segment`
    last_line: bytes = b""  # of the log, without LF


class Committer:
    """Owns the files of an open log. Used by one thread at a time; after an exception it must not be used again."""

    def __init__(self, directory: Path, *, files: Files, signer: Signer, end: LogEnd) -> None:
        """Take over `directory`, whose first `end.tree.size` lines were checked; `attach` opens the segment."""
        self._directory = directory
        self._directory_fd = files.open_directory(directory)
        self._files = files
        self._signer = signer
        self._key = VerifierKey.parse(signer.verifier_key())
        self._tree = end.tree
        self._index = end.index
        self._row = end.row
        self._began = end.began
        self.last_line = end.last_line
        self._segment: SegmentWriter | None = None
        self._proven = False
        self.reader = TreeReader(end.sealed, end.row)
        self.reserve = Reserve(files, directory)

    def attach(self, path: Path, content: SegmentContent) -> None:
        """Write to the segment `path` from now on; its name is durable before anything in it can matter."""
        ensure_directory(self._files, path.parent)
        segment = SegmentWriter(self._files, path, self._row.first, content)
        try:
            sync_directory(self._files, path.parent)
        except OSError:
            segment.close()
            raise
        self._segment = segment
        self._index.mark(self._row.first, path, 0)

    def commit(self, lines: Sequence[bytes]) -> Covered:
        """Make `lines` durable, then sign a checkpoint over them, then make that durable.

        Raises:
            Exception: whatever the disk or the signer raised. Nothing of the batch may then be acknowledged.
        """
        segment = self._segment
        if segment is None or len(lines) > BATCH_EVENTS_MAX:
            raise RuntimeError("no open segment, or a batch over its maximum")
        self._index.mark(self._tree.size, segment.path, segment.size_bytes)
        segment.append(b"\n".join(lines) + b"\n")  # (1) write, (2) fdatasync
        for line in lines:  # (3) only what is durable enters the tree
            leaf = leaf_hash(line)
            self._row.append(leaf, self._tree.append(leaf))
        self.last_line = lines[-1]
        if self._began is None:
            self._began = unseal(lines[0]).timestamp
        return self.sign()

    def sign(self) -> Covered:
        """Sign the tree as it is and persist the checkpoint."""
        head = Checkpoint(origin=self._key.name, size=self._tree.size, root=self._tree.root())
        try:
            note = sign_checkpoint(head, self._signer, self._key)  # (4)
            if not self._proven:  # once an opening: a signer that does not match its public half must not go on
                open_checkpoint(note, self._key)
                self._proven = True
        except Exception as error:
            raise AuditUnavailableError("the signer of the audit log fails") from error
        persist(self._files, self._directory, self._directory_fd, CHECKPOINT_NAME, note)  # (5)
        return Covered(head.size, note)

    def is_due(self, now: datetime, *, bytes_max: int, seconds_max: float) -> bool:
        """Return whether the open segment has as much, or is as old, as a segment may."""
        if self._segment is None or self._began is None:
            return False
        return self._segment.size_bytes >= bytes_max or (now - self._began).total_seconds() >= seconds_max

    def rotate(self, covered: Covered) -> None:
        """Close the segment, whose end `covered` signs, seal it, and begin the next.

        Raises:
            OSError: what the disk raised. Opening the log again finishes what was begun.
        """
        segment = self._segment
        if segment is None or covered.size != self._tree.size or not self._row.count:
            raise RuntimeError("only a segment that a checkpoint ends can be sealed")
        segment.close()
        self._segment = None
        seal_segment(self._directory, self._files, self._seal(segment, covered), self._row)
        sealed = SealedRow(self._row.first, self._row.count, self._directory / TREE)
        self._row = OpenRow(covered.size)
        self._began = None
        self.reader.rotate(sealed, self._row)
        self.attach(self._directory / SEGMENTS / segment_name(covered.size), SegmentContent())

    def _seal(self, segment: SegmentWriter, covered: Covered) -> Seal:
        return Seal(
            first=segment.first,
            size=covered.size,
            size_bytes=segment.size_bytes,
            sha256=segment.sha256,
            frontier=self._tree.hashes,
            path=self.reader.prove_inclusion(covered.size - 1, covered.size),
            note=covered.note,
        )

    def close(self) -> None:
        """Close the files."""
        if self._segment is not None:
            self._segment.close()
        self._files.close(self._directory_fd)


def seal_segment(directory: Path, files: Files, seal: Seal, row: OpenRow) -> None:
    """Write what stays of a closed segment: its leaves, the roots of its tiles, and then the seal, which needs both."""
    _put(files, directory / TREE, leaves_name(seal.first), bytes(row.leaf_bytes[: row.count * HASH_BYTES]))
    _put(files, directory / TREE, roots_name(seal.first), bytes(row.root_bytes))
    _put(files, directory / SEALS, seal_name(seal.first), seal.text())


def _put(files: Files, folder: Path, name: str, content: bytes) -> None:
    ensure_directory(files, folder)
    fd = files.open_directory(folder)
    try:
        persist(files, folder, fd, name, content)
    finally:
        files.close(fd)
