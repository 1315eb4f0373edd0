"""What a Merkle proof shows: that a leaf is in a tree, and that one tree is the beginning of another."""

from collections.abc import Sequence

from engine.audit.merkle import EMPTY_ROOT, node_hash


def root_of_path(node: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root to which the audit path of leaf `index` leads, None where it has another length.

    Source: RFC 6962, 2.1.1 (the path); RFC 9162, 2.1.3.2 (its verification).
    """
    last = size - 1
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        index >>= 1
        last >>= 1
    return node if last == 0 else None


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that the tree of `new` leaves begins with that of `old` leaves.

    Source: RFC 6962, 2.1.2 (the proof); RFC 9162, 2.1.4.2 (its verification, the steps below).
    """
    if not 0 <= old <= new:
        return False
    if old in {0, new}:
        return not proof and old_root == (new_root if old else EMPTY_ROOT)
    path = list(proof)
    if old & (old - 1) == 0:  # (1) a perfect subtree is its own first node, and the proof leaves it out
        path.insert(0, old_root)
    if not path:
        return False
    first, last = old - 1, new - 1  # (2)
    while first & 1:  # (3)
        first >>= 1
        last >>= 1
    was = now = path[0]  # (4)
    for node in path[1:]:  # (5)
        if last == 0:
            return False
        if first & 1 or first == last:
            was, now = node_hash(node, was), node_hash(node, now)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            now = node_hash(now, node)
        first >>= 1
        last >>= 1
    return last == 0 and was == old_root and now == new_root  # (6)
