"""The audit log as the rest of the system sees it: append, wait until durable, read, close."""

import fcntl
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from engine.audit.chain import Chain
from engine.audit.checkpoint import Checkpoint
from engine.audit.commit import Committer, Covered
from engine.audit.entropy import BufferedEntropy
from engine.audit.errors import AuditLockedError, AuditUnavailableError
from engine.audit.files import Files, SystemFiles, ensure_directory, sync_directory
from engine.audit.keys import Signer, VerifierKey
from engine.audit.merkle import EMPTY_ROOT
from engine.audit.recovery import SEGMENTS, Scan, read_checkpoint, recovery_details, scan, set_aside
from engine.audit.segment import LineIndex, SegmentWriter
from engine.audit.writer import AuditLimits, Writer
from engine.clock import Clock
from engine.values import JsonObject

FORMAT_VERSION: Final = 1
_ACTOR: Final = "audit"  # who the log's own events are by
_DEFAULT_LIMITS: Final = AuditLimits()
_SYSTEM_FILES: Final = SystemFiles()


class AuditLog:
    """An open log. `open` makes it; one writer has a log at a time.

    Its thread needs the interpreter some ten times a commit. A program whose event loop is busy sets
    `sys.setswitchinterval(1e-4)`: CPython's default lets the loop starve that thread (docs/adr/0004).
    """

    def __init__(self, *, writer: Writer, chain: Chain, index: LineIndex, clock: Clock) -> None:
        """Use `open`."""
        self._writer = writer
        self._lock = writer.lock
        self._chain = chain
        self._index = index
        self._clock = clock
        self._closed = False

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        signer: Signer,
        clock: Clock,
        origin: str | None = None,
        limits: AuditLimits = _DEFAULT_LIMITS,
        files: Files = _SYSTEM_FILES,
        entropy: Callable[[int], bytes] | None = None,
    ) -> "AuditLog":
        """Open the log in `directory`, or begin one there. Blocks while it verifies what is there.

        A new log begins with the event `audit.opened`. Where a crash left something behind the last checkpoint, that
        is moved to `quarantine/` and `audit.recovered` tells of it. Both are durable and signed when this returns.

        Args:
            directory: holds `segments/`, `checkpoint`, `lock` and perhaps `quarantine/`; created with mode 0700.
            signer: signs the checkpoints; its name is the log's origin.
            clock: gives the events their time.
            origin: what the log is expected to be called, where the caller wants that compared with the signer.
            limits: of the queue and of group commit.
            files: the disk.
            entropy: `entropy(n)` gives n random bytes, for event ids; the kernel's, where none is given.

        Raises:
            AuditLockedError: another writer has it.
            AuditTamperedError: the files contradict the signed checkpoint.
            AuditUnavailableError: the disk or the signer fails.
            ValueError: `origin` is not the signer's name.
        """
        if origin is not None and origin != signer.name:
            raise ValueError(f"the origin {origin!r} is not the name of the signing key, {signer.name!r}")
        lock_fd = -1
        try:
            ensure_directory(files, directory)
            lock_fd = _lock(directory)
            return cls._open_locked(
                directory, signer, clock, limits, files, Chain(entropy or BufferedEntropy()), lock_fd
            )
        except BaseException as error:
            if lock_fd >= 0:
                os.close(lock_fd)
            if isinstance(error, OSError):
                raise AuditUnavailableError(f"the audit log cannot be opened: {error}") from error
            raise

    @classmethod
    def _open_locked(
        cls,
        directory: Path,
        signer: Signer,
        clock: Clock,
        limits: AuditLimits,
        files: Files,
        chain: Chain,
        lock_fd: int,
    ) -> "AuditLog":
        key = VerifierKey.parse(signer.verifier_key())
        known = read_checkpoint(directory, key)
        head = known[0] if known else Checkpoint(origin=key.name, size=0, root=EMPTY_ROOT)
        found = scan(directory, head, chain)
        committer = Committer(directory, files=files, signer=signer, tree=found.tree, index=found.index)
        try:
            # A new log signs the empty tree first: from then on, lines without a checkpoint are tampering.
            covered = Covered(head.size, known[1]) if known else committer.sign()
            set_aside(directory, found, files)
            committer.attach(_open_segment(directory, found, files))
            if lines := _first_lines(directory, key, chain, clock):
                covered = committer.commit(lines)
        except BaseException:
            committer.close()
            raise
        writer = Writer(committer, covered, clock=clock, limits=limits, release=partial(os.close, lock_fd))
        return cls(writer=writer, chain=chain, index=found.index, clock=clock)

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        """Record an event and return its seq; it is durable once `durable(seq)` returns. Any thread may call it.

        Raises:
            AuditEventRefusedError: the format cannot hold the event; nothing was recorded.
            AuditOverloadedError: the queue is full; nothing was recorded.
            AuditUnavailableError: the log is dead or closed; nothing was recorded.
        """
        with self._lock:
            self._writer.check_open()
            seq = self._chain.next_seq
            now = self._clock.now()
            self._writer.push(self._chain.link(event_type, actor=actor, target=target, details=details, now=now))
            return seq

    async def durable(self, seq: int) -> None:
        """Return once a signed checkpoint that covers `seq` is on the disk. Cancelling it loses no record.

        Raises:
            AuditUnavailableError: that will not happen.
            ValueError: no event has that seq.
        """
        await self._writer.durable(seq)

    async def close(self) -> None:
        """Make everything durable and let the log go. A second call does nothing.

        Raises:
            AuditUnavailableError: something that was appended is not durable.
        """
        if not self._closed:
            self._closed = True
            await self._writer.close()

    @property
    def size(self) -> int:
        """Number of events that the latest checkpoint covers."""
        return self._writer.covered.size

    def checkpoint(self) -> bytes:
        """Return the latest checkpoint, a C2SP signed note."""
        return self._writer.covered.note

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield up to `count` lines, without LF, from seq `start`; only lines that the checkpoint covers now."""
        stop = min(start + count, self.size)
        return self._index.read(max(start, 0), stop)


def _lock(directory: Path) -> int:
    """Return a descriptor that holds the log's flock; the kernel lets go of it when the process dies."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise AuditLockedError(f"{directory}: another process writes this log") from error
    return fd


def _open_segment(directory: Path, found: Scan, files: Files) -> SegmentWriter:
    """Open the segment for appending, and make its name durable before anything in it can matter."""
    folder = directory / SEGMENTS
    ensure_directory(files, folder)
    segment = SegmentWriter(files, found.segment, found.covered_bytes)
    try:
        sync_directory(files, folder)
    except OSError:
        segment.close()
        raise
    return segment


def _first_lines(directory: Path, key: VerifierKey, chain: Chain, clock: Clock) -> list[bytes]:
    """Return what has to be recorded before anybody else records: that the log began, that it was recovered."""
    lines = []
    size = chain.next_seq
    if size == 0:
        details: JsonObject = {"format": FORMAT_VERSION, "origin": key.name, "key_id": key.id.hex()}
        lines.append(chain.link("audit.opened", actor=_ACTOR, target=key.name, details=details, now=clock.now()))
    recovered = recovery_details(directory, size)
    if recovered is not None:
        now = clock.now()
        lines.append(chain.link("audit.recovered", actor=_ACTOR, target=key.name, details=recovered, now=now))
    return lines
