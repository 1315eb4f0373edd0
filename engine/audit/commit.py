"""One batch of lines becomes durable and signed; the order of these steps is what an acknowledgement rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from engine.audit.errors import AuditUnavailableError
from engine.audit.files import Files, persist
from engine.audit.keys import Signer, VerifierKey
from engine.audit.merkle import Frontier, leaf_hash
from engine.audit.segment import LineIndex, SegmentWriter

CHECKPOINT_NAME: Final = "checkpoint"
# A batch is the most that a crash can leave after a checkpoint; readers rely on it (audit-format.md, section 7).
BATCH_EVENTS_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class Covered:
    """What is durable and signed: `note` covers the first `size` events."""

    size: int
    note: bytes


class Committer:
    """Owns the files of an open log. Used by one thread at a time; after an exception it must not be used again."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        signer: Signer,
        tree: Frontier,
        index: LineIndex,
    ) -> None:
        """Take over `directory`, whose first `tree.size` lines were checked; `attach` gives it the open segment."""
        self._directory = directory
        self._directory_fd = files.open_directory(directory)
        self._files = files
        self._signer = signer
        self._key = VerifierKey.parse(signer.verifier_key())
        self._tree = tree
        self._index = index
        self._segment: SegmentWriter | None = None
        self._proven = False

    def attach(self, segment: SegmentWriter) -> None:
        """Write to `segment` from now on."""
        self._segment = segment

    def commit(self, lines: Sequence[bytes]) -> Covered:
        """Make `lines` durable, then sign a checkpoint over them, then make that durable.

        Raises:
            Exception: whatever the disk or the signer raised. Nothing of the batch may then be acknowledged.
        """
        segment = self._segment
        if segment is None or len(lines) > BATCH_EVENTS_MAX:
            raise RuntimeError("no open segment, or a batch over its maximum")
        self._index.mark(self._tree.size, segment.path, segment.size_bytes)
        segment.append(b"\n".join(lines) + b"\n")  # (1) write, (2) fdatasync
        for line in lines:  # (3) only what is durable enters the tree
            self._tree.append(leaf_hash(line))
        return self.sign()

    def sign(self) -> Covered:
        """Sign the tree as it is and persist the checkpoint."""
        head = Checkpoint(origin=self._key.name, size=self._tree.size, root=self._tree.root())
        try:
            note = sign_checkpoint(head, self._signer, self._key)  # (4)
            if not self._proven:  # once an opening: a signer that does not match its public half must not go on
                open_checkpoint(note, self._key)
                self._proven = True
        except Exception as error:
            raise AuditUnavailableError("the signer of the audit log fails") from error
        persist(self._files, self._directory, self._directory_fd, CHECKPOINT_NAME, note)  # (5)
        return Covered(head.size, note)

    def close(self) -> None:
        """Close the files."""
        if self._segment is not None:
            self._segment.close()
        self._files.close(self._directory_fd)
