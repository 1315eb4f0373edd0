"""The verifier's reading of seals: what the log keeps of a segment that is closed."""

import re
from dataclasses import dataclass
from typing import Final

from engine.audit.verify.note import NOTE_BYTES_MAX, Head, NoteError, read_head
from engine.audit.verify.proof import PATH_HASHES_MAX, ProofError, decode_hashes
from engine.audit.verify.rotation import KeyChain
from engine.audit.verify.verdict import Verdict

SEAL_BYTES_MAX: Final = NOTE_BYTES_MAX + 16_384
_NUMBER: Final = rb"(0|[1-9][0-9]{0,18})"
_SEAL: Final = re.compile(
    rb"missiongate audit seal v1\nfirst " + _NUMBER + rb"\nsize " + _NUMBER + rb"\nbytes " + _NUMBER
    + rb"\nsha256 ([0-9a-f]{64})\n((?:frontier [A-Za-z0-9+/]{43}=\n)+)((?:path [A-Za-z0-9+/]{43}=\n)*)\n(.+)",
    re.DOTALL,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seal:
    """Segment `first` ends before event `size`, where the tree had this frontier and the log signed `head`."""

    first: int
    size: int
    size_bytes: int  # of the segment file
    sha256: str  # of the segment file, hex
    frontier: tuple[bytes, ...]
    path: tuple[bytes, ...]  # of event `size - 1`
    head: Head


def read_seal(raw: bytes, first: int, chain: KeyChain) -> Seal:
    """Return a seal, filed under `first`, whose checkpoint a key of the chain signed.

    Raises:
        Verdict: `seal.malformed`, `seal.signature`, and as the checkpoint `seal.unsigned`, `seal.origin`.
    """
    where = f"seals/{first:020d}.seal"
    match = _SEAL.fullmatch(raw) if len(raw) <= SEAL_BYTES_MAX else None
    if match is None:
        raise Verdict("seal.malformed", f"{where} is no seal")
    number, size, length, digest, frontier, path, note = match.groups()
    try:
        head = read_head(note, chain.keys)
        seal = Seal(int(number), int(size), int(length), digest.decode(), _hashes(frontier), _hashes(path), head)
    except NoteError as error:
        raise Verdict(error.code.replace("checkpoint.", "seal."), f"{where}: {error}") from None
    except ProofError as error:
        raise Verdict("seal.malformed", f"{where}: {error}") from None
    if seal.first != first or not first < seal.size or head.size != seal.size or len(seal.path) > PATH_HASHES_MAX:
        raise Verdict("seal.malformed", f"{where} is of another segment, or its numbers do not fit")
    return seal


def _hashes(lines: bytes) -> tuple[bytes, ...]:
    return decode_hashes([line.partition(b" ")[2] for line in lines.split(b"\n")[:-1]])
