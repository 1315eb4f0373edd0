"""The events of a log as they are read: line by line where the lines are here, hash by hash where they were pruned."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeAlias

from engine.audit.verify.line import LINE_BYTES_MAX, LineError, Lines
from engine.audit.verify.report import BadEvent
from engine.audit.verify.segments import SegmentFile, line_chunks
from engine.audit.verify.tree import Tree
from engine.audit.verify.verdict import Verdict

CRASH_EVENTS_MAX: Final = 1_024  # the writer signs before it goes on, so a crash leaves one batch unsigned
CRASH_BYTES_MAX: Final = CRASH_EVENTS_MAX * (LINE_BYTES_MAX + 1)
_HASH_BYTES: Final = 32
OnLines: TypeAlias = Callable[[Sequence[bytes]], None]


@dataclass(slots=True)
class Reading:
    """How far the reading got, up to the `size` events that are signed."""

    size: int
    on_lines: OnLines | None = None
    roots: dict[int, bytes] = field(default_factory=dict)  # root of the tree of each size that was asked for
    lines: Lines = field(default_factory=Lines)
    tree: Tree = field(default_factory=Tree)
    last_leaf: bytes = b""
    pruned: list[range] = field(default_factory=list)  # events of which there are hashes and no lines
    archived_events: int = 0
    uncovered_lines: int = 0
    uncovered_bytes: int = 0
    _wanted: list[int] = field(default_factory=list)  # sizes that are still to come, the nearest last

    def want_roots(self, sizes: Iterable[int]) -> None:
        """Ask for the roots at some sizes, before anything is read."""
        self._wanted = sorted(set(sizes), reverse=True)
        self._note_root()

    def has_line(self, seq: int) -> bool:
        """Whether event `seq` was read as a line, and not skipped as pruned."""
        return seq < self.lines.seq and not any(seq in gap for gap in self.pruned)

    def read_segment(self, segment: SegmentFile) -> tuple[int, str]:
        """Check the covered lines of a segment, and count what follows them.

        Returns the number of bytes that the covered lines have, and the digest of their leaf hashes.

        Raises:
            Verdict: `event.bad`, `event.missing`.
            OSError: it cannot be read.
        """
        if self.uncovered_bytes:
            raise self._missing(segment.name, 1, "the segment does not begin where it has to")
        number = covered_bytes = read_bytes = 0
        digest = sha256()
        for lines, torn in line_chunks(segment.path):
            covered = lines[: self.size - self.lines.seq]
            for part in self._parts(covered):
                digest.update(b"".join(self._check(part, segment.name, number)))
                number += len(part)
            covered_bytes += sum(map(len, covered)) + len(covered)
            if torn and self.lines.seq < self.size:
                raise self._bad(segment.name, number + 1, "it is torn: the line has no end")
            read_bytes = max(read_bytes, covered_bytes)
            for line in lines[len(covered) :]:
                if read_bytes < segment.size_bytes:  # what a live writer adds meanwhile is not looked at
                    self.uncovered_lines += 1
                read_bytes += len(line) + 1
            if read_bytes >= segment.size_bytes and self.lines.seq == self.size:
                break
            self.uncovered_lines += bool(torn)
        self.uncovered_bytes += max(segment.size_bytes - covered_bytes, 0)
        if segment.archived:
            self.archived_events += number
        return covered_bytes, digest.hexdigest()

    def read_leaves(self, leaves: bytes, size: int) -> None:
        """Take the leaf hashes of a pruned segment, up to event `size - 1`."""
        start = self.lines.seq
        hashes = [leaves[at : at + _HASH_BYTES] for at in range(0, len(leaves), _HASH_BYTES)]
        for part in self._parts(hashes):
            self.tree.extend(part)
            self.lines.skip(self.lines.seq + len(part))
            self._note_root()
        self.last_leaf = hashes[-1]
        self.pruned.append(range(start, size))

    def missing(self, name: str, line: int) -> Verdict:
        """Return the verdict that the next event is not there; `name` is the file in which it was looked for."""
        return self._missing(name, line, "the event is missing")

    def misplaced(self, name: str) -> Verdict:
        """Return the verdict that a file is not of the segment that has to follow."""
        return self._missing(name, 1, "the segment does not begin where it has to")

    def _missing(self, name: str, line: int, reason: str) -> Verdict:
        bad = BadEvent(seq=self.lines.seq, file=name, line=line, reason=reason)
        if self.lines.seq < self.size and reason == "the event is missing":
            return Verdict("event.missing", f"{self.lines.seq} events are left of {self.size} that were signed", bad)
        return Verdict("event.missing", "a segment is missing, or its name is wrong", bad)

    def _bad(self, name: str, number: int, reason: str) -> Verdict:
        seq = self.lines.seq
        return Verdict("event.bad", f"event {seq}: {reason}", BadEvent(seq=seq, file=name, line=number, reason=reason))

    def _parts(self, entries: list[bytes]) -> Iterable[list[bytes]]:
        """Yield lines or hashes in pieces that end where a root is asked for."""
        while entries:
            until = self._wanted[-1] - self.lines.seq if self._wanted else len(entries)
            yield entries[:until]
            entries = entries[until:]

    def _check(self, lines: list[bytes], name: str, number: int) -> list[bytes]:
        """Check lines in order, of which `number` came before in the file, and return their leaf hashes."""
        start = self.lines.seq
        leaves: list[bytes] = []
        try:
            self.lines.check(lines, leaves)
            if self.on_lines is not None:
                self.on_lines(lines)
        except LineError as error:
            raise self._bad(name, number + self.lines.seq - start + 1, str(error)) from None
        finally:
            self.tree.extend(leaves)
        self.last_leaf = leaves[-1]
        self._note_root()
        return leaves

    def _note_root(self) -> None:
        if self._wanted and self._wanted[-1] == self.lines.seq:
            self.roots[self._wanted.pop()] = self.tree.root()
