"""Commitments to values that nobody has vouched for yet: what is no JSON has none, and equals nothing."""

from typing import Final

from gateway.commitments import Commitments

NO_DIGEST: Final = "no JSON"


class Digests:
    """What the log of one mission would have for a value."""

    def __init__(self, commitments: Commitments) -> None:
        self._commitments = commitments

    def of(self, value: object) -> str:
        """Return the commitment to a value; NO_DIGEST for one that the log could not have."""
        try:
            return self._commitments.of(value)
        except (TypeError, ValueError):  # orjson's: nested over 254 levels, a lone surrogate
            return NO_DIGEST
