"""Cosignatures of witnesses: who else says that this is the one history of the log, and since when.

Source: C2SP tlog-cosignature. A witness cosigns only what extends all that it has cosigned before, so what enough of
them have cosigned cannot be rewritten, not even by a thief of the log's key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from engine.audit.verify.note import Head, Key, NoteError, read_witness_key
from engine.audit.verify.verdict import Verdict
from engine.errors import RefusalError

WITNESSES_MAX: Final = 60  # a note has at most 64 signatures, and the log's own are among them


class QuorumError(RefusalError):
    """The witnesses that are asked for cannot be: none, too many, one twice, or fewer than are required."""

    default_code = "witness.quorum"


@dataclass(frozen=True, slots=True)
class Quorum:
    """Of these witnesses, so many have to have cosigned. With none of either, nothing is asked."""

    keys: tuple[Key, ...] = ()
    required: int = 0


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A head that enough witnesses have cosigned."""

    head: Head
    seconds: int  # since 1970: when the last of the quorum's newest cosignatures was made
    witnesses: tuple[Key, ...]

    @property
    def at(self) -> str:
        """The time as a timestamp of the log."""
        limit = 253_402_300_799  # the last second of the year 9999
        return datetime.fromtimestamp(min(self.seconds, limit), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_quorum(vkeys: Sequence[str], required: int | None) -> Quorum:
    """Return the quorum of some witnesses; all of them where no number is given.

    Raises:
        VerifierKeyError: a key is none of a witness.
        QuorumError: the number does not fit the keys.
    """
    keys = tuple(map(read_witness_key, vkeys))
    if len({(key.name, key.id) for key in keys}) != len(keys) or len({key.raw for key in keys}) != len(keys):
        raise QuorumError("a witness is given twice")
    if len(keys) > WITNESSES_MAX:
        raise QuorumError(f"at most {WITNESSES_MAX} witnesses")
    needed = len(keys) if required is None else required
    if not min(len(keys), 1) <= needed <= len(keys):
        raise QuorumError(f"{needed} of {len(keys)} witnesses cannot be required")
    return Quorum(keys, needed)


def witnessed(head: Head, quorum: Quorum) -> Witnessed | None:
    """Return what the quorum says of `head`, or None where too few have cosigned it.

    Raises:
        Verdict: `witness.signature`, a cosignature of one of them is wrong.
    """
    times: list[tuple[int, Key]] = []
    try:
        for key in quorum.keys:
            time = head.note.cosigned_by(key)
            if time is not None:
                times.append((time, key))
    except NoteError as error:
        raise Verdict(error.code, f"the checkpoint of {head.size} events: {error}") from None
    if len(times) < quorum.required:
        return None
    newest = sorted(times, key=lambda pair: pair[0], reverse=True)
    return Witnessed(head, newest[quorum.required - 1][0], tuple(key for _, key in times))


def check_fresh(newest: str, oldest: datetime | None) -> None:
    """Require that the timestamp of the newest signed event is not before `oldest`, where that is given.

    Raises:
        Verdict: `log.stale`.
    """
    if oldest is not None and (not newest or datetime.fromisoformat(newest) < oldest):
        raise Verdict("log.stale", f"the newest signed event is of {newest or 'no time at all'}, which is too old")
