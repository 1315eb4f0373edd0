import hashlib
import re
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from engine.audit import keyfile
from engine.audit.errors import KeyFileError, KeyPassphraseError
from engine.audit.keyfile import KeyFile, destroy_key, read_private, replace_key, save_key
from engine.audit.keys import Ed25519Signer
from tests.audit_logs import NAME, SIGNER, VKEY

PHRASE = b"correct horse battery"
FAST_N = 2**4
# Made once, with the parameters of the format, and never again: old files have to stay readable.
KEPT = f"""\
missiongate signing key v1
{VKEY}
scrypt AAECAwQFBgcICQoLDA0ODw==
aes-256-gcm @BOX@
sha256 @DIGEST@
"""


def kept_file() -> bytes:
    """Return a key file as the page of the format describes it, by other means than the module's."""
    salt, nonce = bytes(range(16)), bytes(range(12))
    key = hashlib.scrypt(PHRASE, salt=salt, n=2**17, r=8, p=1, maxmem=2**28, dklen=32)
    bound = f"missiongate signing key v1\n{VKEY}\n".encode()
    box = b64encode(nonce + AESGCM(key).encrypt(nonce, bytes(range(32)), bound)).decode()
    body = KEPT.replace("@BOX@", box).rpartition("sha256")[0].encode()
    return body + b"sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n"


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch less, where the stretching is not what is looked at."""
    monkeypatch.setattr(keyfile, "SCRYPT_N", FAST_N)


def put(path: Path, content: bytes) -> Path:
    """Write a private file."""
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_the_file_is_what_its_page_says(tmp_path: Path) -> None:
    """A file made by hashlib's scrypt with N = 2^17, r = 8, p = 1 and AES-256-GCM over header and vkey is opened."""
    key = KeyFile.read(put(tmp_path / "key", kept_file()))
    assert (key.verifier_key, key.encrypted) == (VKEY, True)
    assert key.signer(PHRASE).sign(b"x") == SIGNER.sign(b"x")


def test_an_encrypted_key_comes_back_with_its_passphrase(tmp_path: Path) -> None:
    """Same key, mode 0600, five lines, another salt each time, and nothing of the seed in the clear."""
    for name in ("one", "two"):
        save_key(tmp_path / name, SIGNER, PHRASE)
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    one, two = ((tmp_path / name).read_text().splitlines() for name in ("one", "two"))
    assert [line.split(" ")[0] for line in one] == ["missiongate", VKEY, "scrypt", "aes-256-gcm", "sha256"]
    assert one[2] != two[2]
    assert b64encode(SIGNER.seed()).decode()[:40] not in (tmp_path / "one").read_text()
    assert KeyFile.read(tmp_path / "one").signer(bytearray(PHRASE)).seed() == SIGNER.seed()


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("wrong", [b"correct horse batterY", b"", PHRASE + b"\n", PHRASE[:-1], bytes(2_000)])
def test_another_passphrase_is_told_from_a_damaged_file(tmp_path: Path, wrong: bytes) -> None:
    """The code is its own, and the text says nothing of either passphrase."""
    save_key(tmp_path / "key", SIGNER, PHRASE)
    with pytest.raises(KeyPassphraseError) as refused:
        KeyFile.read(tmp_path / "key").signer(wrong)
    assert refused.value.code == "key.passphrase"
    assert PHRASE.decode() not in refused.value.message


@pytest.mark.usefixtures("fast")
def test_the_public_half_needs_no_passphrase(tmp_path: Path) -> None:
    """Reading gives the vkey; the signer without a passphrase is a fault of its own."""
    save_key(tmp_path / "key", SIGNER, PHRASE)
    key = KeyFile.read(tmp_path / "key")
    assert key.verifier_key == VKEY
    with pytest.raises(KeyPassphraseError) as refused:
        key.signer()
    assert refused.value.code == "key.passphrase_missing"


@pytest.mark.parametrize("encrypted", [False, True])
def test_no_bit_of_a_key_file_can_be_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool) -> None:
    """Each flipped bit, each cut and each added byte is refused when the file is read: no passphrase is asked for."""
    monkeypatch.setattr(keyfile, "SCRYPT_N", FAST_N)
    save_key(tmp_path / "key", SIGNER, PHRASE if encrypted else None)
    good = (tmp_path / "key").read_bytes()
    forged = [good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for at in range(len(good)) for bit in range(8)]
    forged += [good[:at] for at in range(len(good))] + [
        good + b"\n",
        good + good,
        b" " + good,
        good.replace(b"\n", b"\r\n"),
    ]
    path = tmp_path / "forged"
    assert [content for content in forged if readable(put(path, content))] == []
    assert readable(put(path, good))


