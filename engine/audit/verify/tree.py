"""The verifier's tree: folds leaves into RFC 6962 roots, many at a time.

Source: RFC 6962, 2.1. It keeps pending nodes per level, not a frontier of subtrees by size, and folds a level at a
time: another way to the same root than the writer's.
"""

from hashlib import sha256
from typing import Final

TILE_LEVEL: Final = 8  # the roots of 256 leaves are kept by the log, of sealed segments
_EMPTY: Final = sha256(b"").digest()


class Tree:
    """Leaf hashes go in, in order; `root` can be asked at any time.

    `tiles` gets the root of every 256 leaves when the last of them has come; whoever reads it may empty it.
    """

    def __init__(self) -> None:
        self._pending: list[list[bytes]] = []  # level by level from the leaves, the nodes that lack a right sibling
        self.tiles: list[bytes] = []

    def extend(self, leaves: list[bytes]) -> None:
        """Add leaf hashes."""
        level = 0
        nodes = leaves
        while nodes:
            if level == TILE_LEVEL:
                self.tiles += nodes
            if level == len(self._pending):
                self._pending.append([])
            row = self._pending[level] + nodes
            self._pending[level] = row[len(row) & ~1 :]
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
            level += 1

    def frontier(self) -> tuple[bytes, ...]:
        """Return the roots of the perfect subtrees that make up the tree, the largest first."""
        return tuple(row[0] for row in reversed(self._pending) if row)

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        root = b""
        for row in self._pending:
            if row:  # at most one node: an odd one out, whose right sibling is all that came after it
                root = sha256(b"\x01" + row[0] + root).digest() if root else row[0]
        return root or _EMPTY
