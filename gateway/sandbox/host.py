"""What a run has in place of a world: the deterministic WASI preview 1 shim, one `Host` for each run.

All that a guest learns here is a function of its `RunGiven` and of the calls that it made, so a run replays. Every call
has a price in fuel and counts against a maximum, every pointer is checked, and every buffer is bounded.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from gateway.sandbox import wasi
from gateway.sandbox.call import End
from gateway.sandbox.port import LOG_BYTES_MAX, RunGiven

HOST_CALLS_MAX: Final = 10_000  # of one run
CALL_FUEL: Final = 10_000  # what a call takes in Python, at FUEL_PER_MS: 5 µs
BYTE_FUEL: Final = 8  # for each byte that is made for the guest or kept of it
RANDOM_BYTES_MAX: Final = 65_536  # of one call
VECTORS_MAX: Final = 16  # buffers of one fd_write that are looked at; the guest is told that the rest was not written
CLOCK_STEP_NS: Final = 1_000
RANDOM_DOMAIN: Final = b"missiongate.random/v1"

_CLOCKS: Final = (0, 1)  # realtime and monotonic, which are the same here; there is no CPU time
_OUTPUTS: Final = (1, 2)
_STANDARD: Final = (0, 1, 2)
_CHARACTER_DEVICE: Final = 2  # so that the C library keeps lines, not blocks, to itself
_RIGHT_READ, _RIGHT_WRITE = 1 << 1, 1 << 6
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_VECTOR: Final = struct.Struct("<II")  # address, length
_FDSTAT: Final = struct.Struct("<BxHxxxxQQ")  # type, flags, rights, rights of what is opened through it


class HostEndedError(Exception):
    """A call ends the run; the guest's code does not go on."""

    def __init__(self, end: End) -> None:
        super().__init__(end.value)
        self.end = end


class Guest(Protocol):
    """The instance that is calling, for as long as the call lasts."""

    def charge(self, fuel: int) -> None:
        """Take so much fuel.

        Raises:
            HostEndedError: `End.FUEL`, there was less.
        """

    def memory_bytes(self) -> int:
        """Size of its memory.

        Raises:
            HostEndedError: `End.TRAPPED`, it was not called by an instance.
        """

    def read(self, at: int, size: int) -> bytes:
        """Copy out of its memory; the caller has checked that it is there."""

    def write(self, at: int, data: bytes) -> None:
        """Copy into its memory; the caller has checked that there is room."""