def readable(path: Path) -> bool:
    """Whether a file is read as a key; any refusal but `key.unreadable` gets out."""
    try:
        KeyFile.read(path)
    except KeyFileError as error:
        if error.code != "key.unreadable":
            raise
        return False
    return True


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_file_whose_digest_was_made_to_fit_does_not_open(tmp_path: Path, line: int) -> None:
    """Who changes vkey, salt or box, and the digest with it, gets no signer: the tag binds the first two lines."""
    save_key(tmp_path / "key", SIGNER, PHRASE)
    save_key(tmp_path / "other", Ed25519Signer(NAME, bytes(32)), PHRASE)
    lines, others = ((tmp_path / name).read_text().splitlines() for name in ("key", "other"))
    lines[line] = others[line]
    body = "".join(f"{each}\n" for each in lines[:4]).encode()
    forged = put(tmp_path / "forged", body + b"sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")
    with pytest.raises(KeyPassphraseError):
        KeyFile.read(forged).signer(PHRASE)


@pytest.mark.usefixtures("fast")
def test_a_seed_that_is_not_that_of_the_public_half_is_refused(tmp_path: Path) -> None:
    """Even who knows the passphrase cannot put another key behind a public half."""

    class Liar(Ed25519Signer):
        def verifier_key(self) -> str:
            return VKEY

    save_key(tmp_path / "key", Liar(NAME, bytes(32)), PHRASE)
    with pytest.raises(KeyFileError, match="public half") as refused:
        KeyFile.read(tmp_path / "key").signer(PHRASE)
    assert refused.value.code == "key.unreadable"


@given(st.binary(max_size=400))
def test_what_is_no_key_file_is_a_typed_fault(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the bytes are, reading them ends in a key or in `key.unreadable`."""
    path = tmp_path_factory.getbasetemp() / "noise"
    assert not readable(put(path, content))
    assert not readable(put(path, b"missiongate signing key v1\n" + content))


def test_a_box_in_another_spelling_is_refused(tmp_path: Path) -> None:
    """Base64 with other last bits decodes to the same bytes, and is not the same file."""
    good = kept_file().decode()
    salt = re.search(r"scrypt (\S+)", good)
    assert salt is not None
    other = salt[1][:-3] + "x=="
    assert b64decode(other) == b64decode(salt[1])
    body = good.replace(salt[1], other).rpartition("sha256")[0].encode()
    forged = body + b"sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n"
    assert not readable(put(tmp_path / "key", forged))


@pytest.mark.parametrize("phrase", [b"", b"elevenbytes", b"x" * 1_025])
def test_a_short_or_endless_passphrase_is_not_taken(tmp_path: Path, phrase: bytes) -> None:
    """Under 12 bytes and over 1,024, no file is made."""
    with pytest.raises(KeyPassphraseError) as refused:
        save_key(tmp_path / "key", SIGNER, phrase)
    assert refused.value.code == "key.passphrase_weak"
    assert not (tmp_path / "key").exists()


@pytest.mark.usefixtures("fast")
def test_a_passphrase_can_be_changed_set_and_removed(tmp_path: Path) -> None:
    """The key stays, the file is replaced whole, and the bytes that were there are overwritten where they lay."""
    path = tmp_path / "key"
    save_key(path, SIGNER)
    (tmp_path / "key.new").write_bytes(b"what a crash left")
    (tmp_path / "same inode").hardlink_to(path)
    replace_key(path, SIGNER, PHRASE)
    assert set((tmp_path / "same inode").read_bytes()) == {0}
    assert KeyFile.read(path).signer(PHRASE).seed() == SIGNER.seed()
    replace_key(path, SIGNER, PHRASE + b"!")
    with pytest.raises(KeyPassphraseError):
        KeyFile.read(path).signer(PHRASE)
    replace_key(path, SIGNER, None)
    assert KeyFile.read(path).signer().seed() == SIGNER.seed()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["key", "same inode"]


def test_a_weak_new_passphrase_leaves_the_key_alone(tmp_path: Path) -> None:
    """Nothing was changed."""
    save_key(tmp_path / "key", SIGNER)
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(KeyPassphraseError):
        replace_key(tmp_path / "key", SIGNER, b"short")
    assert (tmp_path / "key").read_bytes() == before


def test_a_destroyed_key_is_overwritten_and_gone(tmp_path: Path) -> None:
    """Its blocks are zeros before its name goes; destroying what is not there is fine."""
    save_key(tmp_path / "key", SIGNER)
    (tmp_path / "same inode").hardlink_to(tmp_path / "key")
    for _ in range(2):
        destroy_key(tmp_path / "key")
        assert not (tmp_path / "key").exists()
        assert set((tmp_path / "same inode").read_bytes()) == {0}


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A private file has 4,096 bytes at most."""
    assert read_private(put(tmp_path / "file", bytes(4_096))) == bytes(4_096)
    with pytest.raises(KeyFileError, match="over"):
        read_private(put(tmp_path / "file", bytes(4_097)))


def test_a_key_does_not_show(tmp_path: Path) -> None:
    """Printing what was read shows path and public half."""
    save_key(tmp_path / "key", SIGNER)
    shown = repr(KeyFile.read(tmp_path / "key"))
    assert VKEY in shown
    assert b64encode(SIGNER.seed()).decode() not in shown
