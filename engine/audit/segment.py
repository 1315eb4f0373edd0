"""Segments: append-only files of lines, `segments/<seq of the first line, 20 digits>.jsonl`."""

import hashlib
import os
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.errors import AuditPrunedError, AuditTamperedError
from engine.audit.files import Files
from engine.audit.record import LINE_BYTES_MAX

_NAME: Final = re.compile(r"([0-9]{20})\.jsonl")
_MARK_EVENTS_MIN: Final = 256  # lines between two marks of the index, so a million events need 4,000


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file."""

    first_seq: int
    path: Path


def segment_name(first_seq: int) -> str:
    """Return the file name of the segment whose first line is `first_seq`."""
    return f"{first_seq:020d}.jsonl"


def list_segments(folder: Path) -> list[Segment]:
    """Return the segments in order of their first seq; none where the folder is missing.

    Raises:
        AuditTamperedError: the folder holds something else.
    """
    if not folder.exists():
        return []
    segments = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_file():
            raise AuditTamperedError(f"{path} is no segment")
        segments.append(Segment(int(match[1]), path))
    return segments


def lines_from(path: Path, offset: int) -> Iterator[bytes]:
    """Yield raw lines, LF included, from byte `offset`; a torn last one lacks it, an over-long one comes in parts."""
    with path.open("rb") as file:
        file.seek(offset)
        while line := file.readline(LINE_BYTES_MAX + 1):  # binary: splits on LF only, and holds one line at most
            yield line


def last_line(folder: Path) -> bytes | None:
    """Return the last whole line of the segments in `folder`, without its LF, or None where there is none.

    Raises:
        AuditTamperedError: the folder holds something else.
    """
    for segment in reversed(list_segments(folder)):
        with segment.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * (LINE_BYTES_MAX + 1)))  # a torn line may follow the whole one
            *lines, _torn = file.read().split(b"\n")
        if lines:
            return lines[-1]
    return None


class SegmentWriter:
    """The open end of the log: the file, how much it has, and the digest of that."""

    __slots__ = ("_digest", "_fd", "_files", "first", "path", "size_bytes")

    def __init__(self, files: Files, path: Path, first: int, content: "SegmentContent") -> None:
        """Open `path`, the segment that begins at `first`, for appending to `content`."""
        self._files = files
        self._fd = files.open_append(path)
        self._digest = content.digest
        self.path = path
        self.first = first
        self.size_bytes = content.size_bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, hex."""
        return self._digest.hexdigest()

    def append(self, data: bytes) -> None:
        """Write `data` and make it durable. After an OSError the content is unknown: the writer must stop."""
        self._files.write(self._fd, data)
        self._files.fdatasync(self._fd)
        self._digest.update(data)
        self.size_bytes += len(data)

    def close(self) -> None:
        """Close the file."""
        self._files.close(self._fd)


class SegmentContent:
    """What was read of a segment: bytes, and the running digest of them."""

    __slots__ = ("digest", "size_bytes")

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def take(self, raw: bytes) -> None:
        """Go on over `raw`."""
        self.digest.update(raw)
        self.size_bytes += len(raw)


@dataclass(frozen=True, slots=True)
class _Mark:
    seq: int
    path: Path
    offset: int


class LineIndex:
    """Where some of the lines are, so that a read starts near its first line. One writer, any reader."""

    __slots__ = ("_lock", "_marks")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of who changes it; a reader takes the list as it finds it
        self._marks: list[_Mark] = []

    @property
    def first(self) -> int:
        """Seq of the oldest line that is still there; 0 in an empty log."""
        marks = self._marks
        return marks[0].seq if marks else 0

    def mark(self, seq: int, path: Path, offset: int) -> None:
        """Note that line `seq` starts at byte `offset` of `path`; too dense marks are dropped."""
        with self._lock:
            last = self._marks[-1] if self._marks else None
            if last is None or last.path != path or seq - last.seq >= _MARK_EVENTS_MIN:
                self._marks.append(_Mark(seq, path, offset))

    def forget(self, path: Path) -> None:
        """Drop a segment that is no longer there."""
        with self._lock:
            self._marks = [mark for mark in self._marks if mark.path != path]

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield lines `start` to `stop` - 1, without LF.

        Raises:
            AuditPrunedError: the first of them was pruned; at once, and not when it is asked for. Later on: a segment
                was pruned meanwhile.
            AuditTamperedError: a file has fewer lines than it had.
        """
        start = max(start, 0)
        if start < self.first:
            raise AuditPrunedError(f"event {start} was pruned; the first that is here is {self.first}")
        return self._read(start, stop)

    def _read(self, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            marks = self._marks
            at = bisect_right(marks, start, key=lambda mark: mark.seq) - 1
            if at < 0:
                raise AuditPrunedError(f"event {start} was pruned; the first that is here is {self.first}")
            seq, path = marks[at].seq, marks[at].path
            before = start
            for line in self._lines(marks[at]):
                if seq >= stop:
                    return
                if seq >= start:
                    yield line[:-1]
                    start = seq + 1
                seq += 1
            if start == before:
                raise AuditTamperedError(f"{path}: event {start} is not there")

    def _lines(self, mark: _Mark) -> Iterator[bytes]:
        try:
            yield from lines_from(mark.path, mark.offset)
        except FileNotFoundError as error:
            raise AuditPrunedError(f"event {mark.seq} and those after it were pruned: {mark.path.name}") from error
