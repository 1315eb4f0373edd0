"""Segments: append-only files of lines, `segments/<seq of the first line, 20 digits>.jsonl`.

One segment is written so far; rotation begins the next file at the next seq, and everything that reads already takes
any number of them.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.errors import AuditTamperedError
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


class SegmentWriter:
    """The open end of a segment."""

    __slots__ = ("_fd", "_files", "path", "size_bytes")

    def __init__(self, files: Files, path: Path, size_bytes: int) -> None:
        """Open `path` for appending; it has `size_bytes` bytes."""
        self._files = files
        self._fd = files.open_append(path)
        self.path = path
        self.size_bytes = size_bytes

    def append(self, data: bytes) -> None:
        """Write `data` and make it durable. After an OSError the content is unknown: the writer must stop."""
        self._files.write(self._fd, data)
        self._files.fdatasync(self._fd)
        self.size_bytes += len(data)

    def close(self) -> None:
        """Close the file."""
        self._files.close(self._fd)


class LineIndex:
    """Where some of the lines are, so that a read starts near its first line. One writer, any reader."""

    __slots__ = ("_places", "_seqs")

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._places: list[tuple[Path, int]] = []

    def mark(self, seq: int, path: Path, offset: int) -> None:
        """Note that line `seq` starts at byte `offset` of `path`; too dense marks are dropped."""
        if self._seqs and seq - self._seqs[-1] < _MARK_EVENTS_MIN and self._places[-1][0] == path:
            return
        self._places.append((path, offset))  # before its seq: a reader on another thread finds both or neither
        self._seqs.append(seq)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield lines `start` to `stop` - 1, without LF. The caller knows that they are there."""
        at = bisect_right(self._seqs, start) - 1
        while start < stop and 0 <= at < len(self._seqs):
            seq, (path, offset) = self._seqs[at], self._places[at]
            for line in lines_from(path, offset):
                if seq >= stop:
                    return
                if seq >= start:
                    yield line[:-1]
                seq += 1
            start = max(start, seq)
            at = bisect_right(self._seqs, start) - 1
