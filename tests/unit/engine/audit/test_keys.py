import os
from pathlib import Path
from typing import Any

import pytest

from engine.audit.errors import KeyFileError
from engine.audit.keyfile import KeyFile, save_key
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.verify.note import VerifierKeyError, read_key
from tests.audit_logs import NAME, SIGNER, VKEY, vectors


def test_signatures_are_those_of_rfc_8032() -> None:
    """Every vector of RFC 8032, 7.1, comes out byte for byte."""
    cases: Any = vectors("ed25519/rfc8032.json")
    for case in cases:
        signer = Ed25519Signer(NAME, bytes.fromhex(case["seed"]))
        assert signer.sign(bytes.fromhex(case["msg"])).hex() == case["sig"]
        assert VerifierKey(NAME, bytes.fromhex(case["pub"])).verifies(
            bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
        )


def test_verification_agrees_with_wycheproof() -> None:
    """Every valid signature of Wycheproof is accepted, every invalid one refused."""
    groups: Any = vectors("ed25519/wycheproof.json")
    verdicts = 0
    for group in groups:
        key = VerifierKey(NAME, bytes.fromhex(group["pk"]))
        for case in group["tests"]:
            good = key.verifies(bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
            assert good is (case["result"] == "valid"), case
            verdicts += 1
    assert verdicts == 151


def test_the_verifier_key_is_that_of_the_standard() -> None:
    """The vkey of C2SP's example parses in the writer and in the verifier, with the id that it claims."""
    example: Any = vectors("note/c2sp_signed_note_example.json")
    assert VerifierKey.parse(example["vkey"]).id.hex() == "530d903a"
    assert read_key(example["vkey"]).id.hex() == "530d903a"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        NAME,
        VKEY + "\n",
        VKEY.replace("+", " "),
        VKEY.replace(NAME, "other"),
        VKEY[:-4],
        VKEY[:-1] + "\u0660",
        VKEY.replace(VKEY.split("+", 1)[1][:8], "00000000"),
        VKEY.upper(),
        "é" + VKEY,
        "a+b+" + VKEY,
    ],
)
def test_a_malformed_verifier_key_is_refused(bad: str) -> None:
    """Writer and verifier refuse anything but name, its own id and a canonical Ed25519 key."""
    with pytest.raises(ValueError, match=r"id|key"):
        VerifierKey.parse(bad)
    with pytest.raises(VerifierKeyError) as refused:
        read_key(bad)
    assert refused.value.code == "key.invalid"


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    """What was saved is loaded: same name, same key; the file is private to its owner."""
    signer = Ed25519Signer.generate(NAME)
    path = tmp_path / "audit.key"
    save_key(path, signer)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyFile.read(path).signer().verifier_key() == signer.verifier_key()
    assert KeyFile.read(path).signer().sign(b"x") == signer.sign(b"x")


def test_a_key_file_is_in_the_form_of_gos_note_package(tmp_path: Path) -> None:
    """The file is `PRIVATE+KEY+name+id+base64(0x01 ‖ seed)`, which golang.org/x/mod/sumdb/note reads."""
    save_key(tmp_path / "k", SIGNER)
    key_id = VKEY.split("+")[1]
    assert (tmp_path / "k").read_text() == (
        f"PRIVATE+KEY+{NAME}+{key_id}+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
    )


def test_two_generated_keys_differ() -> None:
    """Each key is fresh."""
    assert Ed25519Signer.generate(NAME).verifier_key() != Ed25519Signer.generate(NAME).verifier_key()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Saving over a file is refused, and the file stays."""
    path = tmp_path / "audit.key"
    path.write_text("precious")
    with pytest.raises(KeyFileError) as refused:
        save_key(path, SIGNER)
    assert refused.value.code == "key.exists"
    assert path.read_text() == "precious"


def test_a_key_cannot_be_saved_where_nothing_can(tmp_path: Path) -> None:
    """A missing folder is a typed fault."""
    with pytest.raises(KeyFileError) as refused:
        save_key(tmp_path / "missing" / "k", SIGNER)
    assert refused.value.code == "key.unreadable"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """One bit for group or others, and the key is not used: it may be known already."""
    path = tmp_path / "audit.key"
    save_key(path, SIGNER)
    path.chmod(mode)
    with pytest.raises(KeyFileError) as refused:
        KeyFile.read(path).signer()
    assert refused.value.code == "key.unreadable"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"-----BEGIN PRIVATE KEY-----\n",
        b"PRIVATE+KEY+" + VKEY.encode() + b"\n",
        b"x" * 10_000,
    ],
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Anything but one signing key is a typed fault, a verifier key in disguise included: its id does not fit."""
    path = tmp_path / "audit.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError) as refused:
        KeyFile.read(path).signer()
    assert refused.value.code == "key.unreadable"


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder, a link and a pipe (which must not block) are typed faults."""
    save_key(tmp_path / "key", SIGNER)
    (tmp_path / "link").symlink_to(tmp_path / "key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("missing", ".", "link", "pipe"):
        with pytest.raises(KeyFileError):
            KeyFile.read(tmp_path / name).signer()


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "é", "x" * 256])
def test_a_key_name_fits_the_note_format(name: str) -> None:
    """A name that would break a signature line is refused when the key is made."""
    with pytest.raises(ValueError, match="key name"):
        Ed25519Signer.generate(name)


def test_the_key_does_not_show() -> None:
    """Printing a signer names the public half and nothing else."""
    assert repr(SIGNER) == f"Ed25519Signer({VKEY})"
