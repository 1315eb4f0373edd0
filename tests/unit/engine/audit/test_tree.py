"""Proofs from the hashes on the disk and in memory, against the definition in RFC 6962 and vectors of others."""

import hashlib
import json
from pathlib import Path

import pytest

from engine.audit.errors import AuditTamperedError
from engine.audit.merkle import Frontier, consistency_path, fold, inclusion_path, leaf_hash, perfect_subtrees
from engine.audit.seal import list_seals
from engine.audit.stored import StoredLog
from engine.audit.tree import OpenRow, TreeReader, sealed_rows
from engine.audit.writer import AuditLimits
from tests.audit_logs import VECTORS, append, lines, open_log, tree_root

SEGMENT_BYTES = 20_000  # some fifty events


def path_by_definition(leaves: list[bytes], index: int) -> list[bytes]:
    """Return PATH(m, D[n]) as RFC 6962, 2.1.1, writes it: recursive, slow, plain."""
    if len(leaves) == 1:
        return []
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if index < left:
        return [*path_by_definition(leaves[:left], index), tree_root(leaves[left:])]
    return [*path_by_definition(leaves[left:], index - left), tree_root(leaves[:left])]


def proof_by_definition(leaves: list[bytes], old: int, *, whole: bool = True) -> list[bytes]:
    """Return SUBPROOF(m, D[n], b) as RFC 6962, 2.1.2, writes it."""
    if old == len(leaves):
        return [] if whole else [tree_root(leaves)]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= left:
        return [*proof_by_definition(leaves[:left], old, whole=whole), tree_root(leaves[left:])]
    return [*proof_by_definition(leaves[left:], old - left, whole=False), tree_root(leaves[:left])]


def in_memory(leaves: list[bytes]) -> TreeReader:
    """Return a tree that is all in the open row."""
    row, tree = OpenRow(0), Frontier()
    for leaf in leaves:
        digest = leaf_hash(leaf)
        row.append(digest, tree.append(digest))
    return TreeReader([], row)


async def grown(directory: Path, events: int) -> list[bytes]:
    """Write a log of many segments; return its lines."""
    log = open_log(directory, limits=AuditLimits(segment_bytes_max=SEGMENT_BYTES))
    for number in range(1, events):
        append(log, number)
        if number % 7 == 0:
            await log.durable(number)
    await log.close()
    return lines(directory)


def no_root(start: int, stop: int) -> bytes:
    """Fail: nothing is to be computed."""
    raise AssertionError(f"asked for {start} to {stop}")


def test_every_proof_of_small_trees_is_as_defined() -> None:
    """Inclusion of each leaf and consistency of each pair, for all trees of up to 20 leaves."""
    leaves = [bytes([number]) for number in range(20)]
    reader = in_memory(leaves)
    compared = 0
    for size in range(1, 21):
        assert reader.root(size) == tree_root(leaves[:size])
        for index in range(size):
            assert list(reader.prove_inclusion(index, size)) == path_by_definition(leaves[:size], index)
        for old in range(1, size + 1):
            assert list(reader.prove_consistency(old, size)) == proof_by_definition(leaves[:size], old)
            compared += 1
    assert compared == 210
    assert reader.root(0) == hashlib.sha256(b"").digest()
    assert reader.prove_consistency(0, 20) == ()


def test_proofs_over_whole_tiles_are_as_defined() -> None:
    """Above 256 leaves a proof uses the roots of tiles; it is the same proof."""
    leaves = [str(number).encode() for number in range(1_300)]
    reader = in_memory(leaves)
    for size in (255, 256, 257, 512, 700, 1_024, 1_300):
        assert reader.root(size) == tree_root(leaves[:size])
        for index in (0, 255, 256, size - 1):
            if index < size:
                assert list(reader.prove_inclusion(index, size)) == path_by_definition(leaves[:size], index)
        for old in (1, 255, 256, 300, 512):
            if old <= size:
                assert list(reader.prove_consistency(old, size)) == proof_by_definition(leaves[:size], old)


def test_the_known_tree_of_others_is_proved_alike() -> None:
    """Roots and proofs of the eight leaves that the tests of Certificate Transparency use."""
    document = json.loads((VECTORS / "merkle" / "known_tree_8.json").read_text())["vectors"]
    leaves = [bytes.fromhex(each) for each in document["leaves_hex"]]
    reader = in_memory(leaves)
    assert [reader.root(size).hex() for size in range(1, 9)] == document["roots_hex"]


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_a_leaf_that_is_not_there_has_no_path(index: int, size: int) -> None:
    """The caller's mistake is a ValueError, not a wrong proof."""
    with pytest.raises(ValueError, match="not in the tree"):
        inclusion_path(no_root, index, size)


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5)])
def test_a_larger_tree_is_not_the_older_one(old: int, new: int) -> None:
    """Likewise."""
    with pytest.raises(ValueError, match="not the smaller"):
        consistency_path(no_root, old, new)


def test_ranges_are_cut_into_perfect_subtrees() -> None:
    """Seven leaves from leaf 8 on are subtrees of 4, 2 and 1."""
    assert perfect_subtrees(8, 15) == [(2, 2), (1, 6), (0, 14)]
    assert fold([b"a"]) == b"a"


async def test_proofs_over_sealed_segments_are_as_defined(tmp_path: Path) -> None:
    """Segments end where they end, in the middle of tiles; the tree does not know of them."""
    written = await grown(tmp_path, 700)
    assert len(list_seals(tmp_path)) > 5
    stored = StoredLog.open(tmp_path)
    log = open_log(tmp_path)
    assert stored.size == log.size == 700
    for index in (0, 1, 255, 256, 300, 511, 512, 698, 699):
        expected = path_by_definition(written, index)
        assert list(stored.prove_inclusion(index)) == expected
        assert list(log.prove_inclusion(index)) == expected
    for old in (1, 200, 256, 333, 512, 699, 700):
        expected = proof_by_definition(written, old)
        assert list(stored.prove_consistency(old)) == expected
        assert list(log.prove_consistency(old)) == expected
    assert list(log.prove_inclusion(3, 257)) == path_by_definition(written[:257], 3)
    with pytest.raises(ValueError, match="covers 700 events"):
        log.prove_inclusion(3, 701)
    with pytest.raises(ValueError, match="covers 700 events"):
        stored.prove_consistency(3, 701)
    await log.close()


async def test_rows_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    """A missing or cut file of hashes is not taken for a shorter log."""
    await grown(tmp_path, 300)
    leaves = sorted((tmp_path / "tree").glob("*.leaves"))
    whole = leaves[1].read_bytes()
    leaves[1].write_bytes(whole[:-32])
    with pytest.raises(AuditTamperedError):
        sealed_rows(tmp_path, list_seals(tmp_path))
    leaves[1].unlink()
    with pytest.raises(AuditTamperedError, match="is missing"):
        sealed_rows(tmp_path, list_seals(tmp_path))
    leaves[1].write_bytes(whole)
    (tmp_path / "tree" / f"{0:020d}.roots").write_bytes(bytes(32 * 9))
    with pytest.raises(AuditTamperedError, match="has not"):
        sealed_rows(tmp_path, list_seals(tmp_path))
