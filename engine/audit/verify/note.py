"""The verifier's reading of verifier keys, signed notes, checkpoints and cosignatures, on bytes.

Source: C2SP signed-note, C2SP tlog-checkpoint, C2SP tlog-cosignature.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from engine.errors import RefusalError

NOTE_BYTES_MAX: Final = 65_536
HASH_BYTES: Final = 32
_B64: Final = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_VKEY: Final = re.compile(rb"([!-*,-~]{1,255})\+([0-9a-f]{8})\+(" + _B64 + rb")")
_CHECKPOINT: Final = re.compile(rb"([^\n]+)\n(0|[1-9][0-9]{0,18})\n(" + _B64 + rb")\n(?:[^\n]+\n)*")
_SIGNED: Final = re.compile(rb"(.*\n)\n((?:\xe2\x80\x94 [^\n]+\n){1,64})", re.DOTALL)  # the dash is U+2014
_SIGNATURE: Final = re.compile(rb"\xe2\x80\x94 ([^ +]+) (" + _B64 + rb")")
_CONTROL: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_ED25519: Final = b"\x01"
_COSIGNATURE: Final = b"\x04"
_KEY_BYTES: Final = 32
_STAMPED_BYTES: Final = 8 + 64  # a time and a signature


class VerifierKeyError(RefusalError):
    """A verifier key is no C2SP Ed25519 key, `name+id+key`, of the type that is wanted."""

    default_code = "key.invalid"


class NoteError(ValueError):
    """A note is refused; `code` says on which ground."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Key:
    """A public key under its name."""

    name: bytes
    id: bytes
    public: Ed25519PublicKey
    raw: bytes  # its 32 bytes

    @property
    def label(self) -> str:
        """The key as people know it: name+id."""
        return f"{self.name.decode()}+{self.id.hex()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A well-formed signed note, of which no signature has been looked at."""

    text: bytes
    signatures: tuple[tuple[bytes, bytes], ...]  # name; key id and signature

    def signed_by(self, key: Key) -> bool:
        """Whether `key` signed the text.

        Raises:
            NoteError: `checkpoint.signature`, a signature under its name and id is wrong.
        """
        good = False
        for raw in self._of(key):
            if not _verifies(key, raw, self.text):
                raise NoteError("checkpoint.signature", "its signature is wrong: the text or the signature changed")
            good = True
        return good

    def cosigned_by(self, key: Key) -> int | None:
        """Return when the witness `key` cosigned the text, in seconds since 1970; the latest of several, or None.

        Raises:
            NoteError: `witness.signature`, a cosignature under its name and id is wrong.
        """
        latest = None
        for raw in self._of(key):
            time = int.from_bytes(raw[:8], "big")
            message = b"cosignature/v1\ntime %d\n" % time + self.text
            if len(raw) != _STAMPED_BYTES or time >= 2**63 or not _verifies(key, raw[8:], message):
                raise NoteError("witness.signature", f"the cosignature of {key.label} is wrong")
            latest = max(time, latest or 0)
        return latest

    def _of(self, key: Key) -> Iterable[bytes]:
        return (raw[4:] for name, raw in self.signatures if name == key.name and raw[:4] == key.id)


@dataclass(frozen=True, slots=True)
class Head:
    """A signed tree head."""

    size: int
    root: bytes
    note: Note
    signers: tuple[Key, ...]  # of the keys that were asked about, those that signed it, in the order they were given


def read_key(vkey: str) -> Key:
    """Return the key of a log's vkey.

    Raises:
        VerifierKeyError: it is malformed, of another algorithm, or its id is not its own.
    """
    return _read_key(vkey, _ED25519, "a verifier key is name+id+key, as `missiongate init` wrote it")


def read_witness_key(vkey: str) -> Key:
    """Return the key of a witness's vkey, for cosignatures of version 1 with Ed25519.

    Raises:
        VerifierKeyError: as for `read_key`.
    """
    return _read_key(vkey, _COSIGNATURE, "a witness's verifier key is name+id+key")


def _read_key(vkey: str, kind: bytes, hint: str) -> Key:
    match = _VKEY.fullmatch(vkey.encode("utf-8", "surrogatepass"))  # which no key has
    if match is None:
        raise VerifierKeyError(hint)
    name, identity, encoded = match.groups()
    raw = b64decode(encoded)
    if b64encode(raw) != encoded or len(raw) != 1 + _KEY_BYTES or raw[:1] != kind:
        raise VerifierKeyError(f"the verifier key is no Ed25519 key of type 0x{kind.hex()}")
    digest = sha256(name + b"\n" + raw).digest()[:4]
    if digest.hex().encode() != identity:
        raise VerifierKeyError("the verifier key's id is not that of its name and key")
    return Key(name, digest, Ed25519PublicKey.from_public_bytes(raw[1:]), raw[1:])


def read_note(note: bytes) -> Note:
    """Split a signed note.

    Raises:
        NoteError: `checkpoint.malformed`.
    """
    signed = _SIGNED.fullmatch(note)
    if signed is None or len(note) > NOTE_BYTES_MAX or _CONTROL.search(note) is not None or not _is_utf8(note):
        raise NoteError("checkpoint.malformed", "it is not a signed note")
    text, block = signed.groups()
    return Note(text, tuple(map(_signature, block[:-1].split(b"\n"))))


def read_head(note: bytes, keys: Iterable[Key]) -> Head:
    """Return the tree head of a checkpoint that one of `keys`, all of one name, signed under that name.

    Raises:
        NoteError: `checkpoint.malformed`, `checkpoint.unsigned` (by none of them), `checkpoint.signature` (a wrong
            one), `checkpoint.origin`.
    """
    opened = read_note(note)
    asked = tuple(keys)
    signers = tuple(key for key in asked if opened.signed_by(key))
    if not signers:
        raise NoteError("checkpoint.unsigned", f"it is not signed by {' or '.join(key.label for key in asked)}")
    body = _CHECKPOINT.fullmatch(opened.text)
    if body is None:
        raise NoteError("checkpoint.malformed", "the signed text is no checkpoint")
    origin, size, encoded = body.groups()
    root = b64decode(encoded)
    if b64encode(root) != encoded or len(root) != HASH_BYTES or int(size) >= 2**63:
        raise NoteError("checkpoint.malformed", "its size or root hash is malformed")
    if origin != signers[0].name:
        raise NoteError("checkpoint.origin", f"it is of another log, {origin.decode()!r}")
    return Head(int(size), root, opened, signers)


def _signature(line: bytes) -> tuple[bytes, bytes]:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise NoteError("checkpoint.malformed", "a signature line is malformed")
    name, encoded = match.groups()
    if any(map(str.isspace, name.decode())):  # of any script; the pattern is of bytes, and knows ASCII's
        raise NoteError("checkpoint.malformed", "a key's name has a space")
    raw = b64decode(encoded)
    if b64encode(raw) != encoded:
        raise NoteError("checkpoint.malformed", "a signature is not in canonical base64")
    return name, raw


def _verifies(key: Key, signature: bytes, message: bytes) -> bool:
    try:
        key.public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
