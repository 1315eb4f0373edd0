import base64
from collections.abc import Callable
from typing import Any

import pytest

from engine.audit.witness import (
    ANSWER_BYTES_MAX,
    SIZE_TYPE,
    Conflict,
    Cosignature,
    WitnessAnswerError,
    WitnessForkError,
    WitnessKey,
    cosigned_by,
    merge,
    read_answer,
    request_body,
    split_note,
)
from tests.audit_logs import SIGNER, VKEY, note, signed, vectors
from tests.cosigning import NOW, Cosigner

NOTE = signed([b"a", b"b", b"c"])
ONE, TWO = Cosigner("witness.example/w1"), Cosigner("witness.example/w2")


def read(status: int, body: bytes, content_type: str = "text/plain", *, old: int = 2) -> Cosignature | Conflict:
    return read_answer(status, content_type, body, key=ONE.key, old=old, note=NOTE)


def assert_refused(body: bytes, why: str) -> None:
    with pytest.raises(WitnessAnswerError, match=why):
        read(200, body)


def test_the_request_of_the_standard_is_built_byte_for_byte() -> None:
    """The example of tlog-witness: old size, four hashes, an empty line, the checkpoint with two signatures."""
    example: Any = vectors("witness/c2sp_examples.json")
    request = example["request"].encode()
    head, _, checkpoint = request.partition(b"\n\n")
    proof = [base64.b64decode(line) for line in head.split(b"\n")[1:]]
    assert request_body(20_852_014, proof, checkpoint) == request


def test_the_answer_of_the_standard_is_read() -> None:
    """The example of tlog-witness has lines of three keys; one that is ours and does not match refuses it all."""
    example: Any = vectors("witness/c2sp_examples.json")
    body = example["answer"].encode()
    assert_refused(body, "no cosignature by")
    _, lines = split_note(NOTE + body)
    assert [line.split(" ")[1] for line in lines[1:]] == [
        "witness.example/w1",
        "witness.example/w1",
        "witness.example/w2",
    ]


def test_public_witnesses_verify() -> None:
    """A checkpoint of a public log, cosigned by three public witnesses, with the keys that their operators publish."""
    public: Any = vectors("witness/public_checkpoint.json")
    found = cosigned_by(public["note"].encode(), [WitnessKey.parse(vkey) for vkey in public["witnesses"]])
    assert {name: each.seconds for name, each in found.items()} == {
        vkey.split("+")[0]: public["seconds"] for vkey in public["witnesses"]
    }


def test_a_changed_public_checkpoint_does_not() -> None:
    """One event more, and the first witness's line is wrong, which refuses the note."""
    public: Any = vectors("witness/public_checkpoint.json")
    changed = public["note"].replace("1432088532", "1432088533").encode()
    with pytest.raises(WitnessAnswerError, match="does not match"):
        cosigned_by(changed, [WitnessKey.parse(vkey) for vkey in public["witnesses"]])


def test_keys_are_written_as_they_are_read() -> None:
    """A vkey of type 0x04 comes back the same."""
    public: Any = vectors("witness/public_checkpoint.json")
    for vkey in public["witnesses"]:
        assert WitnessKey.parse(vkey).vkey() == vkey


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "witness.example",
        VKEY,  # a log's key, type 0x01
        ONE.key.vkey().replace("w1", "w2"),
        ONE.key.vkey()[:-1],
        ONE.key.vkey() + "\n",
        ONE.key.vkey().upper(),
        " " + ONE.key.vkey(),
    ],
)
def test_what_is_no_witness_key_is_refused(vkey: str) -> None:
    """Another type, another name, another spelling."""
    with pytest.raises(ValueError, match=r"verifier key|type is not 0x04|id is not that"):
        WitnessKey.parse(vkey)


def test_a_cosignature_is_taken_and_others_are_passed_over() -> None:
    """The lines of other keys count for nothing, of two of the witness's own the newer one."""
    body = TWO.line(NOTE) + ONE.line(NOTE) + ONE.line(NOTE, NOW + 5)
    found = read(200, body.encode())
    assert found == Cosignature(ONE.line(NOTE, NOW + 5), "witness.example/w1", NOW + 5)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "signature lines"),
        (b"\n", "malformed"),
        (ONE.line(NOTE).encode()[:-1], "signature lines"),
        (ONE.line(NOTE).encode() + b"x", "signature lines"),
        (ONE.line(NOTE).encode() + b"\n", "malformed"),
        (ONE.line(NOTE).replace("—", "-").encode(), "malformed"),
        (ONE.line(NOTE).replace("\n", "\r\n").encode(), "control"),
        (ONE.line(NOTE).encode() * 65, "signature lines"),
        (TWO.line(NOTE).encode(), "no cosignature by"),
        (ONE.line(signed([b"a"])).encode(), "does not match"),
        (b"\xff" + ONE.line(NOTE).encode(), "UTF-8"),
        (b" " * (ANSWER_BYTES_MAX + 1), "over"),
    ],
)
def test_an_answer_has_one_spelling(body: bytes, why: str) -> None:
    """Anything but 1 to 64 whole signature lines, with a good one by the witness, counts for nothing."""
    assert_refused(body, why)


def test_base64_has_one_spelling() -> None:
    """The last digit before the padding has four bits that no byte has: with any of them set it is refused."""
    line = ONE.line(NOTE)
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = line[:-4] + digits[digits.index(line[-4]) + 1] + line[-3:]
    assert base64.b64decode(other.split(" ")[2]) == base64.b64decode(line.split(" ")[2])
    assert_refused(other.encode(), "canonical")


