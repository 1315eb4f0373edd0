"""Random bytes, drawn from the kernel a block at a time: a call to it costs a tenth of an event of the log."""

import os
from typing import Final

BLOCK_BYTES: Final = 4_096


class BufferedEntropy:
    """Hands out each byte of random blocks once. Not safe for threads, nor across a fork."""

    __slots__ = ("_block", "_used")

    def __init__(self) -> None:
        self._block = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        """Return `count` bytes, at most `BLOCK_BYTES`, that nobody can guess or repeat.

        Raises:
            ValueError: `count` is negative or over a block.
        """
        if not 0 <= count <= BLOCK_BYTES:
            raise ValueError(f"0 to {BLOCK_BYTES} bytes at a time")
        if self._used + count > len(self._block):
            self._block = os.urandom(BLOCK_BYTES)
            self._used = 0
        start = self._used
        self._used += count
        return self._block[start : self._used]
