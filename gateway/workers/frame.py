"""Frames on a byte stream: a 4-byte big-endian length, then that many bytes.

The top bit of the length marks a *note*: the last words of a worker that is about to end, for the log. What follows a
note is not read.
"""

from gateway.errors import WorkerError

FRAME_BYTES_MAX = 64 * 1024 * 1024
NOTE_BYTES_MAX = 512
_NOTE = 0x8000_0000
_HEADER_BYTES = 4


def frame(payload: bytes) -> bytes:
    """Return `payload` with its header, ready to be sent."""
    return len(payload).to_bytes(_HEADER_BYTES, "big") + payload


def note(text: str) -> bytes:
    """Return `text`, cut to `NOTE_BYTES_MAX`, as a note."""
    payload = text.encode("utf-8", "backslashreplace")[:NOTE_BYTES_MAX]
    return (_NOTE | len(payload)).to_bytes(_HEADER_BYTES, "big") + payload


def printable(text: bytes) -> str:
    """Return what a worker says of itself as one line of text: it goes to logs, terminals and callers."""
    return "".join(char if char.isprintable() else "?" for char in text.decode("utf-8", "replace"))


class FrameReader:
    """Cuts a stream into frames; holds at most one unfinished frame and what was fed behind it."""

    __slots__ = ("_bytes_max", "_need", "_rest", "note")

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._need = _HEADER_BYTES  # bytes that `_rest` must hold before it is worth looking again
        self.note: str | None = None  # the peer's last words

    @property
    def unfinished(self) -> bool:
        """Whether the beginning of a frame is held."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes; after a note, none any more.

        Raises:
            WorkerError: `worker.protocol`, the peer announced a frame, or a note, over its limit.
        """
        if self.note is not None:
            return []
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        frames: list[bytes] = []
        position, end = 0, len(data)
        self._need = _HEADER_BYTES
        while end - position >= _HEADER_BYTES:
            start = position + _HEADER_BYTES
            length = int.from_bytes(data[position:start], "big")
            size, size_max = length & ~_NOTE, NOTE_BYTES_MAX if length & _NOTE else self._bytes_max
            if size > size_max:
                raise WorkerError(f"a frame of {size} bytes is over the maximum of {size_max}", code="worker.protocol")
            if end - start < size:
                self._need = _HEADER_BYTES + size
                break
            payload = data[start : start + size]
            position = start + size
            if length & _NOTE:
                self.note = printable(payload)
                return frames
            frames.append(payload)
        self._rest += data[position:]
        return frames
