"""What a verification found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BadEvent:
    """The first event that is not what it has to be."""

    seq: int  # the seq that belongs there
    file: str  # relative to the log's directory
    line: int  # 1-based, in that file
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The verdict on a log. `ok` means: the first `checkpoint_size` events are, byte for byte, what the key signed."""

    ok: bool
    code: str  # "ok", or what is wrong, stable: docs/audit-format.md, section 8, lists all
    message: str  # one sentence
    origin: str = ""
    events: int = 0  # events found good, from seq 0
    checkpoint_size: int = 0
    root_hash: str = ""  # base64 of the root over the good events, as in a checkpoint; "" where it was not computed
    first_bad: BadEvent | None = None  # None also where no single event is to blame, as for a forged whole
    outside_size: int | None = None  # size of the outside checkpoint that the log was found to extend
    uncovered_lines: int = 0  # after the checkpoint: not signed, so not judged; a crash or a live writer leaves some
    uncovered_bytes: int = 0
