"""Random bytes of the kernel, many at a time: each system call gives up the interpreter, and waits to have it again."""

import os
from typing import Final

FETCHED_BYTES: Final = 6_144


class Chance:
    """Bytes that nobody can guess, each given once. For one thread."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return `size` bytes, at most `FETCHED_BYTES`, that were never returned before."""
        end = self._at + size
        if end > len(self._bytes):
            self._bytes, self._at, end = os.urandom(FETCHED_BYTES), 0, size
        taken, self._at = self._bytes[self._at : end], end
        return taken
