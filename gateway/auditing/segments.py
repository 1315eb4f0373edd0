"""The lines of a log folder with their places, read beside whoever writes it."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import BinaryIO, Final

from engine.audit.errors import AuditPrunedError, AuditTamperedError
from engine.audit.record import LINE_BYTES_MAX
from gateway.errors import StoreError

SEGMENTS: Final = "segments"
_NAME: Final = re.compile(r"([0-9]{20})\.jsonl")
_HASH_BYTES: Final = 75  # `,"hash":"` then 64 hex digits then `"}`: the end of a line (docs/audit-format.md, section 2)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line is."""

    seq: int
    offset: int  # of its first byte, in the segment that has it


class SegmentFiles:
    """The segments of one folder. A line's place stays what it is; segments come at the end, and go at the front."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / SEGMENTS
        self._firsts: list[int] = []

    def first(self) -> int:
        """Return the seq of the oldest line that is here; 0 where there is none."""
        self._look()
        return self._firsts[0] if self._firsts else 0

    def lines_from(self, place: Place, stop: int) -> Iterator[tuple[Place, bytes]]:
        """Yield each line before seq `stop`, with its place and without LF, from the one at `place` on.

        Raises:
            AuditPrunedError: the segment is no longer here.
            AuditTamperedError: there are fewer lines.
            OSError: a file cannot be read.
        """
        seq, offset = place.seq, place.offset
        while seq < stop:
            first = self._segment_of(seq)
            if first == seq:
                offset = 0
            before = seq
            with self._open(first) as file:
                file.seek(offset)
                while seq < stop and (line := file.readline(LINE_BYTES_MAX + 1)):
                    if not line.endswith(b"\n"):
                        raise AuditTamperedError(f"event {seq} is torn, in the segment that begins at {first}")
                    yield Place(seq, offset), line[:-1]
                    seq, offset = seq + 1, offset + len(line)
            if seq == before:
                raise AuditTamperedError(f"event {seq} is not in the segment that begins at {first}")

    def lines(self, start: int, stop: int) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines of seqs `start` to `stop` - 1; what stands before the first in its segment is passed over.

        Raises:
            AuditPrunedError, AuditTamperedError, OSError: as `lines_from`.
        """
        if start < stop:
            begin = Place(self._segment_of(start), 0)
            yield from dropwhile(lambda found: found[0].seq < start, self.lines_from(begin, stop))

    def has(self, place: Place, hash_: bytes) -> bool:
        """Return whether the line at a place ends with a hash, and so whether all before it are the same lines, too.

        Raises:
            StoreError: a file cannot be read.
        """
        try:
            (line,) = self.lines_at([place])
        except (AuditPrunedError, AuditTamperedError):
            return False
        except OSError as error:
            raise StoreError(f"the log cannot be read: {error.strerror}") from error
        return hash_of(line) == hash_

    def lines_at(self, places: Sequence[Place]) -> list[bytes]:
        """Return the lines at some places, in the order of seq.

        Raises:
            AuditPrunedError: a segment is no longer here.
            AuditTamperedError: another line is at a place.
            OSError: a file cannot be read.
        """
        lines = []
        with ExitStack() as files:
            opened, file = -1, None
            for place in places:
                first = self._segment_of(place.seq)
                if file is None or first != opened:
                    files.close()
                    opened, file = first, files.enter_context(self._open(first))
                file.seek(place.offset)
                line = file.readline(LINE_BYTES_MAX + 1)
                if not line.endswith(b"\n") or not line.startswith(b'{"seq":%d,' % place.seq):
                    raise AuditTamperedError(f"event {place.seq} is not where the index has it")
                lines.append(line[:-1])
        return lines

    def _segment_of(self, seq: int) -> int:
        """Return the first seq of the segment that a line is in, or will be."""
        if not self._firsts or seq >= self._firsts[-1]:
            self._look()
        at = bisect_right(self._firsts, seq) - 1
        if at < 0:
            raise AuditPrunedError(f"event {seq} was pruned; the first that is here is {self.first()}")
        return self._firsts[at]

    def _open(self, first: int) -> BinaryIO:
        try:
            return (self._folder / f"{first:020d}.jsonl").open("rb")
        except FileNotFoundError as error:
            raise AuditPrunedError(
                f"events from {first} were pruned; the first that is here is {self.first()}"
            ) from error

    def _look(self) -> None:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            names = []
        self._firsts = sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def hash_of(line: bytes) -> bytes:
    """Return the 64 hex digits with which a line ends; by its chain they stand for all lines up to it."""
    return line[-66:-2]


def previous_hash_of(line: bytes) -> bytes:
    """Return the hash that a line has of the one before it: 64 hex digits."""
    return line[-_HASH_BYTES - 65 : -_HASH_BYTES - 1]
