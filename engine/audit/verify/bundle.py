"""The verification of an exported bundle: docs/audit-format.md, section 11."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from engine.audit.verify.event import Signed, check_event
from engine.audit.verify.line import KEY_ROTATED, LINE_BYTES_MAX, Lines
from engine.audit.verify.note import NOTE_BYTES_MAX, Head, VerifierKeyError, read_key
from engine.audit.verify.proof import PROOF_BYTES_MAX
from engine.audit.verify.report import BadEvent, VerificationReport
from engine.audit.verify.rotation import KeyChain, check_rotations, read_chain
from engine.audit.verify.segments import numbered, read_bounded
from engine.audit.verify.verdict import Verdict
from engine.audit.verify.witness import read_quorum

MANIFEST: Final = "manifest.json"
FORMAT: Final = "missiongate audit bundle v1"
EVENTS_MAX: Final = 100_000
_MANIFEST_BYTES_MAX: Final = 65_536
_SMALL_BYTES_MAX: Final = 4_096
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_FIELDS: Final = {
    "format": str, "origin": str, "created": str, "filter": str, "first": int, "end": int, "complete": bool,
    "events": int, "events_sha256": str, "size": int, "vkey": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What a bundle says of itself, without being believed."""

    origin: str
    first: int
    end: int
    complete: bool
    events: int
    events_sha256: str
    size: int
    vkey: str


def verify_bundle(
    directory: Path,
    vkey: str,
    *,
    checkpoint: bytes | Sequence[bytes] = (),
    witnesses: Sequence[str] = (),
    witnesses_required: int | None = None,
) -> VerificationReport:
    """Verify a bundle against the log's key, without network and without its log.

    Args:
        directory: the bundle.
        vkey: any key that the log has had, from elsewhere than from the bundle.
        checkpoint: checkpoints from outside; at the same size they have to have the same root, and one of another size
            is refused, since a bundle says nothing about it.
        witnesses: as of `verify_log`; the bundle's `checkpoint` has to have their cosignatures.
        witnesses_required: as of `verify_log`.

    Raises:
        VerifierKeyError: `vkey` or one of `witnesses` is no verifier key.
        QuorumError: so many of these witnesses cannot be required.
    """
    key, quorum = read_key(vkey), read_quorum(witnesses, witnesses_required)
    signed = Signed(key, quorum, "bundle", KeyChain((key,), ()))
    outside = (checkpoint,) if isinstance(checkpoint, bytes) else tuple(checkpoint)
    try:
        manifest = _verify(signed, directory, outside)
    except Verdict as verdict:
        return signed.report(verdict.code, verdict.message, verdict.bad)
    except OSError as error:
        return signed.report("bundle.unreadable", f"the bundle cannot be read: {error}")
    if manifest.complete:
        return signed.report("ok", f"these are all events from {manifest.first} to {manifest.end - 1}, unchanged")
    return signed.report("ok", "each of these events is in the log, unchanged; whether all are here is not shown")


def _verify(signed: Signed, directory: Path, outside: Sequence[bytes]) -> _Manifest:
    # (1) What the bundle says of itself.
    manifest = _read_manifest(directory / MANIFEST)
    # (2) The chain of keys, and the checkpoint: signed by a key of the chain, and by the witnesses that are asked for.
    notes = {seq: read_bounded(path, NOTE_BYTES_MAX) for seq, path in numbered(directory / "rotations", "note").items()}
    signed.chain = read_chain(signed.key, notes)
    note = read_bounded(directory / "checkpoint", NOTE_BYTES_MAX)
    head = signed.read(note, outside)
    # (3) The copies for openssl are of this checkpoint and this key.
    _check_copies(signed, directory, head, manifest)
    # (4) Each event is in canonical form, in its order, in the tree; neighbours are chained.
    lines, seqs, digest = Lines(), [], sha256()
    proofs = iter(numbered(directory / "proofs", "tlog-proof").items())
    for number, line in enumerate(_event_lines(directory / "events.jsonl"), start=1):
        named, path = next(proofs, (-1, None))
        if path is None:
            raise Verdict("bundle.mismatch", f"line {number} of events.jsonl has no proof")
        proof = read_bounded(path, PROOF_BYTES_MAX)
        where = ("events.jsonl", number)
        seqs.append(check_event(signed, lines, proof, line, where, named=named, checkpoint=note))
        digest.update(line + b"\n")
    if next(proofs, None) is not None:
        raise Verdict("bundle.mismatch", f"there are more proofs than the {len(seqs)} events")
    # (5) The selection is what the manifest says, and each rotation what its event says, where that is here.
    _check_selection(manifest, head, seqs, digest.hexdigest())
    rotated = [event for event in lines.log_events if event.event_type == KEY_ROTATED]
    check_rotations(signed.chain, rotated, head.size, set(seqs).__contains__)
    signed.complete = manifest.complete
    return manifest


