"""The RFC 6962 tree as a frontier: the roots of the perfect subtrees, left to right, and nothing below them.

Source: RFC 6962, 2.1 (hashes, shape); the frontier is the "compact range" [0, size) of transparency-dev/merkle.
"""

import hashlib
from typing import Final

HASH_BYTES: Final = 32
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

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash; amortised one node hash."""
        merges = self._size
        while merges & 1:  # a subtree of this height stands to the left: the two make one of the next height
            leaf = node_hash(self._hashes.pop(), leaf)
            merges >>= 1
        self._hashes.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """Return the tree head; that of the empty tree is SHA-256 of nothing."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = node_hash(left, root)
        return root