def test_a_log_signature_is_no_cosignature() -> None:
    """A witness's key that signs as a log does (no `cosignature/v1`, no time) has not cosigned."""
    text, _ = split_note(NOTE)
    blob = ONE.key.id + ONE.private.sign(text)
    assert_refused(f"— {ONE.key.name} {base64.b64encode(blob).decode()}\n".encode(), "form")


def test_a_time_over_the_bound_is_refused() -> None:
    """Timestamps end at 2⁶³ - 1."""
    assert_refused(ONE.line(NOTE, 2**63).encode(), "form")


def test_a_conflict_names_a_size() -> None:
    """409 with text/x.tlog.size is the size to go on from."""
    assert read(409, b"1\n", SIZE_TYPE) == Conflict(1)
    assert read(409, b"0\n", "Text/X.Tlog.Size; charset=utf-8") == Conflict(0)


@pytest.mark.parametrize(
    "body", [b"", b"1", b"01\n", b"+1\n", b"-1\n", b"1\n\n", b" 1\n", b"9223372036854775808\n", b"x\n"]
)
def test_a_size_has_one_spelling(body: bytes) -> None:
    """Decimal, without leading zeroes, below 2⁶³, one LF."""
    with pytest.raises(WitnessAnswerError, match="malformed"):
        read(409, body, SIZE_TYPE)


def test_a_conflict_over_nothing_is_refused() -> None:
    """409 with the very size that was sent says nothing, unless that is the checkpoint's own."""
    with pytest.raises(WitnessAnswerError, match="asked to go on from"):
        read(409, b"2\n", SIZE_TYPE)
    with pytest.raises(WitnessAnswerError, match="without the size"):
        read(409, b"2\n", "text/html")


@pytest.mark.parametrize(
    ("status", "body", "content_type", "old"),
    [
        (409, b"", "text/plain", 3),
        (409, b"3\n", SIZE_TYPE, 3),
        (422, b"", "text/plain", 2),
        (422, b"", "text/plain", 3),
    ],
)
def test_another_history_is_told_from_a_fault(status: int, body: bytes, content_type: str, old: int) -> None:
    """409 at the checkpoint's own size, and 422 from a size on that the witness has: it knows another tree."""
    with pytest.raises(WitnessForkError):
        read(status, body, content_type, old=old)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, "the key"),
        (404, "this log"),
        (400, "answers 400"),
        (422, "answers 422"),
        (301, "301"),
        (500, "500"),
        (204, "204"),
    ],
)
def test_every_other_answer_is_no(status: int, why: str) -> None:
    """Whatever the body: only 200 with a cosignature is one."""
    with pytest.raises(WitnessAnswerError, match=why):
        read(status, ONE.line(NOTE).encode(), old=0)


@pytest.mark.parametrize(
    ("old", "proof", "checkpoint"),
    [
        (-1, [], NOTE),
        (2**63, [], NOTE),
        (0, [bytes(32)], NOTE),
        (1, [bytes(32)] * 64, NOTE),
        (1, [b"x"], NOTE),
        (1, [], b"x" * 65_537),
    ],
)
def test_no_request_leaves_its_bounds(old: int, proof: list[bytes], checkpoint: bytes) -> None:
    """At most 63 hashes of 32 bytes, none from nothing on, a size below 2⁶³, a note of at most 64 KiB."""
    with pytest.raises(ValueError, match=r"old size|32 bytes"):
        request_body(old, proof, checkpoint)


def test_merged_lines_are_counted_by_witness() -> None:
    """Each witness once, however many lines it has; a line that is there is not added again."""
    found = [Cosignature(each.line(NOTE), each.key.name, NOW) for each in (ONE, TWO)]
    whole = merge(merge(NOTE, found), found)
    assert whole == NOTE + (ONE.line(NOTE) + TWO.line(NOTE)).encode()
    assert set(cosigned_by(whole, [ONE.key, TWO.key])) == {"witness.example/w1", "witness.example/w2"}
    assert set(cosigned_by(whole, [TWO.key])) == {"witness.example/w2"}
    assert cosigned_by(NOTE, [ONE.key]) == {}


def test_one_key_under_two_names_has_one_voice() -> None:
    """A quorum is of witnesses: two names for one public key, or two keys of one name, are one."""
    again = Cosigner("witness.example/other", ONE.private.private_bytes_raw())
    same = Cosigner("witness.example/w1", bytes(32))
    whole = NOTE + (ONE.line(NOTE) + again.line(NOTE) + same.line(NOTE)).encode()
    assert len(cosigned_by(whole, [ONE.key, again.key, same.key])) == 1


@pytest.mark.parametrize(
    "lines", [lambda: [ONE.line(NOTE, each) for each in range(64)], lambda: [f"— w {'A' * 66_000}\n"]]
)
def test_no_note_grows_over_its_bounds(lines: Callable[[], list[str]]) -> None:
    """64 signatures, 64 KiB: readers take no more, so none is made."""
    with pytest.raises(WitnessAnswerError, match="more signatures than readers take"):
        merge(NOTE, [Cosignature(line, "w", 0) for line in lines()])


def test_a_checkpoint_with_extension_lines_is_cosigned_whole() -> None:
    """The signed message is the whole text, extension lines included."""
    text, _ = split_note(NOTE)
    extended = note(text + b"extension\n", SIGNER)
    assert set(cosigned_by(extended + ONE.line(extended).encode(), [ONE.key])) == {"witness.example/w1"}
    with pytest.raises(WitnessAnswerError, match="does not match"):
        cosigned_by(extended + ONE.line(NOTE).encode(), [ONE.key])
