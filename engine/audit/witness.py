"""Witnesses: what is asked of one, how its answer is read, and how cosignatures are counted. No I/O.

Source: C2SP tlog-witness (request, answers), C2SP tlog-cosignature (keys of type 0x04, the signed message), C2SP
signed-note (signature lines). Everything that comes from a witness has one spelling, and any other is refused.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from engine.audit.checkpoint import NOTE_BYTES_MAX, SIGNATURES_MAX, Checkpoint
from engine.audit.merkle import HASH_BYTES

ANSWER_BYTES_MAX: Final = NOTE_BYTES_MAX  # of any answer's body
PROOF_HASHES_MAX: Final = 63  # tlog-witness: the client must not send more
SIZE_TYPE: Final = "text/x.tlog.size"

_COSIGNATURE: Final = b"\x04"  # signed-note, signature type: timestamped Ed25519 cosignature
_BLOB_BYTES: Final = 4 + 8 + 64  # key id, timestamp, signature
_SECONDS_MAX: Final = 2**63 - 1
_SIZE_MAX: Final = 2**63 - 1
_NAME: Final = r"[!-*,-~]{1,255}"  # as of log keys: printable ASCII without space and plus
_VKEY: Final = re.compile(rf"({_NAME})\+([0-9a-f]{{8}})\+([A-Za-z0-9+/]{{44}})")
_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})\n")
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")  # signed-note: no control characters but LF

_OK, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 200, 403, 404, 409, 422


class WitnessAnswerError(ValueError):
    """An answer counts for nothing; the text says why, without what the witness wrote."""


class WitnessForkError(ValueError):
    """The witness knows another tree than this log's at a size that both have: the log was forked."""


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A witness's word, verified: at `seconds` since the epoch it had seen no larger tree of this log."""

    line: str  # the signature line, its LF included
    name: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The witness has seen another size than the one that the request went on from."""

    size: int


class WitnessKey:
    """The public half of a witness's key."""

    __slots__ = ("_key", "id", "name", "public")

    def __init__(self, name: str, public: bytes) -> None:
        """Take the 32 bytes of an Ed25519 public key."""
        self.name = name
        self.public = public
        self.id = _key_id(name, public)
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def __repr__(self) -> str:
        return f"WitnessKey({self.vkey()})"

    @classmethod
    def parse(cls, vkey: str) -> "WitnessKey":
        """Read `name+id+key`.

        Raises:
            ValueError: `vkey` is no C2SP verifier key of the type of Ed25519 cosignatures.
        """
        match = _VKEY.fullmatch(vkey)
        if match is None:
            raise ValueError("not a C2SP verifier key, name+id+key")
        name, raw_id, encoded = match.groups()
        raw = base64.b64decode(encoded, validate=True)
        if base64.b64encode(raw).decode() != encoded or raw[:1] != _COSIGNATURE:
            raise ValueError("not a key of a witness: its type is not 0x04, Ed25519 cosignatures")
        if _key_id(name, raw[1:]).hex() != raw_id:
            raise ValueError("the id is not that of this name and key")
        return cls(name, raw[1:])

    def vkey(self) -> str:
        """Return it as a C2SP verifier key."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_COSIGNATURE + self.public).decode()}"

    def verify(self, line: str, text: bytes) -> Cosignature | None:
        """Return the cosignature of a line for the text of a checkpoint; None: the line is another key's.

        Source: tlog-cosignature, "Ed25519 signed message".

        Raises:
            WitnessAnswerError: the line is malformed, or this key's and wrong.
        """
        name, blob = _read_line(line)
        if name != self.name or blob[:4] != self.id:
            return None
        seconds = int.from_bytes(blob[4:12], "big")
        if len(blob) != _BLOB_BYTES or seconds > _SECONDS_MAX:
            raise WitnessAnswerError("a cosignature has not the form of one")
        try:
            self._key.verify(blob[12:], b"cosignature/v1\ntime %d\n" % seconds + text)
        except InvalidSignature:
            raise WitnessAnswerError("a cosignature does not match the checkpoint") from None
        return Cosignature(line, name, seconds)


def request_body(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Return the body of `add-checkpoint`: `note` follows the tree of `old` events, as `proof` shows.

    Raises:
        ValueError: sizes or hashes that no request has.
    """
    if not 0 <= old <= _SIZE_MAX or len(proof) > PROOF_HASHES_MAX or (proof and not old):
        raise ValueError("not an old size and its consistency proof")
    if any(len(each) != HASH_BYTES for each in proof) or len(note) > NOTE_BYTES_MAX:
        raise ValueError("a hash is not 32 bytes, or the checkpoint is too large")
    lines = [b"old %d\n" % old, *(base64.b64encode(each) + b"\n" for each in proof), b"\n"]
    return b"".join(lines) + note


def read_answer(
    status: int, content_type: str, body: bytes, *, key: WitnessKey, old: int, note: bytes
) -> Cosignature | Conflict:
    """Return what a witness answers to `request_body(old, …, note)`.

    Args:
        status: of the HTTP response.
        content_type: its header, as it came.
        body: at most `ANSWER_BYTES_MAX` bytes.
        key: the witness's.
        old: the size that the request went on from.
        note: the checkpoint that was sent.

    Raises:
        WitnessAnswerError: it has not cosigned, or its answer is malformed.
        WitnessForkError: it has another tree at `old` (422), or at the checkpoint's own size (409, which is told from
            a size that does not match by having none).
    """
    text, _ = split_note(note)
    if status == _OK:
        return _cosignature(body, key, text)
    if status == _CONFLICT:
        return _conflict(content_type, body, old=old, size=Checkpoint.parse(text).size)
    if status == _UNPROCESSABLE and old:
        raise WitnessForkError(f"the consistency proof from {old} events on does not lead from the tree that it knows")
    raise WitnessAnswerError(
        {
            _FORBIDDEN: "it does not know the key that signs this log (403)",
            _NOT_FOUND: "it does not know this log (404)",
        }.get(status, f"it answers {status}")
    )


