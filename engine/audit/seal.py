"""Seals: what a closed segment is, so that a start goes on from its end and need not read what lies before.

A seal proves itself. The checkpoint in it is signed; the frontier hashes to its root; the path ties the last line of
the segment, and with it the end of the chain, to the same root. docs/audit-format.md, section 7, has the bytes.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError
from engine.audit.errors import AuditTamperedError
from engine.audit.merkle import HASH_BYTES, Frontier, leaf_hash
from engine.audit.proofs import root_of_path
from engine.audit.record import LINE_BYTES_MAX, Record, RecordError, unseal
from engine.audit.segment import segment_name

SEALS: Final = "seals"
_HASHES_MAX: Final = 64
_SEAL_BYTES_MAX: Final = NOTE_BYTES_MAX + 16_384
_B64: Final = rb"[A-Za-z0-9+/]{43}="
_SEAL: Final = re.compile(
    rb"missiongate audit seal v1\n"
    rb"first (0|[1-9][0-9]{0,18})\nsize ([1-9][0-9]{0,18})\nbytes ([1-9][0-9]{0,18})\nsha256 ([0-9a-f]{64})\n"
    rb"((?:frontier " + _B64 + rb"\n){1,64})((?:path " + _B64 + rb"\n){0,64})\n(.+)",
    re.DOTALL,
)
_NAME: Final = re.compile(r"([0-9]{20})\.seal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A closed segment: events `first` to `size` - 1."""

    first: int
    size: int  # events of the log at its end
    size_bytes: int  # of the segment file
    sha256: str  # of the segment file, hex
    frontier: tuple[bytes, ...]  # of the tree of `size`
    path: tuple[bytes, ...]  # of event `size` - 1 in it
    note: bytes  # the signed checkpoint of `size`

    def text(self) -> bytes:
        """Return the file's content."""
        head = f"first {self.first}\nsize {self.size}\nbytes {self.size_bytes}\nsha256 {self.sha256}\n"
        rows = _rows("frontier", self.frontier) + _rows("path", self.path)
        return f"missiongate audit seal v1\n{head}{rows}\n".encode() + self.note

    @classmethod
    def parse(cls, text: bytes) -> "Seal":
        """Read a file's content.

        Raises:
            ValueError: it is no seal.
        """
        match = _SEAL.fullmatch(text)
        if match is None or len(text) > _SEAL_BYTES_MAX:
            raise ValueError("not a seal")
        first, size, count, sha256, frontier, path, note = match.groups()
        if int(first) >= int(size):
            raise ValueError("a seal of nothing")
        return cls(
            first=int(first),
            size=int(size),
            size_bytes=int(count),
            sha256=sha256.decode(),
            frontier=_hashes(frontier),
            path=_hashes(path),
            note=note,
        )


def seal_name(first: int) -> str:
    """Return the file name of the seal of the segment that begins at `first`."""
    return f"{first:020d}.seal"


def list_seals(directory: Path) -> list[int]:
    """Return the first seqs of the sealed segments, in order.

    Raises:
        AuditTamperedError: the folder holds something else.
    """
    folder = directory / SEALS
    found = []
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.append(int(match[1]))
        elif not path.name.endswith(".tmp"):  # which a crash leaves of a seal on its way to its name
            raise AuditTamperedError(f"{path} is no seal")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEnd:
    """Where a start goes on: the tree and the last event at the end of a sealed segment."""

    seal: Seal
    tree: Frontier
    line: bytes  # the last one, without LF
    last: Record  # the same


def read_seal(directory: Path, first: int) -> Seal:
    """Read the seal of the segment that begins at `first`.

    Raises:
        AuditTamperedError: it is none, or another segment's.
        OSError: it cannot be read.
    """
    path = directory / SEALS / seal_name(first)
    with path.open("rb") as file:
        text = file.read(_SEAL_BYTES_MAX + 1)
    try:
        seal = Seal.parse(text)
    except ValueError as error:
        raise AuditTamperedError(f"{path}: {error}") from error
    if seal.first != first:
        raise AuditTamperedError(f"{path}: the seal of another segment")
    return seal


def sealed_end(directory: Path, first: int, opens: Callable[[bytes], Checkpoint]) -> SealedEnd:
    """Read the seal of the segment that begins at `first`, and check all that it proves.

    `opens` returns the checkpoint of a note that the log has signed, and raises CheckpointError for any other.

    Raises:
        AuditTamperedError: the seal is none, was not signed, or is not of this segment.
        OSError: it cannot be read.
    """
    path = directory / SEALS / seal_name(first)
    seal = read_seal(directory, first)
    try:
        signed = opens(seal.note)
        tree = Frontier.restore(seal.size, seal.frontier)
    except (CheckpointError, ValueError) as error:
        raise AuditTamperedError(f"{path}: {error}") from error
    if signed.size != seal.size or tree.root() != signed.root:
        raise AuditTamperedError(f"{path}: not the seal of what was signed")
    line = last_line_of(directory / "segments" / segment_name(first), seal.size_bytes)
    try:
        last = unseal(line)
    except RecordError as error:
        raise AuditTamperedError(f"{path}: the segment's last line: {error}") from error
    if last.seq != seal.size - 1 or root_of_path(leaf_hash(line), last.seq, seal.size, seal.path) != signed.root:
        raise AuditTamperedError(f"{path}: the segment's last line is not the one that was signed")
    return SealedEnd(seal=seal, tree=tree, line=line, last=last)


def last_line_of(path: Path, size: int) -> bytes:
    """Return the last line of a segment file of `size` bytes, without LF.

    Raises:
        AuditTamperedError: the file is missing, or of another size.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) != size:
                raise AuditTamperedError(f"{path} has not the {size} bytes that were sealed")
            file.seek(max(0, size - LINE_BYTES_MAX - 2))
            end = file.read()
    except FileNotFoundError as error:
        raise AuditTamperedError(f"{path} is missing, and nothing was sealed after it") from error
    return end.removesuffix(b"\n").rpartition(b"\n")[2]


def _rows(name: str, hashes: Sequence[bytes]) -> str:
    return "".join(f"{name} {b64encode(each).decode()}\n" for each in hashes)


def _hashes(rows: bytes) -> tuple[bytes, ...]:
    found = []
    for row in rows.split(b"\n")[:-1]:
        encoded = row.partition(b" ")[2]
        raw = b64decode(encoded)
        if b64encode(raw) != encoded or len(raw) != HASH_BYTES:
            raise ValueError("a hash is not in its one spelling")
        found.append(raw)
    return tuple(found)
