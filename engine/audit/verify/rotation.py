"""The chain of the log's keys: from the one that is trusted, by notes that both keys of a change signed.

A thief of one key cannot lengthen the chain beyond it without showing: each note has to be the event of its seq.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.audit.verify.line import LogEvent
from engine.audit.verify.note import Head, Key, Note, NoteError, VerifierKeyError, read_key, read_note
from engine.audit.verify.report import KeyRotation
from engine.audit.verify.verdict import Verdict

ROTATIONS_MAX: Final = 4_096
_TEXT: Final = re.compile(rb"missiongate audit key rotation v1\n([^\n]+)\n(0|[1-9][0-9]{0,18})\n([^\n]+)\n([^\n]+)\n")


@dataclass(frozen=True, slots=True)
class Rotation:
    """One note: at event `seq` the key `new` took the place of `old`."""

    seq: int
    old: Key
    new: Key
    statement: bytes  # the whole note


@dataclass(frozen=True, slots=True)
class KeyChain:
    """The keys of a log in the order in which they were in force; `rotations[i]` leads from `keys[i]` to the next."""

    keys: tuple[Key, ...]
    rotations: tuple[Rotation, ...]

    @property
    def name(self) -> bytes:
        """The name that all of them have, which is the log's origin."""
        return self.keys[0].name

    def check_in_force(self, head: Head, what: str) -> None:
        """Require that `head` is signed by a key of its time: none signs after its replacement, or before its event.

        Raises:
            Verdict: `checkpoint.superseded`.
        """
        if not any(self._is_in_force(self.keys.index(key), head.size) for key in head.signers):
            newest = head.signers[-1].label
            raise Verdict("checkpoint.superseded", f"{what} is signed by {newest}, which is not the key of its time")

    def _is_in_force(self, at: int, size: int) -> bool:
        """Whether key `at` signs trees of `size` events; both keys of a change sign that of its event."""
        began = self.rotations[at - 1].seq + 1 if at else 0
        return began <= size and (at == len(self.rotations) or size <= self.rotations[at].seq + 1)

    def labels(self) -> tuple[KeyRotation, ...]:
        """Return the rotations for a report."""
        return tuple(KeyRotation(seq=r.seq, old=r.old.label, new=r.new.label) for r in self.rotations)


def read_chain(trusted: Key, notes: Mapping[int, bytes]) -> KeyChain:
    """Return the chain through `trusted` that the notes, by the seq that they are filed under, make.

    Raises:
        Verdict: `rotation.malformed`, `rotation.signature`, `rotation.broken`: the notes are not one chain, or one
            that `trusted` is no part of.
    """
    rotations = [_read_rotation(trusted.name, seq, note) for seq, note in sorted(notes.items())]
    if not rotations:
        return KeyChain((trusted,), ())
    keys = [rotations[0].old]
    for rotation in rotations:
        if rotation.old.raw != keys[-1].raw:
            raise Verdict("rotation.broken", f"the rotation of event {rotation.seq} does not follow the one before")
        keys.append(rotation.new)
    if len({key.id for key in keys}) != len(keys):
        raise Verdict("rotation.broken", "a key comes twice")
    if trusted.raw not in {key.raw for key in keys}:
        raise Verdict("rotation.broken", f"the rotations do not lead to {trusted.label}")
    return KeyChain(tuple(keys), tuple(rotations))


def _read_rotation(name: bytes, seq: int, note: bytes) -> Rotation:
    """Read one note, which has to be signed by both of the keys that it names."""
    where = f"the rotation of event {seq}"
    try:
        opened = read_note(note)
        text = _TEXT.fullmatch(opened.text)
        if text is None:
            raise Verdict("rotation.malformed", f"{where} is no rotation")
        origin, number, old_vkey, new_vkey = text.groups()
        old, new = read_key(old_vkey.decode()), read_key(new_vkey.decode())
        if int(number) != seq or origin != name or old.name != name or new.name != name:
            raise Verdict("rotation.malformed", f"{where} is of another event or another log")
        _check_signatures(opened, old, new)
    except NoteError as error:
        code = "rotation.signature" if error.code == "checkpoint.signature" else "rotation.malformed"
        raise Verdict(code, f"{where}: {error}") from None
    except VerifierKeyError as error:
        raise Verdict("rotation.malformed", f"{where}: {error}") from None
    return Rotation(seq, old, new, note)


def _check_signatures(opened: Note, old: Key, new: Key) -> None:
    lines = tuple((name, raw[:4]) for name, raw in opened.signatures)
    both = lines == ((old.name, old.id), (new.name, new.id))
    if not both or not opened.signed_by(old) or not opened.signed_by(new):
        raise NoteError("checkpoint.signature", "it is not signed by the old key and then the new one, and nobody else")


def check_rotations(chain: KeyChain, events: Sequence[LogEvent], size: int, has_line: Callable[[int], bool]) -> None:
    """Require that each note is the event of its seq, where the line is here, and that no event lacks its note.

    A rotation that a crash broke off has an event and no note; then it is the last event of `size`.

    Raises:
        Verdict: `rotation.event`, `rotation.missing`.
    """
    told = {event.seq: event for event in events}
    for rotation in chain.rotations:
        event = told.pop(rotation.seq, None)
        if event is None and not has_line(rotation.seq):
            continue
        if event is None or not _is_statement(event, rotation):
            raise Verdict("rotation.event", f"event {rotation.seq} does not tell of the rotation that bears its number")
    for seq, event in sorted(told.items()):
        statement = str(event.details.get("statement")).encode()
        rotation = _read_rotation(chain.name, seq, statement)
        if seq != size - 1 or rotation.old.raw != chain.keys[-1].raw:
            raise Verdict("rotation.missing", f"event {seq} has changed the key, and its note is not there")


def _is_statement(event: LogEvent, rotation: Rotation) -> bool:
    return event.details.get("statement") == rotation.statement.decode() and event.target.encode() == rotation.old.name


def rotations_by_seq(notes: Iterable[bytes]) -> dict[int, bytes]:
    """Return notes by the seq that their text names, for those that no file names.

    Raises:
        Verdict: `rotation.malformed`: one is no rotation, or two are of one event.
    """
    by_seq: dict[int, bytes] = {}
    for note in notes:
        text = _TEXT.match(note)
        if text is None or int(text[2]) in by_seq:
            raise Verdict("rotation.malformed", "a rotation is none, or two are of one event")
        by_seq[int(text[2])] = note
    return by_seq
