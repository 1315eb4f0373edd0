"""The verifier's reading of verifier keys, signed notes and checkpoints, on bytes.

Source: C2SP signed-note, C2SP tlog-checkpoint.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from engine.errors import RefusalError

NOTE_BYTES_MAX: Final = 65_536
_B64: Final = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_VKEY: Final = re.compile(rb"([!-*,-~]{1,255})\+([0-9a-f]{8})\+(" + _B64 + rb")")
_CHECKPOINT: Final = re.compile(rb"([^\n]+)\n(0|[1-9][0-9]{0,18})\n(" + _B64 + rb")\n(?:[^\n]+\n)*")
_SIGNED: Final = re.compile(rb"(.*\n)\n((?:\xe2\x80\x94 [^\n]+\n){1,64})", re.DOTALL)  # the dash is U+2014
_SIGNATURE: Final = re.compile(rb"\xe2\x80\x94 ([^ +]+) (" + _B64 + rb")")
_CONTROL: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ROOT_BYTES: Final = 32


class VerifierKeyError(RefusalError):
    """The verifier key is no C2SP Ed25519 key, `name+id+key`."""

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


@dataclass(frozen=True, slots=True)
class Head:
    """A signed tree head."""

    size: int
    root: bytes


def read_key(vkey: str) -> Key:
    """Return the key of a vkey.

    Raises:
        VerifierKeyError: it is malformed, of another algorithm, or its id is not its own.
    """
    match = _VKEY.fullmatch(vkey.encode("utf-8", "replace"))
    if match is None:
        raise VerifierKeyError("a verifier key is name+id+key, as `missiongate init` wrote it, or from GetVerifierKeys")
    name, identity, encoded = match.groups()
    raw = b64decode(encoded)
    if b64encode(raw) != encoded or len(raw) != 1 + _KEY_BYTES or raw[:1] != _ED25519:
        raise VerifierKeyError("the verifier key is no Ed25519 key of type 0x01")
    digest = sha256(name + b"\n" + raw).digest()[:4]
    if digest.hex().encode() != identity:
        raise VerifierKeyError("the verifier key's id is not that of its name and key")
    return Key(name, digest, Ed25519PublicKey.from_public_bytes(raw[1:]))


def read_head(note: bytes, key: Key) -> Head:
    """Return the tree head of a checkpoint that `key` signed under its own name.

    Raises:
        NoteError: `checkpoint.malformed`, `checkpoint.unsigned` (not by this key), `checkpoint.signature` (a wrong
            one), `checkpoint.origin`.
    """
    signed = _SIGNED.fullmatch(note)
    if signed is None or len(note) > NOTE_BYTES_MAX or _CONTROL.search(note) is not None or not _is_utf8(note):
        raise NoteError("checkpoint.malformed", "it is not a signed note")
    text, block = signed.groups()
    _check_signatures(text, block, key)
    body = _CHECKPOINT.fullmatch(text)
    if body is None:
        raise NoteError("checkpoint.malformed", "the signed text is no checkpoint")
    origin, size, encoded = body.groups()
    root = b64decode(encoded)
    if b64encode(root) != encoded or len(root) != _ROOT_BYTES or int(size) >= 2**63:
        raise NoteError("checkpoint.malformed", "its size or root hash is malformed")
    if origin != key.name:
        raise NoteError("checkpoint.origin", f"it is of another log, {origin.decode()!r}")
    return Head(int(size), root)


def _check_signatures(text: bytes, block: bytes, key: Key) -> None:
    """Require a good signature by `key`, and no wrong one under its name and id; other keys' lines are passed over."""
    good = False
    for line in block[:-1].split(b"\n"):
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise NoteError("checkpoint.malformed", "a signature line is malformed")
        name, encoded = match.groups()
        if any(map(str.isspace, name.decode())):  # of any script; the pattern is of bytes, and knows ASCII's
            raise NoteError("checkpoint.malformed", "a key's name has a space")
        raw = b64decode(encoded)
        if b64encode(raw) != encoded:
            raise NoteError("checkpoint.malformed", "a signature is not in canonical base64")
        if name != key.name or raw[:4] != key.id:
            continue
        try:
            key.public.verify(raw[4:], text)
        except InvalidSignature:
            raise NoteError(
                "checkpoint.signature", "its signature is wrong: the text or the signature changed"
            ) from None
        good = True
    if not good:
        raise NoteError("checkpoint.unsigned", f"it is not signed by {key.name.decode()}+{key.id.hex()}")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
