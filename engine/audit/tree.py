"""The leaves of the tree, so that any of it can be proved: on the disk for sealed segments, in memory for the open one.

    tree/<first seq>.leaves   leaf hashes of one segment, 32 bytes each
    tree/<first seq>.roots    roots of the tiles of 256 leaves that this segment completes, 32 bytes each

Tile k is leaves 256 k to 256 k + 255 of the whole log, whichever segments they are in. A proof of a log of 100 million
events reads some 20 tiles and the roots beside them; no line is read, so it can be had of what was archived, too.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from engine.audit.errors import AuditTamperedError
from engine.audit.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_LEAVES,
    chain_right,
    consistency_path,
    fold,
    inclusion_path,
    perfect_subtrees,
)

TREE: Final = "tree"


def leaves_name(first: int) -> str:
    """Return the file name of the leaf hashes of the segment that begins at `first`."""
    return f"{first:020d}.leaves"


def roots_name(first: int) -> str:
    """Return the file name of the tile roots of the segment that begins at `first`."""
    return f"{first:020d}.roots"


@dataclass(frozen=True, slots=True)
class SealedRow:
    """The hashes of a sealed segment, which stay on the disk."""

    first: int
    count: int
    folder: Path

    def leaves(self, start: int, stop: int) -> bytes:
        """Return the leaf hashes from `start` to `stop` - 1, seqs of this segment."""
        return _slice(self.folder / leaves_name(self.first), start - self.first, stop - self.first)

    def roots(self, start: int, stop: int) -> bytes:
        """Return the roots of tiles `start` to `stop` - 1, which this segment completes."""
        before = self.first >> TILE_HEIGHT
        return _slice(self.folder / roots_name(self.first), start - before, stop - before)


@dataclass(slots=True)
class OpenRow:
    """The hashes of the open segment. One thread appends, any thread reads what was there when it began."""

    first: int
    leaf_bytes: bytearray = field(default_factory=bytearray)
    root_bytes: bytearray = field(default_factory=bytearray)

    def append(self, leaf: bytes, tile: bytes | None) -> None:
        """Take a leaf, and the root of the tile that it completes."""
        self.leaf_bytes += leaf
        if tile is not None:
            self.root_bytes += tile

    @property
    def count(self) -> int:
        """Number of leaves."""
        return len(self.leaf_bytes) // HASH_BYTES

    def leaves(self, start: int, stop: int) -> bytes:
        """Return leaf hashes, as `SealedRow.leaves`."""
        return bytes(self.leaf_bytes[(start - self.first) * HASH_BYTES : (stop - self.first) * HASH_BYTES])

    def roots(self, start: int, stop: int) -> bytes:
        """Return tile roots, as `SealedRow.roots`."""
        before = self.first >> TILE_HEIGHT
        return bytes(self.root_bytes[(start - before) * HASH_BYTES : (stop - before) * HASH_BYTES])


Row = SealedRow | OpenRow


class TreeReader:
    """Proofs over all leaves. Reads at its own pace on any thread while the writer goes on."""

    __slots__ = ("_rows",)

    def __init__(self, sealed: Sequence[SealedRow], open_row: OpenRow) -> None:
        self._rows: tuple[Row, ...] = (*sealed, open_row)  # replaced whole: a reader keeps what it began with

    def rotate(self, sealed: SealedRow, open_row: OpenRow) -> None:
        """Put the row of a sealed segment in place of the open one, and begin the next."""
        self._rows = (*self._rows[:-1], sealed, open_row)

    def root(self, size: int) -> bytes:
        """Return the root of the tree of the first `size` leaves."""
        return _range_root(self._rows, 0, size) if size else EMPTY_ROOT

    def prove_inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 audit path of leaf `index` in the tree of `size` leaves, all of which are there.

        Raises:
            ValueError: there is no such leaf.
        """
        return inclusion_path(partial(_range_root, self._rows), index, size)

    def prove_consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 proof that the tree of `old` leaves is the beginning of that of `new`.

        Raises:
            ValueError: `old` is greater than `new`, or negative.
        """
        return consistency_path(partial(_range_root, self._rows), old, new)

    def leaves(self, start: int, stop: int) -> bytes:
        """Return leaf hashes, 32 bytes each, of seqs `start` to `stop` - 1."""
        return _leaves(self._rows, start, stop)


def sealed_rows(directory: Path, firsts: Sequence[int]) -> list[SealedRow]:
    """Return the rows of the sealed segments that begin at `firsts`, oldest first.

    A crash may leave the hashes of one segment more, whose seal was still to come; they are written again.

    Raises:
        AuditTamperedError: the rows do not follow each other, or are missing, or are no rows of hashes.
    """
    folder = directory / TREE
    rows: list[SealedRow] = []
    following = 0
    for first in firsts:
        count = _hashes_in(folder / leaves_name(first))
        if first != following or not count:
            raise AuditTamperedError(f"{folder / leaves_name(first)} does not have the leaves that follow")
        following += count
        roots = (following >> TILE_HEIGHT) - (first >> TILE_HEIGHT)
        if _hashes_in(folder / roots_name(first)) != roots:
            raise AuditTamperedError(f"{folder / roots_name(first)} has not {roots} hashes")
        rows.append(SealedRow(first, count, folder))
    return rows


def _hashes_in(path: Path) -> int:
    try:
        count, rest = divmod(path.stat().st_size, HASH_BYTES)
    except FileNotFoundError as error:
        raise AuditTamperedError(f"{path} is missing") from error
    if rest:
        raise AuditTamperedError(f"{path} is not whole hashes")
    return count


def _range_root(rows: Sequence[Row], start: int, stop: int) -> bytes:
    return chain_right([_node(rows, height, index) for height, index in perfect_subtrees(start, stop)])


def _node(rows: Sequence[Row], height: int, index: int) -> bytes:
    """Return the root of a perfect subtree: folded from its leaves, or, where it is higher than a tile, from tiles."""
    if height < TILE_HEIGHT:
        return fold(_hashes(_leaves(rows, index << height, (index + 1) << height)))
    above = height - TILE_HEIGHT
    return fold(_hashes(_roots(rows, index << above, (index + 1) << above)))


def _leaves(rows: Sequence[Row], start: int, stop: int) -> bytes:
    parts = []
    at = bisect_right(rows, start, key=lambda row: row.first) - 1
    while start < stop and 0 <= at < len(rows):
        end = min(stop, rows[at].first + rows[at].count)
        parts.append(rows[at].leaves(start, end))
        start, at = end, at + 1
    return b"".join(parts)


def _roots(rows: Sequence[Row], start: int, stop: int) -> bytes:
    """Return roots of whole tiles: each stands with the segment that has the tile's last leaf."""
    parts = []
    at = bisect_right(rows, start << TILE_HEIGHT | TILE_LEAVES - 1, key=lambda row: row.first) - 1
    while start < stop and 0 <= at < len(rows):
        end = min(stop, (rows[at].first + rows[at].count) >> TILE_HEIGHT)
        if end > start:
            parts.append(rows[at].roots(start, end))
            start = end
        at += 1
    return b"".join(parts)


def _hashes(raw: bytes) -> list[bytes]:
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]


def _slice(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start * HASH_BYTES)
        return file.read((stop - start) * HASH_BYTES)
