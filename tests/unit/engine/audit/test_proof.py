"""Inclusion and consistency proofs, as the offline verifier checks them."""

from base64 import b64encode
from hashlib import sha256

import pytest

from engine.audit.verify import ProofError, check_consistency, check_inclusion, verify_proof
from engine.audit.verify.proof import read_proof
from tests.audit_segments import NEW, OLD, Witness, World, consistency_path, inclusion_path, leaf, root_of, statement

LEAVES = [sha256(bytes([number])).digest() for number in range(40)]
WITNESS = Witness("witness.example/one", 1)


def test_every_event_of_every_small_tree_is_included() -> None:
    """The path that RFC 6962 defines is accepted for its leaf, and for no other leaf or place."""
    for size in range(1, len(LEAVES) + 1):
        root = root_of(LEAVES[:size])
        for index in range(size):
            path = inclusion_path(index, LEAVES[:size])
            check_inclusion(index=index, size=size, leaf=LEAVES[index], path=path, root=root)
            with pytest.raises(ProofError):
                check_inclusion(index=index, size=size, leaf=bytes(32), path=path, root=root)
            if size > 1:
                with pytest.raises(ProofError):
                    check_inclusion(index=(index + 1) % size, size=size, leaf=LEAVES[index], path=path, root=root)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 21, 40])
def test_a_path_of_another_length_or_content_proves_nothing(size: int) -> None:
    """Longer, shorter, swapped, other hashes or hashes of another length."""
    root, index = root_of(LEAVES[:size]), size // 2
    path = inclusion_path(index, LEAVES[:size])
    wrong = [[*path, bytes(32)], [bytes(32), *path], [*path, b""]]
    wrong += [path[:-1], path[1:], [*path[:-1], bytes(32)], [*path[:-1], path[-1][:31]]] if path else []
    for other in wrong:
        with pytest.raises(ProofError):
            check_inclusion(index=index, size=size, leaf=LEAVES[index], path=other, root=root)


def test_a_path_is_as_long_as_its_tree_is_high() -> None:
    """A log that signs a node for a root, or one root for two sizes, gains nothing by a path that stops short of it."""
    with pytest.raises(ProofError):
        check_inclusion(index=0, size=2, leaf=LEAVES[0], path=[], root=LEAVES[0])
    with pytest.raises(ProofError):
        check_inclusion(index=0, size=3, leaf=LEAVES[0], path=[LEAVES[1]], root=root_of(LEAVES[:2]))
    with pytest.raises(ProofError):
        check_consistency(old_size=2, old_root=LEAVES[0], size=4, root=LEAVES[0], path=[])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (5, 3)])
def test_no_leaf_is_outside_of_its_tree(index: int, size: int) -> None:
    """An index beyond the size is refused whatever the path."""
    with pytest.raises(ProofError):
        check_inclusion(index=index, size=size, leaf=LEAVES[0], path=[], root=LEAVES[0])


def test_every_pair_of_small_trees_is_consistent() -> None:
    """The path that RFC 6962 defines is accepted for its two roots, and for no other, and no other path is."""
    for size in range(1, 24):
        root = root_of(LEAVES[:size])
        for old_size in range(1, size + 1):
            old_root, path = root_of(LEAVES[:old_size]), consistency_path(old_size, LEAVES[:size])
            check_consistency(old_size=old_size, old_root=old_root, size=size, root=root, path=path)
            wrong = [(bytes(32), root, path), (old_root, bytes(32), path), (old_root, root, [*path, bytes(32)])]
            if path:
                wrong += [(old_root, root, path[:-1]), (old_root, root, [bytes(32), *path[1:]])]
            for before, after, other in wrong:
                with pytest.raises(ProofError):
                    check_consistency(old_size=old_size, old_root=before, size=size, root=after, path=other)


def test_the_empty_tree_is_a_part_of_each() -> None:
    """Its proof is empty, and its root is SHA-256 of nothing."""
    empty = sha256().digest()
    check_consistency(old_size=0, old_root=empty, size=0, root=empty, path=[])
    check_consistency(old_size=0, old_root=empty, size=3, root=root_of(LEAVES[:3]), path=[])
    for old_root, path in ((bytes(32), []), (empty, [bytes(32)])):
        with pytest.raises(ProofError):
            check_consistency(old_size=0, old_root=old_root, size=3, root=root_of(LEAVES[:3]), path=path)
    with pytest.raises(ProofError):
        check_consistency(old_size=4, old_root=empty, size=3, root=empty, path=[])


