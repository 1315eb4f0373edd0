"""The audit log as the rest of the system sees it: append, wait until durable, read, close."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from engine.audit.chain import Chain
from engine.audit.checkpoint import Checkpoint
from engine.audit.commit import SEGMENTS, Committer, Covered
from engine.audit.errors import AuditLockedError, AuditUnavailableError
from engine.audit.files import Files, SystemFiles, ensure_directory, sync_directory
from engine.audit.key_ring import KeyRing
from engine.audit.keys import Signer, VerifierKey
from engine.audit.merkle import EMPTY_ROOT
from engine.audit.pruning import oldest, pruned_details
from engine.audit.record import unseal
from engine.audit.recovery import read_checkpoint, recovery_details, scan, set_aside
from engine.audit.segment import LineIndex
from engine.audit.tree import TreeReader
from engine.audit.witnessed import Witnessed, read_witnessed
from engine.audit.writer import AuditLimits, Writer
from engine.clock import Clock
from engine.entropy import BufferedEntropy
from engine.values import JsonObject

FORMAT_VERSION: Final = 2
Level = Literal["signed", "witnessed"]
_ACTOR: Final = "audit"  # who the log's own events are by
_DEFAULT_LIMITS: Final = AuditLimits()
_SYSTEM_FILES: Final = SystemFiles()


class AuditLog:
    """An open log. `open` makes it; one writer has a log at a time.

    Its thread needs the interpreter some ten times a commit. A program whose event loop is busy sets
    `sys.setswitchinterval(1e-4)`: CPython's default lets the loop starve that thread (docs/adr/0004).
    """

    def __init__(
        self,
        place: "_Place",
        *,
        ring: KeyRing,
        writer: Writer,
        chain: Chain,
        index: LineIndex,
        tree: TreeReader,
        witnessed: Witnessed,
        clock: Clock,
    ) -> None:
        """Use `open`."""
        self._place = place
        self.opens: Final = ring.opens  # the checkpoint of a note that a key of this log has signed, in its time
        self._witnessed = witnessed
        self._writer = writer
        self._lock = writer.lock
        self._pruning = asyncio.Lock()
        self._chain = chain
        self._index = index
        self._tree = tree
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
        level: Level = "signed",
        files: Files = _SYSTEM_FILES,
        entropy: Callable[[int], bytes] | None = None,
    ) -> "AuditLog":
        """Open the log in `directory`, or begin one there. Blocks while it verifies what is there.

        A new log begins with the event `audit.opened`. Where a crash left something behind the last checkpoint, that
        is moved to `quarantine/` and `audit.recovered` tells of it. Both are durable and signed when this returns.

        Args:
            directory: where it is, or will be; created with mode 0700 (docs/audit-format.md, section 1).
            signer: signs the checkpoints; its name is the log's origin.
            clock: gives the events their time.
            origin: what the log is expected to be called, where the caller wants that compared with the signer.
            limits: of the queue, of group commit, of segments.
            level: what `durable` waits for beside the disk: the log's own signature, or witnesses as well.
            files: the disk.
            entropy: `entropy(n)` gives n random bytes, for event ids; the kernel's, where none is given.

        Raises:
            AuditLockedError: another writer has it.
            AuditTamperedError: the files contradict the signed checkpoint.
            AuditRotationError: a rotation of the key was broken off, or `signer` is a key that gave way.
            AuditUnavailableError: the disk or the signer fails.
            ValueError: `origin` is not the signer's name.
        """
        if origin is not None and origin != signer.name:
            raise ValueError(f"the origin {origin!r} is not the name of the signing key, {signer.name!r}")
        lock_fd = -1
        try:
            ensure_directory(files, directory)
            lock_fd = lock_log(directory)
            chain = Chain(entropy or BufferedEntropy())
            return cls._open_locked(_Place(directory, files, level), signer, clock, limits, chain, lock_fd)
        except BaseException as error:
            if lock_fd >= 0:
                os.close(lock_fd)
            if isinstance(error, OSError):
                raise AuditUnavailableError(f"the audit log cannot be opened: {error}") from error
            raise

    @classmethod
    def _open_locked(
        cls, place: "_Place", signer: Signer, clock: Clock, limits: AuditLimits, chain: Chain, lock_fd: int
    ) -> "AuditLog":
        directory, files = place.directory, place.files
        key = VerifierKey.parse(signer.verifier_key())
        ring = KeyRing.load(directory, signer.verifier_key())
        known = read_checkpoint(directory, ring.opens_newest)
        head = known[0] if known else Checkpoint(origin=key.name, size=0, root=EMPTY_ROOT)
        found = scan(directory, head, chain, ring.opens)
        committer = Committer(directory, files=files, signer=signer, end=found.end)
        own = _OwnEvents(key, chain, clock)
        try:
            # A new log signs the empty tree first: from then on, lines without a checkpoint are tampering.
            witnessed = read_witnessed(directory, ring.opens, committer.reader.root, head.size)
            covered = Covered(head.size, known[1]) if known else committer.sign()
            set_aside(directory, found, files)
            committer.attach(found.end.segment, found.end.content)
            committer.reserve.keep()
            if lines := own.first_lines(directory):
                covered = committer.commit(lines)
        except BaseException:
            committer.close()
            raise
        writer = Writer(committer, covered, clock=clock, limits=limits, own=own, release=partial(os.close, lock_fd))
        writer.start()
        return cls(
            place,
            ring=ring,
            writer=writer,
            chain=chain,
            index=found.end.index,
            tree=committer.reader,
            witnessed=Witnessed(directory, files, witnessed, seconds_max=limits.witness_seconds_max),
            clock=clock,
        )

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
        """Return once a checkpoint that covers `seq` is on the disk, signed, and cosigned where the level says so.

        Cancelling it loses no record.

        Raises:
            AuditUnwitnessedError: it is signed, and not cosigned; it may be, later.
            AuditUnavailableError: that will not happen.
            ValueError: no event has that seq.
        """
        await self._writer.durable(seq)
        if self._place.level == "witnessed":
            await self._witnessed.wait(seq)

    async def close(self) -> None:
        """Make everything durable and let the log go. On a log that is closed it does nothing.

        Where it is cancelled, the log goes on closing; the next call waits for that.

        Raises:
            AuditUnavailableError: something that was appended is not durable.
        """
        if self._closed:
            return
        self._witnessed.close()
        try:
            await self._writer.close()
        except AuditUnavailableError:
            self._closed = True
            raise
        self._closed = True

    @property
    def alive(self) -> bool:
        """Whether it takes events; where not, it has to be opened, and thereby verified, again."""
        return self._writer.alive

    @property
    def size(self) -> int:
        """Number of events that the latest checkpoint covers."""
        return self._writer.covered.size

    @property
    def appended(self) -> int:
        """Number of events that were appended, durable or not."""
        return self._chain.next_seq

    def checkpoint(self) -> bytes:
        """Return the latest checkpoint, a C2SP signed note."""
        return self._writer.covered.note

    def witnessed(self) -> bytes | None:
        """Return the newest checkpoint that enough witnesses have cosigned, or None before the first."""
        held = self._witnessed.held
        return None if held is None else held.note

    def accept_witnessed(self, size: int, note: bytes) -> None:
        """Take a checkpoint of `size` events that enough witnesses have cosigned; the caller has verified that.

        Raises:
            AuditUnwitnessedError: `refuse_witnessed` was called.
            OSError: it could not be kept.
        """
        self._witnessed.accept(Covered(size, note))

    def refuse_witnessed(self, reason: str) -> None:
        """Take none any more, and refuse whoever waits for one: somebody outside knows another history of this log."""
        self._witnessed.refuse(reason)

    async def prune(self, first: int, *, archived: bool, reason: str) -> None:
        """Take the oldest sealed segment out of the log, which begins at event `first`; leaves and seal stay.

        `audit.pruned` is durable before the file goes. Where it stands then, after a crash, nothing is wrong: the
        next call may take it out.

        Raises:
            AuditEventRefusedError: `audit.not_prunable`, it is not the oldest, or nothing sealed comes after it.
            AuditUnavailableError: the log is dead or closed.
            OSError: the file could not be removed.
        """
        directory, files = self._place.directory, self._place.files
        async with self._pruning:  # of two that want the same segment the second finds that it is gone
            segment = await asyncio.to_thread(oldest, directory, first)
            details = await asyncio.to_thread(pruned_details, directory, segment, archived=archived, reason=reason)
            target = f"{SEGMENTS}/{segment.path.name}"
            await self.durable(self.append("audit.pruned", actor=_ACTOR, target=target, details=details))
            self._index.forget(segment.path)
            await asyncio.to_thread(files.unlink, segment.path)
            await asyncio.to_thread(sync_directory, files, segment.path.parent)

    @property
    def first(self) -> int:
        """Seq of the oldest event whose line is here; those before it were pruned."""
        return self._index.first

    async def covered(self, size: int) -> Covered:
        """Wait until the signed checkpoint covers more than `size` events, and return it. It hurries nobody.

        Raises:
            AuditUnavailableError: the log is dead or closed, and covers no more.
        """
        return await self._writer.beyond(size)

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield up to `count` lines, without LF, from seq `start`; only lines that the checkpoint covers now.

        Raises:
            AuditPrunedError: the first of them was pruned.
        """
        return self._index.read(start, min(max(start, 0) + count, self.size))

    def prove_inclusion(self, seq: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the RFC 6962 audit path of event `seq` in the tree of `size` events, or of the newest checkpoint.

        Each hash has 32 bytes; the first is the sibling of the leaf. Pruned events have proofs, too.

        Raises:
            ValueError: the tree has no such event, or no checkpoint covers so many.
        """
        return self._tree.prove_inclusion(seq, self._covered_size(size))

    def prove_consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the RFC 6962 proof that the tree of `old` events is the beginning of that of `new`.

        Raises:
            ValueError: `old` is greater than `new`, or no checkpoint covers so many.
        """
        return self._tree.prove_consistency(old, self._covered_size(new))

    def _covered_size(self, size: int | None) -> int:
        if size is not None and size > self.size:
            raise ValueError(f"the checkpoint covers {self.size} events, not {size}")
        return self.size if size is None else size


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a log is, and what its acknowledgements promise."""

    directory: Path
    files: Files
    level: Level


class _OwnEvents:
    """The events that the log writes of itself."""

    def __init__(self, key: VerifierKey, chain: Chain, clock: Clock) -> None:
        self._key = key
        self._chain = chain
        self._clock = clock

    def first_lines(self, directory: Path) -> list[bytes]:
        """Return what has to be recorded before anybody else records: that the log began, that it was recovered."""
        lines = []
        size = self._chain.next_seq
        if size == 0:
            key_id = self._key.id.hex()
            opened: JsonObject = {"format": FORMAT_VERSION, "origin": self._key.name, "key_id": key_id}
            lines.append(self._line(self._chain, "audit.opened", opened))
        recovered = recovery_details(directory, size)
        if recovered is not None:
            lines.append(self._line(self._chain, "audit.recovered", recovered))
        return lines

    def heartbeat(self) -> bytes:
        """Return `audit.heartbeat`."""
        return self._line(self._chain, "audit.heartbeat", {})

    def disk_full(self, last: bytes, dropped: int) -> bytes:
        """Return `audit.stopped`, which follows `last`: the chain itself may be ahead of it, by what was dropped."""
        end = Chain(os.urandom)
        end.resume(unseal(last))
        return self._line(end, "audit.stopped", {"reason": "disk_full", "dropped": dropped})

    def _line(self, chain: Chain, event_type: str, details: JsonObject) -> bytes:
        return chain.link(event_type, actor=_ACTOR, target=self._key.name, details=details, now=self._clock.now())


def lock_log(directory: Path) -> int:
    """Return a descriptor that holds the log's flock; the kernel lets go of it when the process dies.

    Raises:
        AuditLockedError: another process has it.
    """
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise AuditLockedError(f"{directory}: another process writes this log") from error
    return fd
