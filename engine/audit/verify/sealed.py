"""Segments in order, from wherever they are: the log, the archive, or nothing but the hashes of what was pruned."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from engine.audit.verify.line import PRUNED, LogEvent
from engine.audit.verify.note import HASH_BYTES
from engine.audit.verify.proof import ProofError, check_inclusion
from engine.audit.verify.reading import Reading
from engine.audit.verify.seal import Seal
from engine.audit.verify.segments import SegmentFile, read_bounded
from engine.audit.verify.verdict import Verdict

_LEAVES_BYTES_MAX: Final = 2**30  # 32 million events in one segment
_PRUNED_FIELDS: Final = {"first", "size", "sha256", "leaves_sha256", "archived", "reason"}


@dataclass(slots=True)
class Pieces:
    """What a log is made of; `segments` and `archived` by their first seq."""

    directory: Path
    segments: dict[int, SegmentFile]
    archived: dict[int, SegmentFile]
    seals: Mapping[int, Seal]
    closed: frozenset[int]  # segments that have to have a seal
    gone: list[tuple[Seal, str]] = field(default_factory=list)  # pruned segments, with the digest of their leaf hashes


def read_pieces(reading: Reading, pieces: Pieces) -> None:
    """Read all segments, each up to the next, and hold each seal against what was read.

    Raises:
        Verdict: `event.bad`, `event.missing`, `root.mismatch`, `seal.mismatch`, `seal.missing`, `tree.missing`,
            `tree.mismatch`.
        OSError: a file cannot be read.
    """
    for first in sorted(pieces.closed - pieces.seals.keys()):
        raise Verdict("seal.missing", f"segments/{first:020d}.jsonl is closed, and has no seal")
    begun, name, number = False, "segments", 0
    waiting, seals = dict(pieces.segments), dict(pieces.seals)
    while (seq := reading.lines.seq) in waiting or seq in seals:
        seal = seals.pop(seq, None)
        segment = waiting.pop(seq, None) or pieces.archived.get(seq)  # what is archived was sealed before
        if segment is not None:
            begun, name = begun or not segment.archived, segment.name
            _read_segment(reading, pieces.directory, segment, seal)
        elif seal is not None and not begun:
            _read_pruned(reading, pieces, seal)
        else:
            raise reading.misplaced(f"segments/{seq:020d}.jsonl")
        number = reading.lines.seq - seq
    if waiting:
        raise reading.misplaced(waiting[min(waiting)].name)
    if reading.lines.seq < reading.size:
        raise reading.missing(name, number + 1)
    if seals:
        raise Verdict("seal.mismatch", f"seals/{min(seals):020d}.seal is of no segment")


def check_pruned(pieces: Pieces, events: list[LogEvent]) -> None:
    """Require that the log says of each segment that is gone that it was pruned, and which it was.

    An event that says so may be pruned in its turn. So the newest gone segment needs its event, which is here; the log
    prunes the oldest first, so this event allows for the older ones. Where theirs are here, they have to agree.

    Raises:
        Verdict: `prune.missing`, `prune.mismatch`.
    """
    told: dict[int, list[LogEvent]] = {}
    for event in events:
        first = event.details.get("first")
        if event.event_type == PRUNED and type(first) is int:
            told.setdefault(first, []).append(event)
    for seal, leaves_sha256 in pieces.gone:
        said = told.get(seal.first, [])
        if not said and seal is pieces.gone[-1][0]:
            raise Verdict("prune.missing", f"events {seal.first} to {seal.size - 1} are gone, and none tells of it")
        for event in said:
            if not _tells_of(event, seal, leaves_sha256):
                raise Verdict("prune.mismatch", f"event {event.seq} tells of another segment than seal {seal.first}")


def _tells_of(event: LogEvent, seal: Seal, leaves_sha256: str) -> bool:
    details = event.details
    said = (details.get("size"), details.get("sha256"), details.get("leaves_sha256"))
    return (
        details.keys() - {"clock_raw"} == _PRUNED_FIELDS
        and said == (seal.size, seal.sha256, leaves_sha256)
        and event.target == f"segments/{seal.first:020d}.jsonl"
        and event.seq >= seal.size
    )


def _read_segment(reading: Reading, directory: Path, segment: SegmentFile, seal: Seal | None) -> None:
    reading.tree.tiles.clear()
    with _digest_beside(segment.path, seal) as digest:
        covered_bytes, leaves_sha256 = reading.read_segment(segment)
        if seal is None:
            return
        read = (reading.lines.seq, covered_bytes, digest.result() if digest is not None else "")
        if read != (seal.size, seal.size_bytes, seal.sha256):
            raise Verdict("seal.mismatch", f"seals/{seal.first:020d}.seal is not of what is in {segment.name}")
    _check_seal(reading, seal)
    leaves = _tree_file(directory, seal.first, "leaves")
    if leaves.stat().st_size != HASH_BYTES * (seal.size - seal.first) or file_sha256(leaves) != leaves_sha256:
        raise Verdict("tree.mismatch", f"tree/{seal.first:020d}.leaves are not the hashes of {segment.name}")
    _check_tiles(reading, directory, seal)


def _read_pruned(reading: Reading, pieces: Pieces, seal: Seal) -> None:
    path, size_bytes = _tree_file(pieces.directory, seal.first, "leaves"), HASH_BYTES * (seal.size - seal.first)
    leaves = read_bounded(path, size_bytes) if path.stat().st_size == size_bytes <= _LEAVES_BYTES_MAX else b""
    if len(leaves) != size_bytes:
        raise Verdict("tree.mismatch", f"tree/{seal.first:020d}.leaves has not one hash for each event")
    reading.tree.tiles.clear()
    reading.read_leaves(leaves, seal.size)
    if reading.tree.root() != seal.head.root:
        raise Verdict("tree.mismatch", f"tree/{seal.first:020d}.leaves are not those that the key signed")
    _check_seal(reading, seal)
    _check_tiles(reading, pieces.directory, seal)
    pieces.gone.append((seal, sha256(leaves).hexdigest()))


def _check_seal(reading: Reading, seal: Seal) -> None:
    root = reading.tree.root()
    if root != seal.head.root:
        raise Verdict(
            "root.mismatch", f"the events up to {seal.size - 1} are consistent, but not those that the key signed then"
        )
    if reading.tree.frontier() != seal.frontier:
        raise Verdict("seal.mismatch", f"seals/{seal.first:020d}.seal has another frontier")
    try:
        check_inclusion(index=seal.size - 1, size=seal.size, leaf=reading.last_leaf, path=seal.path, root=root)
    except ProofError as error:
        raise Verdict("seal.mismatch", f"seals/{seal.first:020d}.seal: {error}") from None


def _check_tiles(reading: Reading, directory: Path, seal: Seal) -> None:
    roots = b"".join(reading.tree.tiles)
    if read_bounded(_tree_file(directory, seal.first, "roots"), len(roots)) != roots:
        raise Verdict("tree.mismatch", f"tree/{seal.first:020d}.roots are not those of the leaves")


def _tree_file(directory: Path, first: int, extension: str) -> Path:
    path = directory / "tree" / f"{first:020d}.{extension}"
    if path.is_symlink() or not path.is_file():
        raise Verdict("tree.missing", f"tree/{path.name} is not there, and its segment is sealed")
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def _digest_beside(path: Path, seal: Seal | None) -> Iterator[Future[str] | None]:
    """Hash a file in another thread while its lines are checked: hashing does not hold the interpreter.

    One that has not its seal's size is not what was sealed, and may have a hole of any size: it is not hashed.
    """
    if seal is None or path.stat().st_size != seal.size_bytes:
        yield None
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(file_sha256, path)
