"""A log folder as an offline reader has it: its index where that is this log's, and its lines for all else."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError, note_text
from engine.audit.errors import AuditTamperedError
from engine.audit.stored import StoredLog
from gateway.auditing.facts import facts_of
from gateway.auditing.filters import EventFilter
from gateway.auditing.index_reader import IndexReader
from gateway.auditing.segments import SegmentFiles
from gateway.errors import ConfigurationError, StoreError

ROTATIONS: Final = "rotations"
_PAGE_EVENTS: Final = 1_024


class LogFolder:
    """The log in a folder, read only, also while a gateway writes it. It judges nothing: `verify_log` does."""

    def __init__(self, directory: Path, *, use_index: bool = True) -> None:
        self.directory = directory
        self._files = SegmentFiles(directory)
        self._use_index = use_index

    @property
    def first(self) -> int:
        """Seq of the oldest line that is here."""
        return self._files.first()

    def note(self, name: str = "checkpoint") -> bytes | None:
        """Return a signed note of the folder, `checkpoint` or `witnessed`; None where there is none.

        Raises:
            ConfigurationError: `audit.unreadable`.
        """
        try:
            with (self.directory / name).open("rb") as file:
                return file.read(NOTE_BYTES_MAX)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(f"{self.directory / name}: {why}", code="audit.unreadable") from error

    def rotations(self) -> dict[int, bytes]:
        """Return the notes of the key's rotations, by the seq of their events.

        Raises:
            ConfigurationError: `audit.unreadable`.
        """
        try:
            return {int(path.stem): path.read_bytes() for path in sorted((self.directory / ROTATIONS).glob("*.note"))}
        except (OSError, ValueError) as error:  # ValueError: a name that is no seq
            raise ConfigurationError(f"{self.directory / ROTATIONS}: {error}", code="audit.unreadable") from error

    def size(self) -> int:
        """Return how many events the newest checkpoint says that it covers.

        Raises:
            ConfigurationError: `audit.unreadable`, there is no log.
        """
        note = self.note()
        if note is None:
            raise ConfigurationError(f"{self.directory}: there is no log here", code="audit.unreadable")
        return checkpoint_size(note)

    def find(self, wanted: EventFilter, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield seq and line of each event from `start` to `stop` - 1 that matches.

        Raises:
            AuditPrunedError, AuditTamperedError: lines are not here.
            ConfigurationError: a file cannot be read.
        """
        try:
            for seq, line in self._by_index(wanted, start, stop):
                if line is not None:
                    yield seq, line
                start = seq + 1
            for place, line in self._files.lines(start, stop):
                if wanted.matches(facts_of(line)):
                    yield place.seq, line
        except ValueError as error:
            raise AuditTamperedError(f"a line of {self.directory} is no event") from error
        except OSError as error:
            raise ConfigurationError(f"{self.directory}: {error.strerror}", code="audit.unreadable") from error

    def line(self, seq: int) -> bytes:
        """Return one line.

        Raises:
            AuditPrunedError, AuditTamperedError, ConfigurationError: as `find`.
        """
        return next(line for _, line in self.find(EventFilter(), seq, seq + 1))

    def proofs(self) -> StoredLog:
        """Return the log as it is now, for proofs: it takes a look at all lines that are not sealed yet.

        Raises:
            AuditTamperedError: the files do not belong together.
            ConfigurationError: `audit.unreadable`.
        """
        try:
            return StoredLog.open(self.directory)
        except OSError as error:
            raise ConfigurationError(f"{self.directory}: {error.strerror}", code="audit.unreadable") from error

    def place_of(self, event_id: str, stop: int) -> int | None:
        """Return the seq of the event with an id, among those before `stop`; None where none has it.

        Raises:
            AuditTamperedError, ConfigurationError: as `find`.
        """
        start = self.first
        try:
            with closing(IndexReader.open(self.directory)) as reader:
                if self._use_index and reader.is_of(self._files):
                    for place in reader.find(event_id):
                        if place.seq < stop and facts_of(self._files.lines_at([place])[0]).event_id == event_id:
                            return place.seq
                    start = max(start, reader.state()[0])
        except StoreError:
            start = self.first
        needle = f'"event_id":"{event_id}"'.encode()
        for place, line in self._files.lines(start, stop):
            if needle in line[:80]:
                return place.seq
        return None

    def _by_index(self, wanted: EventFilter, start: int, stop: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield what the index finds, as far as it is there, whole and this log's; all else is left to a scan.

        A seq without a line says that up to there nothing else matches.
        """
        if not self._use_index:
            return
        try:
            with closing(IndexReader.open(self.directory)) as reader:
                while start < stop and reader.is_of(self._files):
                    page = reader.page(wanted, start, stop, _PAGE_EVENTS)
                    if page.next_seq == start:
                        return
                    lines = self._files.lines_at(page.places)
                    yield from zip((place.seq for place in page.places), lines, strict=True)
                    start = page.next_seq
                    yield start - 1, None
        except (StoreError, AuditTamperedError):
            return  # a scan shows what there is


def checkpoint_size(note: bytes) -> int:
    """Return the size that a signed note speaks of; nothing is verified.

    Raises:
        ConfigurationError: `audit.unreadable`, it is no checkpoint.
    """
    try:
        return Checkpoint.parse(note_text(note)).size
    except CheckpointError as error:
        raise ConfigurationError(f"the checkpoint cannot be read: {error}", code="audit.unreadable") from error
