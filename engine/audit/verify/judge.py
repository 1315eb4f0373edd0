"""The verification of a log, as numbered steps."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from engine.audit.verify.line import KEY_ROTATED
from engine.audit.verify.note import NOTE_BYTES_MAX, Head, Key, NoteError, read_head, read_key
from engine.audit.verify.reading import CRASH_BYTES_MAX, CRASH_EVENTS_MAX, OnLines, Reading
from engine.audit.verify.report import BadEvent, VerificationReport
from engine.audit.verify.rotation import ROTATIONS_MAX, KeyChain, check_rotations, read_chain
from engine.audit.verify.seal import SEAL_BYTES_MAX, Seal, read_seal
from engine.audit.verify.sealed import Pieces, check_pruned, read_pieces
from engine.audit.verify.segments import SegmentFile, find_segments, numbered, read_bounded
from engine.audit.verify.verdict import Verdict
from engine.audit.verify.witness import Quorum, Witnessed, check_fresh, read_quorum, witnessed

_OK: Final = "every signed event is there, unchanged and in order"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the log is to be held against."""

    key: Key
    outside: tuple[bytes, ...]
    archive: Path | None
    quorum: Quorum
    oldest: datetime | None  # what is older than this is stale


@dataclass(slots=True)
class _Progress:
    """How far the verification got."""

    asked: _Asked
    chain: KeyChain
    reading: Reading
    head: Head | None = None
    outside: list[Head] = field(default_factory=list)
    claimed: Head | None = None  # by the file `witnessed`: the log signed it; whether witnesses did is another question
    witnessed: Witnessed | None = None


def verify_log(
    directory: Path,
    vkey: str,
    *,
    checkpoint: bytes | Sequence[bytes] = (),
    archive: Path | None = None,
    witnesses: Sequence[str] = (),
    witnesses_required: int | None = None,
    fresh_within: timedelta | None = None,
    now: datetime | None = None,
    on_lines: OnLines | None = None,
) -> VerificationReport:
    """Verify the log in `directory` against the key, without network and without writing anything.

    A live log may be verified: what is written meanwhile is not looked at.

    Args:
        directory: has `segments/`, `checkpoint`, and what docs/audit-format.md, section 1, lists.
        vkey: C2SP verifier key of the log, had from elsewhere than from `directory`; any key that the log has had will
            do, the newest one that is known is best.
        checkpoint: checkpoints of this log kept outside of it. Only with one can a log be seen to have been rolled
            back, forked, or signed anew by a thief of the key.
        archive: a folder that has the files of pruned segments, or `segments/` with them.
        witnesses: C2SP verifier keys of witnesses. The log's `witnessed`, or an outside checkpoint, needs cosignatures.
        witnesses_required: of so many of them; of all where it is None.
        fresh_within: how old the newest signed event, and the witnesses' word, may be at `now`.
        now: the time, with a time zone; needed with `fresh_within`.
        on_lines: is shown the covered lines, in order, some at a time. What it has seen is what the key signed only
            where the report then says so.

    Raises:
        VerifierKeyError: `vkey` or one of `witnesses` is no verifier key.
        QuorumError: so many of these witnesses cannot be required.
        ValueError: `fresh_within` without `now`.
    """
    if fresh_within is not None and now is None:
        raise ValueError("whether a log is fresh can be said at a given time only")
    oldest = now - fresh_within if now is not None and fresh_within is not None else None
    outside = (checkpoint,) if isinstance(checkpoint, bytes) else tuple(checkpoint)
    asked = _Asked(read_key(vkey), outside, archive, read_quorum(witnesses, witnesses_required), oldest)
    progress = _Progress(asked, KeyChain((asked.key,), ()), Reading(0, on_lines))
    try:
        _verify(progress, directory)
    except Verdict as verdict:
        return _report(progress, verdict.code, verdict.message, verdict.bad)
    except OSError as error:
        return _report(progress, "log.unreadable", f"the log cannot be read: {error}")
    return _report(progress, "ok", _OK)