def world() -> World:
    made = World()
    made.events(20)
    return made


def proof(made: World, seq: int, note: bytes, extra: bytes = b"") -> bytes:
    """Return a .tlog-proof, by hand."""
    path = inclusion_path(seq, [leaf(line) for line in made.lines])
    head = b"c2sp.org/tlog-proof@v1\n" + extra + b"index %d\n" % seq
    return head + b"".join(b64encode(node) + b"\n" for node in path) + b"\n" + note


def test_an_event_is_proved_alone() -> None:
    """By its line, its proof and the key; extra data, which nobody signs, is passed over."""
    made = world()
    for extra in (b"", b"extra c29tZXRoaW5n\n"):
        raw = proof(made, 7, made.checkpoint(), extra)
        report = verify_proof(raw, made.lines[7], NEW.verifier_key())
        assert (report.code, report.target, report.events, report.checkpoint_size) == ("ok", "proof", 1, 20)
        assert verify_proof(raw, made.lines[7] + b"\n", NEW.verifier_key()).ok


def test_a_proof_is_of_its_line_its_log_and_its_key() -> None:
    """Another line, place, path, checkpoint or key, and a spelling of its own: each has its code."""
    made = world()
    raw = proof(made, 7, made.checkpoint())
    other = World(forged_from=1)
    other.events(20)
    cases = {
        "event.bad": (raw, made.lines[8]),
        "proof.wrong": (raw, other.lines[7]),
        "proof.malformed": (raw.replace(b"index 7\n", b"index 07\n"), made.lines[7]),
        "checkpoint.signature": (raw.replace(b"\n20\n", b"\n21\n"), made.lines[7]),
        "checkpoint.unsigned": (proof(made, 7, made.checkpoint(20, OLD)), made.lines[7]),
    }
    for code, (told, line) in cases.items():
        assert verify_proof(told, line, NEW.verifier_key()).code == code


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nx",
        b"c2sp.org/tlog-proof@v1\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 42 + b"B=\n\nx",
        b"c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + b"x" * 200_000,
    ],
)
def test_what_is_no_proof_is_refused(raw: bytes) -> None:
    """Only the one spelling of the standard is read, within bounds."""
    with pytest.raises(ProofError):
        read_proof(raw)


def test_a_proof_under_a_later_key_needs_the_rotations() -> None:
    """Whoever knows the old key gets to the new one by the note that both signed, and the report says so."""
    made = World()
    made.events(5)
    note = statement(5, OLD, NEW)
    made.event("audit.key_rotated", {"statement": note.decode()})
    made.events(20)
    raw, line = proof(made, 7, made.checkpoint()), made.lines[7]
    assert verify_proof(raw, line, OLD.verifier_key()).code == "checkpoint.unsigned"
    report = verify_proof(raw, line, OLD.verifier_key(), rotations=[note])
    assert (report.code, [rotation.seq for rotation in report.rotations]) == ("ok", [5])
    assert verify_proof(raw, line, OLD.verifier_key(), rotations=[note, note]).code == "rotation.malformed"
    stolen = proof(made, 7, made.checkpoint(20, OLD))
    assert verify_proof(stolen, line, NEW.verifier_key(), rotations=[note]).code == "checkpoint.superseded"


def test_a_proof_is_held_against_witnesses_and_outside_checkpoints() -> None:
    """Its own checkpoint has to be cosigned; an outside one has to be of its size, and is then the same."""
    made = world()
    key, line = NEW.verifier_key(), made.lines[7]
    plain, seen = made.checkpoint(), WITNESS.cosign(made.checkpoint(), 1_769_860_000)
    assert verify_proof(proof(made, 7, plain), line, key, witnesses=[WITNESS.vkey]).code == "witness.missing"
    report = verify_proof(proof(made, 7, seen), line, key, witnesses=[WITNESS.vkey], checkpoint=plain)
    assert (report.code, report.witnessed_size, report.outside_size) == ("ok", 20, 20)
    assert report.witnessed_at == "2026-01-31T11:46:40.000000Z"
    assert report.witnesses == ("+".join(WITNESS.vkey.split("+")[:2]),)
    assert verify_proof(proof(made, 7, plain), line, key, checkpoint=made.checkpoint(19)).code == "outside.size"
    other = World(forged_from=1)
    other.events(20)
    assert verify_proof(proof(made, 7, plain), line, key, checkpoint=other.checkpoint()).code == "outside.fork"