def _read_manifest(path: Path) -> _Manifest:
    raw = read_bounded(path, _MANIFEST_BYTES_MAX)
    try:
        pairs = json.loads(raw.decode(), object_pairs_hook=tuple) if len(raw) <= _MANIFEST_BYTES_MAX else None
    except (ValueError, RecursionError):
        pairs = None
    # An object comes as a tuple of pairs, so that a field given twice is one too many. Not isinstance: a boolean is an
    # integer to that.
    if type(pairs) is not tuple or [(name, type(value)) for name, value in pairs] != list(_FIELDS.items()):
        raise Verdict("bundle.malformed", "manifest.json has not the fields of a manifest")
    fields = dict(pairs)
    if fields["format"] != FORMAT or _TIME.fullmatch(fields["created"]) is None:
        raise Verdict("bundle.malformed", f"manifest.json is not of {FORMAT}")
    if not 0 <= fields["first"] <= fields["end"] <= fields["size"]:
        raise Verdict("bundle.malformed", "manifest.json names no range of the log")
    return _Manifest(**{name: fields[name] for name in _Manifest.__slots__})


def _check_copies(signed: Signed, directory: Path, head: Head, manifest: _Manifest) -> None:
    """Require that what openssl is shown, and the key that people read, are those of the checkpoint."""
    key_file = read_bounded(directory / "verifier-key", _SMALL_BYTES_MAX)
    try:
        key = read_key(manifest.vkey)
        pem = load_pem_public_key(read_bounded(directory / "verifier-key.pem", _SMALL_BYTES_MAX))
    except (VerifierKeyError, ValueError, UnsupportedAlgorithm):
        raise Verdict("bundle.mismatch", "the bundle's key is malformed") from None
    if key.raw not in {signer.raw for signer in head.signers} or key_file != manifest.vkey.encode() + b"\n":
        raise Verdict("bundle.mismatch", "verifier-key is not the key that signed the checkpoint")
    if not isinstance(pem, Ed25519PublicKey) or pem.public_bytes_raw() != key.raw:
        raise Verdict("bundle.mismatch", "verifier-key.pem is another key")
    if read_bounded(directory / "checkpoint.body", NOTE_BYTES_MAX) != head.note.text:
        raise Verdict("bundle.mismatch", "checkpoint.body is not the text of checkpoint")
    signature = read_bounded(directory / "checkpoint.sig", _SMALL_BYTES_MAX)
    if (key.name, key.id + signature) not in head.note.signatures:
        raise Verdict("bundle.mismatch", "checkpoint.sig is not the signature of checkpoint")
    if (manifest.origin, manifest.size) != (signed.key.name.decode(), head.size):
        raise Verdict("bundle.mismatch", "manifest.json is of another log, or of another size")


def _event_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines, without LF."""
    read_bounded(path, 0)  # which refuses a pipe
    with path.open("rb") as file:
        for number in range(EVENTS_MAX + 1):
            line = file.readline(LINE_BYTES_MAX + 2)
            if not line:
                return
            if not line.endswith(b"\n") or number == EVENTS_MAX:
                bad = BadEvent(seq=-1, file=path.name, line=number + 1, reason="it is torn, too long, or one too many")
                raise Verdict("event.bad", f"line {number + 1} of {path.name} is torn, too long, or one too many", bad)
            yield line[:-1]


def _check_selection(manifest: _Manifest, head: Head, seqs: Sequence[int], digest: str) -> None:
    if (manifest.events, manifest.events_sha256) != (len(seqs), digest) or manifest.end > head.size:
        raise Verdict("bundle.mismatch", "manifest.json counts other events")
    if any(not manifest.first <= seq < manifest.end for seq in seqs):
        raise Verdict("bundle.mismatch", "an event is outside of the range that the manifest names")
    # They ascend, since their proofs do, so a range without a gap has as many. It may be huge: it is never laid out.
    if manifest.complete and len(seqs) != manifest.end - manifest.first:
        present = set(seqs)
        gap = next(seq for seq in range(manifest.first, manifest.end) if seq not in present)
        bad = BadEvent(seq=gap, file="events.jsonl", line=gap - manifest.first + 1, reason="the event is missing")
        raise Verdict("bundle.incomplete", f"event {gap} is missing from what is said to be complete", bad)
