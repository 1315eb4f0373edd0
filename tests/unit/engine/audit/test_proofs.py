import base64
from typing import Any

import pytest

from engine.audit.proofs import is_consistent
from tests.audit_logs import tree_root, vectors
from tests.cosigning import consistency

LEAVES = [bytes([number]) for number in range(40)]


def proof(old: int, new: int) -> tuple[bytes, ...]:
    return consistency(LEAVES, old, new, tree_root)


def holds(old: int, new: int, path: tuple[bytes, ...]) -> bool:
    return is_consistent(old, tree_root(LEAVES[:old]), new, tree_root(LEAVES[:new]), path)


def test_proofs_of_the_reference_witness() -> None:
    """What litewitness accepts is accepted, and what it refuses is refused."""
    cases: Any = vectors("witness/litewitness_consistency.json")
    for case in cases:
        old_root, new_root = base64.b64decode(case["old_root"]), base64.b64decode(case["new_root"])
        path = [base64.b64decode(each) for each in case["proof"]]
        assert is_consistent(case["old"], old_root, case["new"], new_root, path) is case["ok"]


def test_every_pair_of_sizes_has_one_proof() -> None:
    """The proof by the definition holds, for every two trees up to 40 leaves, the empty one included."""
    wrong = [(old, new) for new in range(41) for old in range(new + 1) if not holds(old, new, proof(old, new))]
    assert wrong == []


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 5), (4, 9), (7, 8), (20, 33), (32, 40)])
def test_no_other_proof_holds(old: int, new: int) -> None:
    """A hash less, a hash more, a bit changed, two swapped, another root, another size."""
    path = proof(old, new)
    others = [path[1:], path[:-1], (*path, path[-1]), (bytes(32), *path), path[::-1] if len(path) > 1 else ()]
    others += [(*path[:at], bytes([each[0] ^ 1]) + each[1:], *path[at + 1 :]) for at, each in enumerate(path)]
    assert [each for each in others if holds(old, new, each)] == []
    assert not is_consistent(old, tree_root(LEAVES[1 : old + 1]), new, tree_root(LEAVES[:new]), path)
    assert not is_consistent(old, tree_root(LEAVES[:old]), new, tree_root(LEAVES[1 : new + 1]), path)


def test_the_older_tree_is_the_smaller_one() -> None:
    """No proof leads back, and none from below nothing."""
    assert not is_consistent(5, tree_root(LEAVES[:5]), 3, tree_root(LEAVES[:3]), ())
    assert not is_consistent(-1, b"", 3, tree_root(LEAVES[:3]), ())
    assert not is_consistent(3, tree_root(LEAVES[:3]), 3, tree_root(LEAVES[1:4]), ())


@pytest.mark.parametrize(("old", "new", "claimed"), [(3, 4, 8), (5, 8, 16), (6, 7, 40), (5, 16, 8)])
def test_a_proof_is_as_long_as_its_trees_are_high(old: int, new: int, claimed: int) -> None:
    """Roots and proof of a lower or a higher tree do not hold for a tree of the claimed size."""
    path, roots = proof(old, new), (tree_root(LEAVES[:old]), tree_root(LEAVES[:new]))
    assert is_consistent(old, roots[0], new, roots[1], path)
    assert not is_consistent(old, roots[0], claimed, roots[1], path)
