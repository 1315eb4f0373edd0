from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from engine.audit.proofs import is_consistent
from engine.audit.witness import (
    Conflict,
    Cosignature,
    WitnessAnswerError,
    WitnessForkError,
    cosigned_by,
    read_answer,
    request_body,
)
from tests.audit_logs import signed, tree_root
from tests.cosigning import Cosigner, consistency

LEAVES = [bytes([number]) for number in range(64)]
NOTE = signed(LEAVES[:9])
ONE = Cosigner()
LINE = ONE.line(NOTE).encode()


def read(status: int, body: bytes, content_type: str = "text/plain") -> Cosignature | Conflict | None:
    with suppress(WitnessAnswerError, WitnessForkError):
        return read_answer(status, content_type, body, key=ONE.key, old=4, note=NOTE)
    return None


@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
def test_every_changed_byte_refuses_an_answer(at: int, flip: int) -> None:
    """No byte of a cosignature line can be another."""
    assert read(200, LINE[:at] + bytes([LINE[at] ^ flip]) + LINE[at + 1 :]) is None


@given(st.integers(0, len(LINE)), st.integers(0, len(LINE)), st.binary(max_size=8))
def test_every_cut_and_every_insertion_refuses_an_answer(start: int, stop: int, other: bytes) -> None:
    """What is left out, put in or put in place of something counts for nothing, unless nothing was changed."""
    start, stop = sorted((start, stop))
    changed = LINE[:start] + other + LINE[stop:]
    assert (read(200, changed) is None) or changed == LINE


@given(st.integers(100, 599), st.sampled_from(["text/x.tlog.size", "text/plain", ""]), st.binary(max_size=200))
def test_no_garbage_is_a_cosignature(status: int, content_type: str, body: bytes) -> None:
    """Whatever a server sends: it is refused, or it is a size in its one spelling."""
    found = read(status, body, content_type)
    assert found is None or (status == 409 and isinstance(found, Conflict) and body == b"%d\n" % found.size)


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_a_cosignature_is_of_one_checkpoint(at: int, flip: int) -> None:
    """With any other byte in the text of the note, it counts for nothing."""
    text_ends = NOTE.rindex(b"\n\n") + 1
    changed = NOTE[:at] + bytes([NOTE[at] ^ flip]) + NOTE[at + 1 :] + LINE
    with suppress(WitnessAnswerError):
        assert cosigned_by(changed, [ONE.key]) == {} or at >= text_ends


@given(st.integers(0, 64), st.integers(0, 64))
def test_a_request_is_read_back(old: int, new: int) -> None:
    """Old size and proof come out of the body as they went in, and the proof leads from one root to the other."""
    old, new = sorted((old, new))
    proof = consistency(LEAVES, old, new, tree_root)
    head, _, rest = request_body(old, proof, NOTE).partition(b"\n\n")
    assert head.split(b"\n")[0] == b"old %d" % old
    assert len(head.split(b"\n")) == 1 + len(proof)
    assert rest == NOTE
    assert is_consistent(old, tree_root(LEAVES[:old]), new, tree_root(LEAVES[:new]), proof)
