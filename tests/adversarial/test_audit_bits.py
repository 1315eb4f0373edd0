"""Every single bit of a small log that has everything: seals, hashes of a pruned segment, a rotation, witnesses."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.audit.verify import verify_log
from engine.audit.verify.note import NoteError, read_head, read_key
from engine.audit.verify.rotation import read_chain
from engine.audit.verify.seal import read_seal
from engine.audit.verify.verdict import Verdict
from engine.audit.verify.witness import read_quorum, witnessed
from tests.adversarial.audit_attacks import WITNESSES, cosigned
from tests.audit_segments import NEW, OLD, World, segment, statement

VKEYS = [witness.vkey for witness in WITNESSES[:2]]


def small_log() -> World:
    """Five events in three segments: the first is pruned, the key changes with the second."""
    world = World()
    world.events(2)
    note = statement(2, OLD, NEW)
    world.event("audit.key_rotated", {"statement": note.decode()})
    world.event("audit.pruned", world.pruned_details(0, 2), target=segment(0))
    world.events(5)
    world.cut(0, 2, 4, rotated_at=2)
    del world.files[segment(0)]
    world.files |= {
        f"rotations/{2:020d}.note": note,
        "checkpoint": world.checkpoint(),
        "witnessed": cosigned(world, 5, 4, by=WITNESSES[:2]),
    }
    return world


SMALL = small_log()
SEAL_0, SEAL_2, NOTE = f"seals/{0:020d}.seal", f"seals/{2:020d}.seal", f"rotations/{2:020d}.note"
KEY = NEW.verifier_key()
CHAIN = read_chain(read_key(KEY), {2: SMALL.files[NOTE]})
# What nothing signs: the size of a segment that is gone. docs/audit-format.md, section 12.
UNSIGNED = {SEAL_0: re.compile(rb"\nbytes ([0-9]+)\n")}


@pytest.mark.parametrize("name", sorted(name for name in SMALL.files if not name.startswith("segments/")))
def test_a_flipped_bit_of_every_byte_is_seen_in_its_log(tmp_path: Path, name: str) -> None:
    """One bit of each byte, another each time; lines and all of their bits are in test_audit_tampering."""
    directory = SMALL.write(tmp_path / "log")
    path, good = directory / name, SMALL.files[name]
    assert verify_log(directory, KEY, witnesses=VKEYS).ok
    unsigned = UNSIGNED[name].search(good) if name in UNSIGNED else None
    span = range(*unsigned.span(1)) if unsigned is not None else range(0)
    for at in set(range(len(good))) - set(span):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        assert not verify_log(directory, KEY, witnesses=VKEYS).ok, at


def changes(good: bytes) -> Iterator[bytes]:
    """Yield a text with each bit turned, each byte left out, each byte twice, whatever comes of that."""
    for at in range(len(good)):
        for bit in range(8):
            yield good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :]
        yield good[:at] + good[at + 1 :]
        yield good[: at + 1] + good[at:]


@pytest.mark.parametrize(("name", "first"), [(SEAL_0, 0), (SEAL_2, 2)])
def test_no_other_text_is_the_same_seal(name: str, first: int) -> None:
    """Whatever is changed in a seal: it is refused, or says something else, which is then held against the segment."""
    good = SMALL.files[name]
    true = read_seal(good, first, CHAIN)
    for raw in changes(good):
        try:
            read = read_seal(raw, first, CHAIN)
        except Verdict:
            continue
        assert (read != true) == (raw != good), raw


def test_no_other_text_is_a_rotation() -> None:
    """Whatever is changed in a note, one of two signatures is not good any more, or a third is there."""
    good = SMALL.files[NOTE]
    for raw in changes(good):
        if raw != good:
            with pytest.raises(Verdict):
                read_chain(read_key(KEY), {2: raw})


def test_no_other_text_is_cosigned() -> None:
    """Whatever is changed in a checkpoint that its witnesses have cosigned: they have not, or the log has not."""
    good, quorum = SMALL.files["witnessed"], read_quorum(VKEYS, None)
    assert witnessed(read_head(good, CHAIN.keys), quorum) is not None
    for raw in changes(good):
        try:
            word = witnessed(read_head(raw, CHAIN.keys), quorum)
        except (NoteError, Verdict):
            continue
        assert (word is None) == (raw != good), raw
