"""The RFC 6962 tree: its end as a frontier, and the proofs that follow from the roots of its perfect subtrees.

Source: RFC 6962, 2.1 (hashes, shape), 2.1.1 (audit paths), 2.1.2 (consistency proofs); the frontier is the "compact
range" [0, size) of transparency-dev/merkle.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8  # of the subtrees whose roots are kept, so that a proof reads a few hundred hashes, not all
TILE_LEAVES: Final = 1 << TILE_HEIGHT
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry). Source: RFC 6962, 2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right). Source: RFC 6962, 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """An append-only tree of `size` leaves that holds at most 64 hashes.

    `hashes` has one subtree root for each bit set in `size`, the largest subtree first.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self) -> None:
        self._hashes: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The subtree roots, the largest first; with `size` they are the whole state."""
        return tuple(self._hashes)

    @classmethod
    def restore(cls, size: int, hashes: Sequence[bytes]) -> "Frontier":
        """Return the frontier that had this state.

        Raises:
            ValueError: a tree of `size` leaves has not so many perfect subtrees.
        """
        if size < 0 or len(hashes) != size.bit_count() or any(len(each) != HASH_BYTES for each in hashes):
            raise ValueError("not the perfect subtrees of that many leaves")
        frontier = cls()
        frontier._hashes = list(hashes)
        frontier._size = size
        return frontier

    def append(self, leaf: bytes) -> bytes | None:
        """Add one leaf hash; amortised one node hash. Return the root of the tile that it completes, if it does."""
        tile = None
        merges = self._size
        height = 0
        while merges & 1:  # a subtree of this height stands to the left: the two make one of the next height
            leaf = node_hash(self._hashes.pop(), leaf)
            merges >>= 1
            height += 1
            if height == TILE_HEIGHT:
                tile = leaf
        self._hashes.append(leaf)
        self._size += 1
        return tile

    def root(self) -> bytes:
        """Return the tree head; that of the empty tree is SHA-256 of nothing."""
        return chain_right(self._hashes) if self._hashes else EMPTY_ROOT


RangeRoot = Callable[[int, int], bytes]  # root of the subtree over leaves [start, stop), as RFC 6962 cuts them


def inclusion_path(root_of: RangeRoot, index: int, size: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, the leaf's sibling first.

    Source: RFC 6962, 2.1.1.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    start, stop, siblings = 0, size, list[tuple[int, int]]()
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            siblings.append((middle, stop))
            stop = middle
        else:
            siblings.append((start, middle))
            start = middle
    return tuple(root_of(*each) for each in reversed(siblings))


def consistency_path(root_of: RangeRoot, old: int, new: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of `old` leaves is the beginning of the tree of `new` leaves.

    Empty where `old` is 0 or `new`. Source: RFC 6962, 2.1.2.

    Raises:
        ValueError: `old` is greater than `new`, or negative.
    """
    if not 0 <= old <= new:
        raise ValueError("the older tree is not the smaller one")
    if old in {0, new}:
        return ()
    start, stop, parts, whole = 0, new, list[tuple[int, int]](), True
    while stop != old:
        middle = start + _split(stop - start)
        if old <= middle:
            parts.append((middle, stop))
            stop = middle
        else:
            parts.append((start, middle))
            start, whole = middle, False
    if not whole:  # otherwise it is the old root, which the reader has
        parts.append((start, stop))
    return tuple(root_of(*each) for each in reversed(parts))


def perfect_subtrees(start: int, stop: int) -> list[tuple[int, int]]:
    """Return (height, index) of the perfect subtrees that make up leaves [start, stop), left to right.

    `start` is a multiple of the largest power of two in the range, as it is for every range that RFC 6962 cuts.
    """
    found = []
    while start < stop:
        height = (stop - start).bit_length() - 1
        found.append((height, start >> height))
        start += 1 << height
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes of equal height, as many as a power of two."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def chain_right(hashes: Sequence[bytes]) -> bytes:
    """Return the root over perfect subtrees of falling height, the largest first."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _split(leaves: int) -> int:
    """Return the largest power of two below `leaves`, which are at least two."""
    return 1 << ((leaves - 1).bit_length() - 1)
