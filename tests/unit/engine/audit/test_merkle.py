from typing import Any

from engine.audit.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from engine.audit.verify.tree import Tree
from tests.audit_logs import vectors


def test_the_hashes_are_those_of_rfc_6962() -> None:
    """Leaf, node and empty root agree with the vectors of transparency-dev/merkle."""
    cases: Any = vectors("merkle/rfc6962_hasher.json")
    for case in cases:
        match case["op"]:
            case "empty_root":
                found = Frontier().root()
            case "leaf":
                found = leaf_hash(bytes.fromhex(case["in_hex"]))
            case _:
                found = node_hash(bytes.fromhex(case["l_hex"]), bytes.fromhex(case["r_hex"]))
        assert found.hex() == case["want"], case


def test_the_roots_are_those_of_the_reference_tree() -> None:
    """The roots of the first 1 to 8 leaves of CT's reference tree come out, in the writer and in the verifier."""
    known: Any = vectors("merkle/known_tree_8.json")
    frontier, tree = Frontier(), Tree()
    assert frontier.root() == tree.root() == EMPTY_ROOT == bytes.fromhex(known["empty_root"])
    for leaf, root in zip(known["leaves_hex"], known["roots_hex"], strict=True):
        entry = leaf_hash(bytes.fromhex(leaf))
        frontier.append(entry)
        tree.extend([entry])
        assert frontier.root().hex() == tree.root().hex() == root


def test_the_frontier_has_one_hash_for_each_bit_of_its_size() -> None:
    """The state stays at most 64 hashes, however many leaves there are."""
    frontier = Frontier()
    for size in range(1, 200):
        frontier.append(leaf_hash(str(size).encode()))
        assert frontier.size == size
        assert len(frontier.hashes) == size.bit_count()
