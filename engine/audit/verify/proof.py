"""Proofs about a tree that is not here: that a leaf is in it, that it extends an earlier one.

Source: RFC 6962, 2.1.1 and 2.1.2 (what the proofs are), RFC 9162, 2.1.3.2 and 2.1.4.2 (how they are checked);
C2SP tlog-proof (the file).
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from engine.audit.verify.note import HASH_BYTES, NOTE_BYTES_MAX

PROOF_SUFFIX: Final = ".tlog-proof"
PROOF_BYTES_MAX: Final = 2 * NOTE_BYTES_MAX
PATH_HASHES_MAX: Final = 63  # a tree has fewer than 2⁶³ leaves
_HASH: Final = rb"[A-Za-z0-9+/]{43}=\n"
_PROOF: Final = re.compile(
    rb"c2sp\.org/tlog-proof@v1\n(?:extra [A-Za-z0-9+/]*={0,2}\n)?index (0|[1-9][0-9]{0,18})\n((?:"
    + _HASH
    + rb"){0,63})\n(.*)",
    re.DOTALL,
)


class ProofError(ValueError):
    """A proof proves nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a `.tlog-proof` says: leaf `index` is in the tree of `checkpoint`, by `path`."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes  # whoever signed it has not been looked at


def read_proof(raw: bytes) -> Proof:
    """Read a `.tlog-proof`; its extra data, if any, is passed over.

    Raises:
        ProofError: it is malformed.
    """
    match = _PROOF.fullmatch(raw) if len(raw) <= PROOF_BYTES_MAX else None
    if match is None:
        raise ProofError("it is not a c2sp.org/tlog-proof@v1")
    index, lines, checkpoint = match.groups()
    return Proof(int(index), decode_hashes(lines.split(b"\n")[:-1]), checkpoint)


def decode_hashes(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the hashes of lines of base64, of which only the one canonical spelling is read.

    Raises:
        ProofError: a line is no hash.
    """
    hashes = []
    for line in lines:
        raw = b64decode(line)
        if len(raw) != HASH_BYTES or b64encode(raw) != line:
            raise ProofError("a hash is malformed")
        hashes.append(raw)
    return tuple(hashes)


def check_inclusion(*, index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf`, a leaf hash, is number `index` of the tree of `size` leaves with this root.

    Source: RFC 9162, 2.1.3.2.

    Raises:
        ProofError: it does not follow from `path`.
    """
    if not 0 <= index < size:
        raise ProofError(f"event {index} is not one of {size}")
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0 or len(sibling) != HASH_BYTES:
            raise ProofError("the path is too long, or no path")
        if place & 1 or place == last:
            node = _node(sibling, node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = _node(node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the path is too short")
    if node != root:
        raise ProofError("the path leads to another root")


def check_consistency(*, old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Check that the first `old_size` leaves of a tree are the tree that had `old_root`.

    Source: RFC 9162, 2.1.4.2. The empty tree is a part of each, and its proof is empty.

    Raises:
        ProofError: it does not follow from `path`.
    """
    if not 0 <= old_size <= size:
        raise ProofError(f"{old_size} events are not a part of {size}")
    if old_size in {0, size}:
        if path or (old_size == size and old_root != root) or (old_size == 0 and old_root != sha256().digest()):
            raise ProofError("trees of one size have one root, and nothing else to prove")
        return
    nodes = list(path)
    if old_size & (old_size - 1) == 0:  # a perfect tree is a node of the larger one, and is not repeated
        nodes.insert(0, old_root)
    if not nodes or any(len(node) != HASH_BYTES for node in nodes):
        raise ProofError("the path is too short, or no path")
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_node = new_node = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise ProofError("the path is too long")
        if place & 1 or place == last:
            old_node, new_node = _node(sibling, old_node), _node(sibling, new_node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new_node = _node(new_node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the path is too short")
    if old_node != old_root or new_node != root:
        raise ProofError("the path leads to other roots")


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