def split_note(note: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the signed text and the signature lines, each with its LF, of a note.

    Raises:
        WitnessAnswerError: it is no signed note, or over its bounds.
    """
    if len(note) > NOTE_BYTES_MAX:
        raise WitnessAnswerError(f"a note is over {NOTE_BYTES_MAX} bytes")
    text, separator, tail = _decode(note).rpartition("\n\n")
    lines = _lines(tail)
    if not separator:
        raise WitnessAnswerError("not a signed note")
    return (text + "\n").encode(), lines


def merge(note: bytes, cosignatures: Iterable[Cosignature]) -> bytes:
    """Return the note with those lines of cosignatures that it has not; each is taken as verified.

    Raises:
        WitnessAnswerError: it would have more than 64 signatures, or more than 64 KiB.
    """
    text, lines = split_note(note)
    merged = tuple(dict.fromkeys((*lines, *(each.line for each in cosignatures))))
    out = text + b"\n" + "".join(merged).encode()
    if len(merged) > SIGNATURES_MAX or len(out) > NOTE_BYTES_MAX:
        raise WitnessAnswerError("a note would have more signatures than readers take")
    return out


def cosigned_by(note: bytes, keys: Iterable[WitnessKey]) -> Mapping[str, Cosignature]:
    """Return the newest cosignature of each of the witnesses, by name, that have cosigned the note.

    The log's own signature is not looked at. Witnesses count once each, by name and by key.

    Raises:
        WitnessAnswerError: the note is malformed, or a line of one of the keys is wrong.
    """
    text, lines = split_note(note)
    found: dict[str, Cosignature] = {}
    for key in _distinct(keys):
        verified = [each for line in lines if (each := key.verify(line, text)) is not None]
        if verified:
            found[key.name] = max(verified, key=lambda each: each.seconds)
    return found


def _distinct(keys: Iterable[WitnessKey]) -> list[WitnessKey]:
    """Return the keys but those whose name or public key another has: one witness under two names has one voice."""
    names: set[str] = set()
    publics: set[bytes] = set()
    distinct = []
    for key in keys:
        if key.name not in names and key.public not in publics:
            distinct.append(key)
        names.add(key.name)
        publics.add(key.public)
    return distinct


def _cosignature(body: bytes, key: WitnessKey, text: bytes) -> Cosignature:
    """Return the newest cosignature by `key` of a body of signature lines; those of other keys are passed over."""
    if len(body) > ANSWER_BYTES_MAX:
        raise WitnessAnswerError(f"its answer is over {ANSWER_BYTES_MAX} bytes")
    verified = [each for line in _lines(_decode(body)) if (each := key.verify(line, text)) is not None]
    if not verified:
        raise WitnessAnswerError(f"its answer has no cosignature by {key.name}+{key.id.hex()}")
    return max(verified, key=lambda each: each.seconds)


def _conflict(content_type: str, body: bytes, *, old: int, size: int) -> Conflict:
    """Read a 409: another size, or, where the sizes are equal, another root."""
    if content_type.partition(";")[0].strip().lower() != SIZE_TYPE:
        if old == size:
            raise WitnessForkError(f"it knows another root of {size} events")
        raise WitnessAnswerError("it answers 409 without the size that it knows")
    match = _SIZE.fullmatch(body)
    if match is None or int(match[1]) > _SIZE_MAX:
        raise WitnessAnswerError("the size in its answer is malformed")
    known = int(match[1])
    if known != old:
        return Conflict(known)
    if old == size:
        raise WitnessForkError(f"it knows another root of {size} events")
    raise WitnessAnswerError("it answers 409 and the size that it was asked to go on from")


def _lines(tail: str) -> tuple[str, ...]:
    """Return signature lines, each with its LF.

    Raises:
        WitnessAnswerError: none, more than 64, a last one without LF, or one that is none.
    """
    *lines, rest = tail.split("\n")
    if rest or not 0 < len(lines) <= SIGNATURES_MAX:
        raise WitnessAnswerError("not 1 to 64 signature lines")
    whole = tuple(f"{line}\n" for line in lines)
    for line in whole:
        _read_line(line)
    return whole


def _read_line(line: str) -> tuple[str, bytes]:
    """Return key name, and key id with signature."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise WitnessAnswerError("a signature line is malformed")
    try:
        blob = base64.b64decode(match[2], validate=True)
    except ValueError:
        raise WitnessAnswerError("a signature is not in base64") from None
    if base64.b64encode(blob).decode() != match[2] or len(blob) <= 4:  # noqa: PLR2004 - the key id, and something
        raise WitnessAnswerError("a signature is not in canonical base64")
    return match[1], blob


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise WitnessAnswerError("not UTF-8") from None
    if _CONTROL.search(text) is not None:
        raise WitnessAnswerError("control characters")
    return text


def _key_id(name: str, public: bytes) -> bytes:
    """Source: tlog-cosignature, "Format"."""
    return hashlib.sha256(name.encode() + b"\n" + _COSIGNATURE + public).digest()[:4]