def _verify(progress: _Progress, directory: Path) -> None:
    asked, reading = progress.asked, progress.reading
    # (1) What is there. The checkpoint is read last: so it covers all of this but one batch, also while the log is
    #     being written to.
    segments = find_segments(directory)
    archived = find_segments(asked.archive, archived=True) if asked.archive is not None else []
    seal_files = numbered(directory / "seals", "seal")
    notes = _rotation_notes(directory)
    cosigned = _file(directory / "witnessed")
    # (2) The chain of keys, from the one that is trusted.
    progress.chain = chain = read_chain(asked.key, notes)
    # (3) The log's own checkpoint: signed by a key of the chain, at its time, of its origin.
    progress.head = head = _checkpoint(directory, chain)
    reading.size = head.size
    # (4) What it may not fall short of: the checkpoints from outside, what witnesses saw, seals, rotations.
    progress.outside = [_outside(note, chain, head) for note in asked.outside]
    progress.claimed = _claimed(cosigned, chain, head) if cosigned is not None else None
    seals = {first: _seal(path, first, chain, head) for first, path in seal_files.items()}
    _require_covered(chain, head)
    reading.want_roots([*(outside.size for outside in progress.outside), *_sizes(progress.claimed)])
    # (5) Every line up to the checkpoint: canonical, hashed, chained, numbered, later than the one before; of pruned
    #     ones the leaf hash. All but the open segment are
    #     sealed; every seal and tree file is that of its segment.
    pieces = Pieces(
        directory=directory,
        segments=_with_newer(directory, segments, head),
        archived={segment.first_seq: segment for segment in archived},
        seals=seals,
        closed=frozenset(segment.first_seq for segment in segments[:-1]),  # a seal is durable before the next begins
    )
    read_pieces(reading, pieces)
    # (6) The tree over them is the signed one.
    if reading.tree.root() != head.root:
        raise Verdict("root.mismatch", "the events are consistent, but they are not those that the key signed")
    # (7) The log itself says which segments were pruned, and which keys it has had.
    check_pruned(pieces, reading.lines.log_events)
    rotated = [event for event in reading.lines.log_events if event.event_type == KEY_ROTATED]
    check_rotations(chain, rotated, head.size, reading.has_line)
    # (8) The outside checkpoints, and what was shown to witnesses, are beginnings of this log.
    for outside in progress.outside:
        if reading.roots[outside.size] != outside.root:
            raise Verdict("outside.fork", f"the first {outside.size} events are not those of the outside checkpoint")
    _check_witnessed(progress)
    # (9) No more is left unsigned than a crash can leave.
    if reading.uncovered_lines > CRASH_EVENTS_MAX or reading.uncovered_bytes > CRASH_BYTES_MAX:
        raise Verdict("checkpoint.old", "more follows the checkpoint than a crash can leave: it is an old one")
    # (10) The newest event is not older than it may be.
    check_fresh(reading.lines.time, asked.oldest)


def _rotation_notes(directory: Path) -> dict[int, bytes]:
    files = numbered(directory / "rotations", "note")
    if len(files) > ROTATIONS_MAX:
        raise Verdict("rotation.malformed", f"more than {ROTATIONS_MAX} rotations")
    return {seq: read_bounded(path, NOTE_BYTES_MAX) for seq, path in files.items()}


def _file(path: Path) -> bytes | None:
    return read_bounded(path, NOTE_BYTES_MAX) if path.is_file() else None


def _checkpoint(directory: Path, chain: KeyChain) -> Head:
    note = _file(directory / "checkpoint")
    if note is None:
        raise Verdict("checkpoint.missing", "there is no checkpoint, so nothing is signed")
    try:
        head = read_head(note, chain.keys)
    except NoteError as error:
        raise Verdict(error.code, f"the log's checkpoint: {error}") from None
    chain.check_in_force(head, "the log's checkpoint")
    return head


def _outside(note: bytes, chain: KeyChain, head: Head) -> Head:
    try:
        outside = read_head(note, chain.keys)
    except NoteError as error:
        raise Verdict(error.code.replace("checkpoint.", "outside."), f"the outside checkpoint: {error}") from None
    if outside.size > head.size:
        raise Verdict("outside.rollback", f"{outside.size} events were signed once, and {head.size} are claimed now")
    return outside


