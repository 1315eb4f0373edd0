"""A log on the disk as somebody reads it who does not write it: lines and proofs, without a key and without a lock.

Nothing is verified here: that is `engine.audit.verify`, which shares no code with this. A log that is being written to
may be read; what is there when it is opened is what is seen.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError, note_text
from engine.audit.commit import CHECKPOINT_NAME, SEGMENTS
from engine.audit.errors import AuditTamperedError
from engine.audit.merkle import HASH_BYTES, TILE_LEAVES, Frontier, leaf_hash
from engine.audit.seal import list_seals
from engine.audit.segment import LineIndex, list_segments
from engine.audit.tree import OpenRow, TreeReader, sealed_rows
from engine.audit.witnessed import WITNESSED_NAME


class StoredLog:
    """The events under the checkpoint that the folder has."""

    def __init__(self, directory: Path, note: bytes, size: int, index: LineIndex, tree: TreeReader) -> None:
        """Use `open`."""
        self._directory = directory
        self._note: Final = note
        self._index = index
        self._tree = tree
        self.size: Final = size

    @classmethod
    def open(cls, directory: Path) -> "StoredLog":
        """Read the log's end: the leaves of the segment that is not sealed are computed from its lines.

        Raises:
            AuditTamperedError: there is no checkpoint, or the files do not belong together.
            OSError: it cannot be read.
        """
        # The rows first, then the checkpoint: so it covers all that was sealed before it was read.
        rows = sealed_rows(directory, list_seals(directory))
        note = _read(directory / CHECKPOINT_NAME)
        if note is None:
            raise AuditTamperedError(f"{directory}: there is no checkpoint")
        try:
            head = Checkpoint.parse(note_text(note))
        except CheckpointError as error:
            raise AuditTamperedError(f"{directory / CHECKPOINT_NAME}: {error}") from error
        index = LineIndex()
        first = rows[-1].first + rows[-1].count if rows else 0
        for segment in list_segments(directory / SEGMENTS):
            index.mark(segment.first_seq, segment.path, 0)
        row = _open_row(TreeReader(rows, OpenRow(first)), first, head.size, index)
        return cls(directory, note, head.size, index, TreeReader(rows, row))

    @property
    def first(self) -> int:
        """Seq of the oldest event whose line is here."""
        return self._index.first

    def checkpoint(self) -> bytes:
        """Return the checkpoint, a C2SP signed note, whoever signed it."""
        return self._note

    def witnessed(self) -> bytes | None:
        """Return the newest checkpoint that enough witnesses have cosigned, or None."""
        return _read(self._directory / WITNESSED_NAME)

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield up to `count` lines, without LF, from seq `start`, that the checkpoint covers.

        Raises:
            AuditPrunedError: the first of them was pruned.
        """
        return self._index.read(start, min(max(start, 0) + count, self.size))

    def prove_inclusion(self, seq: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the RFC 6962 audit path of an event, as `AuditLog.prove_inclusion`.

        Raises:
            ValueError: the tree has no such event, or the checkpoint does not cover so many.
        """
        return self._tree.prove_inclusion(seq, self._covered_size(size))

    def prove_consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the RFC 6962 consistency proof, as `AuditLog.prove_consistency`.

        Raises:
            ValueError: `old` is greater than `new`, or the checkpoint does not cover so many.
        """
        return self._tree.prove_consistency(old, self._covered_size(new))

    def _covered_size(self, size: int | None) -> int:
        if size is not None and size > self.size:
            raise ValueError(f"the checkpoint covers {self.size} events, not {size}")
        return self.size if size is None else size


def _open_row(sealed: TreeReader, first: int, size: int, index: LineIndex) -> OpenRow:
    """Return the leaves, and the roots of tiles, that no file in tree/ has yet."""
    row = OpenRow(first)
    tiles = Frontier()  # begins with the tile that is not complete: its first leaves are those of sealed segments
    before = sealed.leaves(first - first % TILE_LEAVES, first)
    for at in range(0, len(before), HASH_BYTES):
        tiles.append(before[at : at + HASH_BYTES])
    for line in index.read(first, size):
        leaf = leaf_hash(line)
        row.append(leaf, tiles.append(leaf))
    if row.count != size - first:
        raise AuditTamperedError(f"{first + row.count} events are left of {size} that were signed")
    return row


def _read(path: Path) -> bytes | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        return file.read(NOTE_BYTES_MAX + 1)
