from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from engine.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint, open_note, sign_checkpoint
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.verify.note import NoteError, read_head, read_key
from tests.audit_logs import NAME, SIGNER, VKEY, note, vectors

KEY = VerifierKey.parse(VKEY)
HEAD = Checkpoint(origin=NAME, size=20_852_163, root=bytes(range(32)))
GOOD = sign_checkpoint(HEAD, SIGNER, KEY)
OTHER = Ed25519Signer(NAME, bytes(32))


def accepted_by_writer(raw: bytes) -> bool:
    try:
        open_checkpoint(raw, KEY)
    except CheckpointError:
        return False
    return True


def accepted_by_verifier(raw: bytes) -> bool:
    try:
        read_head(raw, [read_key(VKEY)])
    except NoteError:
        return False
    return True


both = pytest.mark.parametrize("accepted", [accepted_by_writer, accepted_by_verifier])


def test_the_note_of_the_standard_opens() -> None:
    """The example of C2SP signed-note verifies under its own verifier key."""
    example: Any = vectors("note/c2sp_signed_note_example.json")
    text = open_note(example["msg"].encode(), VerifierKey.parse(example["vkey"]))
    assert text == b"This is an example message.\n"


def test_the_verifier_knows_the_signature_of_the_standard() -> None:
    """The verifier takes the example's signature as good too, and refuses it only for being no checkpoint."""
    example: Any = vectors("note/c2sp_signed_note_example.json")
    with pytest.raises(NoteError) as refused:
        read_head(example["msg"].encode(), [read_key(example["vkey"])])
    assert str(refused.value) == "the signed text is no checkpoint"


@both
def test_checkpoints_parse_as_in_the_reference(accepted: Callable[[bytes], bool]) -> None:
    """Each text that transparency-dev/formats refuses is refused here, and its good ones pass with a 32-byte root."""
    cases: Any = vectors("note/checkpoint_parse.json")
    root = b64encode(bytes(32)).decode()
    for case in cases:
        text = case["text"]
        if case["ok"]:  # in the file they have another origin, and a root of any length
            origin, _, encoded, *_ = text.split("\n")
            text = text.replace(origin, NAME, 1).replace(encoded, root, 1)
        if case["ok"] is not None:
            assert accepted(note(text.encode())) is case["ok"], case


def test_a_checkpoint_has_exactly_these_bytes() -> None:
    """Origin, size and root on a line each, an empty line, and the signature line of C2SP signed-note."""
    text, _, signature = GOOD.decode().partition("\n\n")
    assert text == f"{NAME}\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert signature.startswith(f"— {NAME} ")
    assert signature.endswith("=\n")
    assert open_checkpoint(GOOD, KEY) == HEAD


@both
def test_signatures_of_others_are_passed_over(accepted: Callable[[bytes], bool]) -> None:
    """A witness may add its line, before or after; a key of the same name with another id is another key."""
    text, _, own = GOOD.partition(b"\n\n")
    witness = note(text + b"\n", Ed25519Signer("witness.example", bytes(32))).partition(b"\n\n")[2]
    namesake = note(text + b"\n", OTHER).partition(b"\n\n")[2]
    assert accepted(text + b"\n\n" + own + witness)
    assert accepted(text + b"\n\n" + witness + namesake + own)
    assert not accepted(text + b"\n\n" + witness + namesake)


LINE = GOOD.partition(b"\n\n")[2]
SIGNATURE = LINE.split(b" ")[2][:-1]


@both
@pytest.mark.parametrize(
    "bad",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD.replace(b"\n\n", b"\n"),
        GOOD.replace(b"20852163", b"20852164"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD + LINE.replace(SIGNATURE[6:12], b"AAAAAA"),
        GOOD.replace(SIGNATURE, SIGNATURE[:-2] + b"R="),
        GOOD.replace(SIGNATURE, SIGNATURE.rstrip(b"=")),
        GOOD.replace("— ".encode(), b"- "),
        GOOD.replace(LINE, LINE * 65),
        GOOD + "— two\u3000words AAAAAAAA\n".encode(),
        GOOD + "— two\u00a0words AAAAAAAA\n".encode(),
        note(f"{NAME}\n012\n{b64encode(bytes(32)).decode()}\n".encode()),
        note(f"{NAME}\n+1\n{b64encode(bytes(32)).decode()}\n".encode()),
        note(f"{NAME}\n1_0\n{b64encode(bytes(32)).decode()}\n".encode()),
        note(f"{NAME}\n٣\n{b64encode(bytes(32)).decode()}\n".encode()),
        note(f"{NAME}\n9223372036854775808\n{b64encode(bytes(32)).decode()}\n".encode()),
        note(f"{NAME}\n1\n{b64encode(bytes(31)).decode()}\n".encode()),
        note(f"{NAME}\n1\n{b64encode(bytes(32)).decode()[:-2]}B=\n".encode()),
        note(f"{NAME}\n1\n{b64encode(bytes(32)).decode()}\n\x07\n".encode()),
        note(f"{NAME}\n1\n{b64encode(bytes(32)).decode()}\n\nx\n".encode()),
        note(f"other.example\n1\n{b64encode(bytes(32)).decode()}\n".encode()),
        note(b"\xff\n1\n" + b64encode(bytes(32)) + b"\n"),
        sign_checkpoint(HEAD, OTHER, VerifierKey.parse(OTHER.verifier_key())),
        b"x" * 70_000,
    ],
)
def test_what_is_not_a_checkpoint_of_this_key_is_refused(accepted: Callable[[bytes], bool], bad: bytes) -> None:
    """Writer and verifier each refuse every other spelling, every other signer and every other origin."""
    assert accepted(GOOD)
    assert not accepted(bad)


def test_the_writer_and_the_verifier_agree_on_every_changed_byte() -> None:
    """For each byte of a checkpoint, changed in three ways, both give the same verdict, and it is no."""
    for at in range(len(GOOD)):
        for flip in (0x01, 0x20, 0x80):
            raw = bytearray(GOOD)
            raw[at] ^= flip
            assert not accepted_by_writer(bytes(raw)), (at, flip)
            assert not accepted_by_verifier(bytes(raw)), (at, flip)
