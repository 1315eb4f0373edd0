"""Checkpoints: a tree head as a signed note, in bytes that the tools of transparency logs read.

Source: C2SP tlog-checkpoint (the text), C2SP signed-note (the signatures).
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

from engine.audit.keys import Signer, VerifierKey
from engine.audit.merkle import HASH_BYTES

NOTE_BYTES_MAX: Final = 65_536
SIGNATURES_MAX: Final = 64
_SIZE_MAX: Final = 2**63 - 1
_TEXT: Final = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]+={0,2})\n((?:[^\n]+\n)*)")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")  # signed-note: no control characters but LF
_SIGNATURE_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class CheckpointError(ValueError):
    """Bytes are no checkpoint, or not one of this key; the text says why."""


class NoteUnsignedError(CheckpointError):
    """A signed note that this key has not signed; others may have."""


class NoteSignatureError(CheckpointError):
    """A signature under this key's name and id does not match the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint says: the first `size` events of `origin` hash to `root`."""

    origin: str
    size: int
    root: bytes  # 32 bytes

    def text(self) -> bytes:
        """Return the three lines that are signed, the last LF included."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Read the signed text; extension lines are allowed and not looked at.

        Raises:
            CheckpointError: the text is no checkpoint, or not in the one spelling of its values.
        """
        match = _TEXT.fullmatch(_decode(text))
        if match is None or int(match[2]) > _SIZE_MAX:
            raise CheckpointError("not a checkpoint: origin, size, root hash")
        root = _base64(match[3])
        if len(root) != HASH_BYTES:
            raise CheckpointError("the root hash has not 32 bytes")
        return cls(origin=match[1], size=int(match[2]), root=root)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer, key: VerifierKey) -> bytes:
    """Return the signed note. `key` is the signer's public half, parsed once by the caller."""
    return sign_note(checkpoint.text(), signer, key)


def sign_note(text: bytes, signer: Signer, key: VerifierKey) -> bytes:
    """Return `text`, which ends in LF, with a signature. Source: C2SP signed-note."""
    return text + b"\n" + signature_line(text, signer, key)


def signature_line(text: bytes, signer: Signer, key: VerifierKey) -> bytes:
    """Return one signature of `text` as a note carries it, its LF included."""
    blob = base64.b64encode(key.id + signer.sign(text)).decode()
    return f"— {key.name} {blob}\n".encode()


def open_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint of a note that `key` signed and whose origin is the key's name.

    Raises:
        CheckpointError: malformed, not signed by `key`, or of another origin.
    """
    checkpoint = Checkpoint.parse(open_note(note, key))
    if checkpoint.origin != key.name:
        raise CheckpointError(f"the origin is {checkpoint.origin!r}, not {key.name!r}")
    return checkpoint


def open_note(note: bytes, key: VerifierKey) -> bytes:
    """Return the text of a note that `key` signed. Signatures of other keys are ignored, as the standard wants.

    Raises:
        CheckpointError: malformed; NoteUnsignedError, not signed by `key`; NoteSignatureError, a wrong signature.
    """
    text, lines = _split(note)
    verified = False
    for line in lines:
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise CheckpointError("malformed signature line")
        blob = _base64(match[2])
        if match[1] != key.name or blob[:4] != key.id:
            continue
        if not key.verifies(blob[4:], text.encode()):
            raise NoteSignatureError("the signature does not match")
        verified = True
    if not verified:
        raise NoteUnsignedError(f"not signed by {key.name}+{key.id.hex()}")
    return text.encode()


def note_text(note: bytes) -> bytes:
    """Return the text of a note, whoever signed it.

    Raises:
        CheckpointError: it is no signed note.
    """
    return _split(note)[0].encode()


def _split(note: bytes) -> tuple[str, list[str]]:
    """Return the text of a note, its last LF included, and its signature lines, without LF."""
    if len(note) > NOTE_BYTES_MAX:
        raise CheckpointError(f"over {NOTE_BYTES_MAX} bytes")
    text, separator, tail = _decode(note).rpartition("\n\n")
    *lines, rest = tail.split("\n")
    if not separator or rest or not 0 < len(lines) <= SIGNATURES_MAX:
        raise CheckpointError("not a signed note")
    return text + "\n", lines


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError("not UTF-8") from error
    if _CONTROL.search(text) is not None:
        raise CheckpointError("control characters")
    return text


def _base64(text: str) -> bytes:
    """Decode only the canonical spelling: `b64decode` alone also reads others of the same bytes."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise CheckpointError("malformed base64") from error
    if base64.b64encode(raw).decode() != text:
        raise CheckpointError("malformed base64")
    return raw
