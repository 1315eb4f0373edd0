"""The newest checkpoint that enough witnesses have cosigned, and who waits for one.

Who asks witnesses is outside of the engine; it hands in what it got, already verified. Source: C2SP tlog-witness.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError
from engine.audit.commit import Covered
from engine.audit.errors import AuditTamperedError, AuditUnavailableError, AuditUnwitnessedError
from engine.audit.files import Files, persist
from engine.audit.waiters import Waiters, answer

WITNESSED_NAME: Final = "witnessed"


class Witnessed:
    """The file `witnessed`, and whoever waits for it to cover an event. Any thread may call."""

    def __init__(self, directory: Path, files: Files, held: Covered | None, *, seconds_max: float = 10.0) -> None:
        """Go on from `held`, what the file has; nobody waits longer than `seconds_max`."""
        self._directory = directory
        self._files = files
        self._held = held
        self._seconds_max = seconds_max
        self._writing = threading.Lock()  # of the file; its own, so that nobody's event loop waits for the disk
        self._lock = threading.Lock()
        self._refusal: AuditUnwitnessedError | None = None
        self._waiters = Waiters()
        self._closed = False

    @property
    def held(self) -> Covered | None:
        """The newest checkpoint that enough witnesses have cosigned; None before the first."""
        return self._held

    def accept(self, covered: Covered) -> None:
        """Keep a cosigned checkpoint, durably, and wake whom it serves.

        One that covers less is passed over. One of the same size takes the place of what is held: it has more
        signatures.

        Raises:
            AuditUnwitnessedError: `refuse` was called; nothing counts any more.
            OSError: it could not be written; nobody was woken.
        """
        with self._writing:
            if self._refusal is not None:
                raise self._refusal
            if self._held is not None and (covered.size < self._held.size or covered.note == self._held.note):
                return
            fd = self._files.open_directory(self._directory)
            try:
                persist(self._files, self._directory, fd, WITNESSED_NAME, covered.note)
            finally:
                self._files.close(fd)
            with self._lock:
                self._held = covered
                served = self._waiters.take(covered.size)
        answer(served, None)

    def refuse(self, reason: str) -> None:
        """Take no cosigned checkpoint any more, and send everybody away who waits for one, now or later."""
        refusal = AuditUnwitnessedError(
            f"the history of the audit log is refused: {reason}", code="audit.history_refused"
        )
        with self._lock:
            self._refusal = self._refusal or refusal
            waiting = self._waiters.take(None)
        answer(waiting, refusal)

    async def wait(self, seq: int) -> None:
        """Wait until a cosigned checkpoint covers event `seq`.

        Raises:
            AuditUnwitnessedError: none did in time, or `refuse` was called.
            AuditUnavailableError: the log was closed.
        """
        with self._lock:
            if self._refusal is not None:
                raise AuditUnwitnessedError(self._refusal.message, code=self._refusal.code)
            if self._held is not None and seq < self._held.size:
                return
            if self._closed:
                raise AuditUnavailableError("the audit log is closed")
            future = self._waiters.add(seq)
        try:
            async with asyncio.timeout(self._seconds_max):
                await future
        except TimeoutError:
            raise AuditUnwitnessedError(
                f"event {seq} is recorded and signed, and not enough witnesses have cosigned it within "
                f"{self._seconds_max:g} s"
            ) from None
        finally:
            if future.cancelled():  # late, or the caller was: nobody serves it, so nobody would take it out
                with self._lock:
                    self._waiters.forget(future)

    def close(self) -> None:
        """Send everybody away who still waits."""
        with self._lock:
            self._closed = True
            waiting = self._waiters.take(None)
        answer(waiting, "the audit log is closed")


def read_witnessed(
    directory: Path, opens: Callable[[bytes], Checkpoint], root_of: Callable[[int], bytes], size: int
) -> Covered | None:
    """Return what the file has, or None where there is none.

    Args:
        directory: the log's.
        opens: returns the checkpoint of a note that the log has signed, and raises CheckpointError for any other.
        root_of: root of the tree of so many events.
        size: number of events that the log has.

    Raises:
        AuditTamperedError: it is not a checkpoint of this log: witnesses have seen another one, or a longer one.
    """
    path = directory / WITNESSED_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        note = file.read(NOTE_BYTES_MAX + 1)
    try:
        head = opens(note)
    except CheckpointError as error:
        raise AuditTamperedError(f"{path}: {error}") from error
    if head.size > size or root_of(head.size) != head.root:
        raise AuditTamperedError(f"{path}: the witnesses have seen a log of which this one is no continuation")
    return Covered(head.size, note)