def _claimed(note: bytes, chain: KeyChain, head: Head) -> Head:
    try:
        claimed = read_head(note, chain.keys)
    except NoteError as error:
        raise Verdict(error.code.replace("checkpoint.", "witness."), f"`witnessed`: {error}") from None
    if claimed.size > head.size:
        raise Verdict("witness.rollback", f"witnesses were shown {claimed.size} events, and {head.size} are claimed")
    chain.check_in_force(claimed, "`witnessed`")
    return claimed


def _seal(path: Path, first: int, chain: KeyChain, head: Head) -> Seal:
    seal = read_seal(read_bounded(path, SEAL_BYTES_MAX), first, chain)
    if seal.size > head.size:
        raise Verdict("seal.rollback", f"{seal.size} events were sealed once, and {head.size} are claimed now")
    chain.check_in_force(seal.head, f"seals/{path.name}")
    return seal


def _require_covered(chain: KeyChain, head: Head) -> None:
    for rotation in chain.rotations:
        if rotation.seq >= head.size:
            raise Verdict(
                "rotation.rollback", f"event {rotation.seq} has changed the key, and {head.size} events are claimed now"
            )


def _sizes(head: Head | None) -> list[int]:
    return [head.size] if head is not None else []


def _with_newer(directory: Path, segments: list[SegmentFile], head: Head) -> dict[int, SegmentFile]:
    """Add the segments that a live writer has begun since: of them, only what the checkpoint covers is looked at."""
    newer = [SegmentFile(s.first_seq, s.path, 0) for s in find_segments(directory) if s.first_seq < head.size]
    return {s.first_seq: s for s in (*newer, *segments)}


def _check_witnessed(progress: _Progress) -> None:
    """Hold what witnesses were shown against the log, and require as many of them as are asked for."""
    asked, reading, claimed = progress.asked, progress.reading, progress.claimed
    if claimed is not None and reading.roots[claimed.size] != claimed.root:
        raise Verdict("witness.fork", f"the first {claimed.size} events are not those that witnesses were shown")
    if not asked.quorum.required:
        return
    heads = [*progress.outside, *([claimed] if claimed is not None else [])]
    seen = [one for head in heads if (one := witnessed(head, asked.quorum)) is not None]
    if not seen:
        raise Verdict("witness.missing", f"no checkpoint is cosigned by {asked.quorum.required} of the witnesses")
    progress.witnessed = best = max(seen, key=lambda one: (one.head.size, one.seconds))
    if asked.oldest is not None and best.seconds < asked.oldest.timestamp():  # witnesses may say any 63 bits
        raise Verdict("witness.stale", f"the witnesses have seen nothing of this log since {best.at}")


def _report(progress: _Progress, code: str, message: str, bad: BadEvent | None = None) -> VerificationReport:
    reading, head, good = progress.reading, progress.head, code == "ok"
    seen = progress.witnessed if good else None
    return VerificationReport(
        ok=good,
        code=code,
        message=message,
        target="log",
        origin=progress.asked.key.name.decode(),
        signed_by=tuple(key.label for key in head.signers) if head is not None else (),
        rotations=progress.chain.labels(),
        events=reading.lines.seq,
        checkpoint_size=head.size if head is not None else 0,
        root_hash=b64encode(reading.tree.root()).decode() if head is not None else "",
        first_bad=bad,
        outside_size=max((o.size for o in progress.outside), default=None) if good else None,
        witnessed_size=seen.head.size if seen is not None else None,
        witnessed_at=seen.at if seen is not None else None,
        witnesses=tuple(key.label for key in seen.witnesses) if seen is not None else (),
        newest_event=reading.lines.time or None,
        pruned_events=sum(map(len, reading.pruned)),
        archived_events=reading.archived_events,
        uncovered_lines=reading.uncovered_lines,
        uncovered_bytes=reading.uncovered_bytes,
    )