class Host:
    """Answers the calls of one run."""

    __slots__ = ("_calls", "_clock_reads", "_given", "_log", "_random_calls")

    def __init__(self, given: RunGiven) -> None:
        self._given = given
        self._calls = self._clock_reads = self._random_calls = 0
        self._log = bytearray()

    @property
    def log(self) -> bytes:
        """What the guest wrote to its standard output and standard error, in order, up to `LOG_BYTES_MAX`."""
        return bytes(self._log)

    def call(self, name: str, arguments: Sequence[int], guest: Guest) -> int:
        """Return what the function `name` answers; `arguments` are unsigned and of its type.

        Raises:
            HostEndedError: the run is over.
        """
        self._calls += 1
        if self._calls > HOST_CALLS_MAX:
            raise HostEndedError(End.HOST_CALLS)
        guest.charge(CALL_FUEL)
        answer = wasi.FUNCTIONS[name].answer
        return _ANSWERS[name](self, guest, *arguments) if answer is None else answer

    def _no_strings(self, guest: Guest, count_at: int, size_at: int) -> int:
        """`args_sizes_get` and `environ_sizes_get`: there are none."""
        zero = _U32.pack(0)
        return _write(guest, (count_at, zero), (size_at, zero))

    def _clock_resolution(self, guest: Guest, clock: int, at: int) -> int:
        return _write(guest, (at, _U64.pack(CLOCK_STEP_NS))) if clock in _CLOCKS else wasi.INVAL

    def _clock_time(self, guest: Guest, clock: int, _precision: int, at: int) -> int:
        """The first reading is `now`, and each is one step after the one before, whichever clock is read."""
        if clock not in _CLOCKS:
            return wasi.INVAL
        now_ns = self._given.now_us * 1000 + self._clock_reads * CLOCK_STEP_NS
        self._clock_reads += 1
        return _write(guest, (at, _U64.pack(now_ns)))

    def _random(self, guest: Guest, at: int, size: int) -> int:
        """Call k, from 0, gets the first bytes of SHAKE256(domain, seed, k as 8 bytes, little-endian)."""
        if size > RANDOM_BYTES_MAX:
            return wasi.INVAL
        if not _within(guest, at, size):
            return wasi.FAULT
        guest.charge(size * BYTE_FUEL)
        stream = hashlib.shake_256(RANDOM_DOMAIN + self._given.seed + _U64.pack(self._random_calls))
        self._random_calls += 1
        guest.write(at, stream.digest(size))
        return wasi.SUCCESS

    def _exit(self, _guest: Guest, _status: int) -> int:
        raise HostEndedError(End.EXITED)

    def _fd_write(self, guest: Guest, fd: int, vectors_at: int, count: int, written_at: int) -> int:
        """Keep what still fits into the log; the guest is told that all was written, so that it cannot tell."""
        if fd not in _OUTPUTS:
            return wasi.BADF
        count = min(count, VECTORS_MAX)
        if not (_within(guest, vectors_at, count * _VECTOR.size) and _within(guest, written_at, _U32.size)):
            return wasi.FAULT
        vectors = tuple(_VECTOR.iter_unpack(guest.read(vectors_at, count * _VECTOR.size)))
        if not all(_within(guest, at, size) for at, size in vectors):
            return wasi.FAULT
        total = sum(size for _, size in vectors)
        guest.charge(min(total, LOG_BYTES_MAX - len(self._log)) * BYTE_FUEL)
        for at, size in vectors:
            if (kept := min(size, LOG_BYTES_MAX - len(self._log))) > 0:
                self._log += guest.read(at, kept)
        return _write(guest, (written_at, _U32.pack(total)))

    def _fd_status(self, guest: Guest, fd: int, at: int) -> int:
        if fd not in _STANDARD:
            return wasi.BADF
        rights = _RIGHT_WRITE if fd in _OUTPUTS else _RIGHT_READ
        return _write(guest, (at, _FDSTAT.pack(_CHARACTER_DEVICE, 0, rights, 0)))

    def _fd_seek(self, _guest: Guest, fd: int, *_: int) -> int:
        return wasi.SPIPE if fd in _STANDARD else wasi.BADF


def _within(guest: Guest, at: int, size: int) -> bool:
    return at + size <= guest.memory_bytes()


def _write(guest: Guest, *writes: tuple[int, bytes]) -> int:
    """Write all or nothing."""
    if not all(_within(guest, at, len(data)) for at, data in writes):
        return wasi.FAULT
    for at, data in writes:
        guest.write(at, data)
    return wasi.SUCCESS


_ANSWERS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "args_sizes_get": Host._no_strings,  # noqa: SLF001 - the table of this class
        "environ_sizes_get": Host._no_strings,  # noqa: SLF001
        "clock_res_get": Host._clock_resolution,  # noqa: SLF001
        "clock_time_get": Host._clock_time,  # noqa: SLF001
        "random_get": Host._random,  # noqa: SLF001
        "proc_exit": Host._exit,  # noqa: SLF001
        "fd_write": Host._fd_write,  # noqa: SLF001
        "fd_fdstat_get": Host._fd_status,  # noqa: SLF001
        "fd_seek": Host._fd_seek,  # noqa: SLF001
        "fd_tell": Host._fd_seek,  # noqa: SLF001
    }
)
if set(_ANSWERS) != {name for name, function in wasi.FUNCTIONS.items() if function.answer is None}:
    raise RuntimeError("every function of the table has an answer")
