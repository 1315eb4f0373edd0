"""Handing a log on to another key: the statement that both keys sign, and the keys that a log has had.

A statement is a C2SP signed note. Its text has five lines, its signatures are the old key's and then the new key's:

    missiongate audit key rotation v1
    <origin>
    <seq of the event audit.key_rotated, which holds this note>
    <old vkey>
    <new vkey>

The old key says who comes after it, the new key agrees; so whoever trusts any key of a log can find all the others,
in both directions. What is signed by a key that gave way counts only up to the event that says so: whoever stole it
cannot go on with the log.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import (
    NOTE_BYTES_MAX,
    Checkpoint,
    CheckpointError,
    NoteUnsignedError,
    open_checkpoint,
    open_note,
    signature_line,
)
from engine.audit.commit import CHECKPOINT_NAME, SEGMENTS
from engine.audit.errors import AuditRotationError, AuditTamperedError
from engine.audit.keys import Signer, VerifierKey
from engine.audit.record import RecordError, unseal
from engine.audit.segment import last_line

ROTATIONS: Final = "rotations"
KEY_ROTATED: Final = "audit.key_rotated"
ROTATIONS_MAX: Final = 4_096  # of one log: a key a day for eleven years
_HEADER: Final = "missiongate audit key rotation v1"
_FILE: Final = re.compile(r"([0-9]{20})\.note")
_TEXT: Final = re.compile(_HEADER + r"\n([^\n]+)\n(0|[1-9][0-9]{0,18})\n([^\n]+)\n([^\n]+)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a statement says: with event `seq`, `new` takes over from `old`. Both are vkeys of one name."""

    seq: int
    old: str
    new: str

    @property
    def origin(self) -> str:
        """The log's name, which no rotation changes."""
        return self.old.partition("+")[0]

    def text(self) -> bytes:
        """Return the five lines that are signed."""
        return f"{_HEADER}\n{self.origin}\n{self.seq}\n{self.old}\n{self.new}\n".encode()

    def signed(self, old: Signer, new: Signer) -> bytes:
        """Return the statement, signed by both keys.

        Raises:
            Exception: whatever a signer raises.
        """
        text = self.text()
        keys = (VerifierKey.parse(self.old), old), (VerifierKey.parse(self.new), new)
        return text + b"\n" + b"".join(signature_line(text, signer, key) for key, signer in keys)

    @classmethod
    def parse(cls, note: bytes) -> "Rotation":
        """Read a statement and verify both signatures.

        Raises:
            ValueError: it is not, byte for byte, a statement that both of its keys have signed.
        """
        text, separator, signatures = note.partition(b"\n\n")
        try:
            match = _TEXT.fullmatch(text.decode("ascii") + "\n")
        except UnicodeDecodeError as error:
            raise ValueError("a rotation statement is ASCII") from error
        lines = signatures.splitlines(keepends=True)
        if match is None or not separator or len(lines) != len(("old", "new")):
            raise ValueError("not a statement of a key rotation with two signatures")
        made = cls(seq=int(match[2]), old=match[3], new=match[4])
        old, new = VerifierKey.parse(made.old), VerifierKey.parse(made.new)
        if not old.name == new.name == match[1]:
            raise ValueError("the keys of a rotation are both named as the log is")
        if old.id == new.id:
            raise ValueError("a rotation is to another key")
        for key, line in zip((old, new), lines, strict=True):
            open_note(made.text() + b"\n" + line, key)
        return made

    def file(self, directory: Path) -> Path:
        """Return where the statement is kept in the log in `directory`."""
        return directory / ROTATIONS / f"{self.seq:020d}.note"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that a log has had, and from when to when. Immutable: a log that is open has one key."""

    keys: tuple[VerifierKey, ...]  # oldest first; the last one signs now
    vkeys: tuple[str, ...]  # the same as text
    rotations: tuple[Rotation, ...]  # rotations[n] is where keys[n] gave way to keys[n + 1]

    @classmethod
    def load(cls, directory: Path, signer_vkey: str) -> "KeyRing":
        """Return the keys of the log in `directory`, of which `signer_vkey` is to be the newest.

        Raises:
            AuditRotationError: a rotation was broken off, and has to be brought to its end before the log is opened.
            AuditTamperedError: the statements are no chain that ends with `signer_vkey`.
        """
        rotations = read_rotations(directory)
        known = _chain(directory, rotations, signer_vkey)
        pending = unfinished(directory)
        if pending is not None and signer_vkey in {pending[0].old, pending[0].new}:
            raise AuditRotationError(finish(pending[0]))
        if known[-1] != signer_vkey:
            if signer_vkey in known:
                raise AuditRotationError(finish(rotations[known.index(signer_vkey)]))
            raise AuditTamperedError(f"{directory}: the signing key is not the one that the log was handed on to")
        return cls(tuple(map(VerifierKey.parse, known)), known, rotations)

    def opens(self, note: bytes) -> Checkpoint:
        """Return the checkpoint of a note that one of the keys signed in its time.

        Raises:
            CheckpointError: malformed, wrongly signed, not signed by any of the keys, or by one that had given way.
        """
        found: Checkpoint | None = None
        untimely: int | None = None
        for at, key in enumerate(self.keys):
            try:
                checkpoint = open_checkpoint(note, key)
            except NoteUnsignedError:
                continue
            if self._began(at) <= checkpoint.size <= self._ended(at, checkpoint.size):
                found = checkpoint
            else:
                untimely = at
        if found is not None:
            return found
        if untimely is not None:
            raise CheckpointError(f"signed by {self.vkeys[untimely]} outside of the time in which it was the log's key")
        raise NoteUnsignedError(f"not signed by any key of the log, the newest of which is {self.vkeys[-1]}")

    def opens_newest(self, note: bytes) -> Checkpoint:
        """Return the checkpoint of a note that the newest key signed: what a log goes on from.

        Raises:
            AuditRotationError: it is the last one that the key before has signed: the rotation was broken off.
            CheckpointError: as for `opens`; or only an earlier key has signed it.
        """
        checkpoint = self.opens(note)
        try:
            return open_checkpoint(note, self.keys[-1])
        except NoteUnsignedError:
            last = self.rotations[-1]
            if checkpoint.size == last.seq + 1:
                raise AuditRotationError(finish(last)) from None
            raise

    @property
    def newest_first(self) -> tuple[str, ...]:
        """The vkeys, as auditors want them: the one that signs now comes first."""
        return self.vkeys[::-1]

    def _began(self, at: int) -> int:
        """Return the size of the first tree that key `at` has signed."""
        return self.rotations[at - 1].seq + 1 if at else 0

    def _ended(self, at: int, size: int) -> int:
        """Return the size of the last tree that key `at` could sign; `size` where it is the newest."""
        return self.rotations[at].seq + 1 if at < len(self.rotations) else size


def read_rotations(directory: Path) -> tuple[Rotation, ...]:
    """Return the rotations of the log in `directory`, oldest first; each statement's signatures were verified.

    Raises:
        AuditTamperedError: a file is no statement, has another's name, or does not follow the one before.
    """
    folder = directory / ROTATIONS
    if not folder.exists():
        return ()
    found: list[Rotation] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".tmp":  # on its way to its name; never read
            continue
        if _FILE.fullmatch(path.name) is None or path.is_symlink() or not path.is_file():
            raise AuditTamperedError(f"{path} is no statement of a key rotation")
        if len(found) >= ROTATIONS_MAX:
            raise AuditTamperedError(f"{folder} has more than {ROTATIONS_MAX} statements")
        found.append(_read_statement(path))
        if found[-1].file(directory) != path:
            raise AuditTamperedError(f"{path}: its statement is of event {found[-1].seq}")
    return tuple(found)


def unfinished(directory: Path) -> tuple[Rotation, bytes] | None:
    """Return the rotation that ends the log and whose statement is not in its folder yet, with that, or None.

    It is looked up without a key, to say what has to be done; nothing is trusted for it.

    Raises:
        AuditTamperedError: there is something else among the segments.
    """
    line = last_line(directory / SEGMENTS)
    if line is None or b'"' + KEY_ROTATED.encode() + b'"' not in line:
        return None
    try:
        record = unseal(line)
        statement = str(record.details.get("statement")).encode()
        made = Rotation.parse(statement)
        head = _claimed_head(directory / CHECKPOINT_NAME)
    except (RecordError, ValueError, OSError):
        return None
    if record.event_type != KEY_ROTATED or made.seq != record.seq or made.file(directory).exists():
        return None
    return (made, statement) if head.size == made.seq + 1 else None  # else it was never signed


def announced(directory: Path) -> Rotation | None:
    """Return the newest rotation that the log has heard of, finished or not, or None.

    Raises:
        AuditTamperedError: as for `read_rotations` and `unfinished`.
    """
    found = unfinished(directory)
    if found is not None:
        return found[0]
    return next(reversed(read_rotations(directory)), None)


def _chain(directory: Path, rotations: tuple[Rotation, ...], alone: str) -> tuple[str, ...]:
    """Return the vkeys in their order; `alone` is the only one where nothing was rotated."""
    if not rotations:
        return (alone,)
    known = [rotations[0].old]
    for each in rotations:
        if each.old != known[-1] or each.new in known:
            raise AuditTamperedError(f"{each.file(directory)} does not follow the rotation before")
        known.append(each.new)
    return tuple(known)


def _read_statement(path: Path) -> Rotation:
    with path.open("rb") as file:
        note = file.read(NOTE_BYTES_MAX + 1)
    try:
        return Rotation.parse(note)
    except ValueError as error:
        raise AuditTamperedError(f"{path}: {error}") from error


def _claimed_head(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        text, _, _ = file.read(NOTE_BYTES_MAX + 1).partition(b"\n\n")
    return Checkpoint.parse(text + b"\n")


def finish(rotation: Rotation) -> str:
    """Return what a person has to do, where `rotation` was broken off or its old key is used again."""
    return (
        f"event {rotation.seq} handed the log on from {rotation.old} to {rotation.new}: `missiongate keys rotate` ends "
        "what was begun there; from then on only the new key opens the log"
    )
