"""The verification itself, as numbered steps."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from engine.audit.verify.line import LINE_BYTES_MAX, LineError, Lines
from engine.audit.verify.note import NOTE_BYTES_MAX, Head, Key, NoteError, read_head, read_key
from engine.audit.verify.report import BadEvent, VerificationReport
from engine.audit.verify.segments import SegmentFile, SegmentsError, find_segments, line_chunks
from engine.audit.verify.tree import Tree

_CRASH_EVENTS_MAX: Final = 1_024  # the writer signs before it goes on, so a crash leaves one batch unsigned
Witness: TypeAlias = Callable[[Sequence[bytes]], None]
_CRASH_BYTES_MAX: Final = _CRASH_EVENTS_MAX * (LINE_BYTES_MAX + 1)


class _Verdict(Exception):  # noqa: N818 - no error of the program: the log is not good
    def __init__(self, code: str, message: str, bad: BadEvent | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.bad = bad


@dataclass(slots=True)
class _Progress:
    """How far the verification got."""

    key: Key
    head: Head | None = None
    outside: Head | None = None
    outside_root: bytes | None = None  # root over the first `outside.size` events of this log
    lines: Lines = field(default_factory=Lines)
    tree: Tree = field(default_factory=Tree)
    uncovered_lines: int = 0
    uncovered_bytes: int = 0
    witness: Witness | None = None


def verify_log(
    directory: Path, vkey: str, *, checkpoint: bytes | None = None, witness: Witness | None = None
) -> VerificationReport:
    """Verify the log in `directory` against the key, without network and without writing anything.

    A live log may be verified: what is written meanwhile is not looked at.

    Args:
        directory: has `segments/` and `checkpoint`.
        vkey: C2SP verifier key of the log, had from elsewhere than from `directory`.
        checkpoint: a checkpoint of this log kept outside of it. Only with one can a log be seen to have been rolled
            back, forked, or signed anew by a thief of the key.
        witness: is shown the covered lines, in order, some at a time. What it has seen is what the key signed only
            where the report then says so.

    Raises:
        VerifierKeyError: `vkey` is no verifier key.
    """
    progress = _Progress(read_key(vkey), witness=witness)
    try:
        _verify(progress, directory, checkpoint)
    except _Verdict as verdict:
        return _report(progress, verdict.code, verdict.message, verdict.bad)
    except OSError as error:
        return _report(progress, "log.unreadable", f"the log cannot be read: {error}")
    return _report(progress, "ok", "every signed event is there, unchanged and in order")


def _verify(progress: _Progress, directory: Path, outside: bytes | None) -> None:
    # (1) What is there. Before the checkpoint is read: so it covers all of these bytes but one batch, also while the
    #     log is being written to.
    try:
        segments = find_segments(directory) if (directory / "segments").exists() else []
    except SegmentsError as error:
        raise _Verdict("log.malformed", str(error)) from None
    # (2) The log's own checkpoint: signed by the key, of the key's origin.
    progress.head = head = _checkpoint(directory, progress.key)
    # (3) The checkpoint from outside, if there is one.
    if outside is not None:
        progress.outside = _outside(outside, progress.key, head)
    # (4) Every line up to the checkpoint: canonical, hashed, chained, numbered, later than the one before.
    _read_events(progress, segments, head)
    # (5) The tree over them is the signed one.
    if progress.tree.root() != head.root:
        raise _Verdict("root.mismatch", "the events are consistent, but they are not those that the key signed")
    # (6) The outside checkpoint is a prefix of this log.
    if progress.outside is not None and progress.outside_root != progress.outside.root:
        raise _Verdict(
            "outside.fork", f"the first {progress.outside.size} events are not those of the outside checkpoint"
        )
    # (7) No more is left unsigned than a crash can leave.
    if progress.uncovered_lines > _CRASH_EVENTS_MAX or progress.uncovered_bytes > _CRASH_BYTES_MAX:
        raise _Verdict("checkpoint.old", "more follows the checkpoint than a crash can leave: it is an old one")


def _checkpoint(directory: Path, key: Key) -> Head:
    path = directory / "checkpoint"
    if not path.is_file():
        raise _Verdict("checkpoint.missing", "there is no checkpoint, so nothing is signed")
    with path.open("rb") as file:
        note = file.read(NOTE_BYTES_MAX + 1)
    try:
        return read_head(note, key)
    except NoteError as error:
        raise _Verdict(error.code, f"the log's checkpoint: {error}") from None


def _outside(note: bytes, key: Key, head: Head) -> Head:
    try:
        outside = read_head(note, key)
    except NoteError as error:
        raise _Verdict(error.code.replace("checkpoint.", "outside."), f"the outside checkpoint: {error}") from None
    if outside.size > head.size:
        raise _Verdict("outside.rollback", f"{outside.size} events were signed once, and {head.size} are claimed now")
    return outside


def _read_events(progress: _Progress, segments: list[SegmentFile], head: Head) -> None:
    name, number = "segments", 0
    _note_outside(progress)
    for segment in segments:
        name = f"segments/{segment.path.name}"
        if segment.first_seq != progress.lines.seq or progress.uncovered_bytes:
            bad = BadEvent(
                seq=progress.lines.seq, file=name, line=1, reason="the segment does not begin where it has to"
            )
            raise _Verdict("event.missing", "a segment is missing, or its name is wrong", bad)
        number = _read_segment(progress, segment, name, head)
    if progress.lines.seq < head.size:
        bad = BadEvent(seq=progress.lines.seq, file=name, line=number + 1, reason="the event is missing")
        raise _Verdict("event.missing", f"{progress.lines.seq} events are left of {head.size} that were signed", bad)


def _read_segment(progress: _Progress, segment: SegmentFile, name: str, head: Head) -> int:
    """Check the covered lines of a segment and return their number; count what follows them."""
    number = covered_bytes = read_bytes = 0
    for lines, torn in line_chunks(segment.path):
        covered = lines[: head.size - progress.lines.seq]
        _check_lines(progress, covered, name, number)
        number += len(covered)
        covered_bytes += sum(map(len, covered)) + len(covered)
        if torn and progress.lines.seq < head.size:
            raise _bad_event(progress, name, number + 1, "it is torn: the line has no end")
        read_bytes = max(read_bytes, covered_bytes)
        for line in lines[len(covered) :]:
            if read_bytes < segment.size_bytes:  # what a live writer adds meanwhile is not looked at
                progress.uncovered_lines += 1
            read_bytes += len(line) + 1
        if read_bytes >= segment.size_bytes and progress.lines.seq == head.size:
            break
        progress.uncovered_lines += bool(torn)
    progress.uncovered_bytes += max(segment.size_bytes - covered_bytes, 0)
    return number


def _bad_event(progress: _Progress, name: str, number: int, reason: str) -> _Verdict:
    seq = progress.lines.seq
    return _Verdict("event.bad", f"event {seq}: {reason}", BadEvent(seq=seq, file=name, line=number, reason=reason))


def _check_lines(progress: _Progress, lines: list[bytes], name: str, number: int) -> None:
    """Check lines in order, stopping on the way where the outside checkpoint ends; `number` lines came before."""
    start = progress.lines.seq
    until = progress.outside.size - start if progress.outside is not None else 0
    for part in (lines[: max(until, 0)], lines[max(until, 0) :]):
        leaves: list[bytes] = []
        try:
            progress.lines.check(part, leaves)
            if progress.witness is not None:
                progress.witness(part)
        except LineError as error:
            raise _bad_event(progress, name, number + progress.lines.seq - start + 1, str(error)) from None
        finally:
            progress.tree.extend(leaves)
        _note_outside(progress)


def _note_outside(progress: _Progress) -> None:
    if progress.outside is not None and progress.outside.size == progress.lines.seq:
        progress.outside_root = progress.tree.root()


def _report(progress: _Progress, code: str, message: str, bad: BadEvent | None = None) -> VerificationReport:
    return VerificationReport(
        ok=code == "ok",
        code=code,
        message=message,
        origin=progress.key.name.decode(),
        events=progress.lines.seq,
        checkpoint_size=progress.head.size if progress.head is not None else 0,
        root_hash=b64encode(progress.tree.root()).decode() if progress.head is not None else "",
        first_bad=bad,
        outside_size=progress.outside.size if code == "ok" and progress.outside is not None else None,
        uncovered_lines=progress.uncovered_lines,
        uncovered_bytes=progress.uncovered_bytes,
    )
