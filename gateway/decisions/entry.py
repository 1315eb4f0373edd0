"""One decision on its way to the records: what is known of it when it has been taken."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from engine.entropy import BufferedEntropy
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint

_RANDOM_BYTES: Final = 10
_ENTROPY: Final = BufferedEntropy()  # of the event loop, on which decisions are taken
_VERSION: Final = 0x7000
_VARIANT: Final = 0x8000_0000_0000_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision that was told to somebody."""

    id: str
    moment: datetime  # when it was taken, UTC
    entrypoint: Entrypoint
    document: bytes  # as it was asked, byte for byte
    decision: Decision
    eval_ns: int  # from the question to the answer; next to nothing where the answer came from the cache

    @property
    def day(self) -> int:
        """Days of the calendar, from 0001-01-01: which of the keys seals it."""
        return self.moment.toordinal()


def decision_id(milliseconds: int) -> str:
    """Return 32 hex digits that nobody can guess, and that sort by the time they are of.

    Source: RFC 9562, 5.7 (UUID version 7), without its hyphens.
    """
    random = _ENTROPY(_RANDOM_BYTES)
    high = _VERSION | int.from_bytes(random[:2], "big") & 0x0FFF
    low = _VARIANT | int.from_bytes(random[2:], "big") & 0x3FFF_FFFF_FFFF_FFFF
    return f"{(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | high << 64 | low:032x}"
