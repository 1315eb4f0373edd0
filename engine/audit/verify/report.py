"""What a verification found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class BadEvent:
    """The first event that is not what it has to be."""

    seq: int  # the seq that belongs there
    file: str  # relative to what was verified; "archive/…" below the archive
    line: int  # 1-based, in that file
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """A change of the log's key that was followed, signed by both keys."""

    seq: int  # of the event that tells of it
    old: str  # name+id
    new: str  # name+id


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The verdict on a log, a bundle or a proof.

    `ok` of a log means: the first `checkpoint_size` events are, byte for byte, what the key signed, but for the lines
    of `pruned_events`, of which the hashes are. Of a bundle or a proof: each of the `events` is one of them.
    """

    ok: bool
    code: str  # "ok", or what is wrong, stable: docs/audit-format.md, section 8, lists all
    message: str  # one sentence
    target: Literal["log", "bundle", "proof"] = "log"
    origin: str = ""
    signed_by: tuple[str, ...] = ()  # name+id of the keys of the chain that signed the checkpoint, the newest last
    rotations: tuple[KeyRotation, ...] = ()
    events: int = 0  # events found good: of a log from seq 0, pruned ones included
    checkpoint_size: int = 0
    root_hash: str = ""  # base64 of the root over the good events, as in a checkpoint; "" where it was not computed
    first_bad: BadEvent | None = None  # None also where no single event is to blame, as for a forged whole
    outside_size: int | None = None  # size of the largest outside checkpoint that the log was found to extend
    witnessed_size: int | None = None  # what a quorum of the given witnesses has cosigned of it
    witnessed_at: str | None = None  # when that quorum was complete, by the witnesses' clocks; as a timestamp
    witnesses: tuple[str, ...] = ()  # name+id of those that did
    newest_event: str | None = None  # timestamp of the newest signed event whose line is here
    pruned_events: int = 0  # whose lines are gone, by signed events that say so; their hashes are in the tree
    archived_events: int = 0  # whose lines were read from the archive
    complete: bool | None = None  # of a bundle: whether it was shown to have every event of its range
    uncovered_lines: int = 0  # after the checkpoint: not signed, so not judged; a crash or a live writer leaves some
    uncovered_bytes: int = 0
