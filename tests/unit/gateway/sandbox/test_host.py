import hashlib
import struct

import pytest

from gateway.sandbox import wasi
from gateway.sandbox.call import End
from gateway.sandbox.host import (
    BYTE_FUEL,
    CALL_FUEL,
    HOST_CALLS_MAX,
    RANDOM_BYTES_MAX,
    RANDOM_DOMAIN,
    VECTORS_MAX,
    Host,
    HostEndedError,
)
from gateway.sandbox.port import LOG_BYTES_MAX, NO_GIVEN, NOW_US_MAX, RunGiven

PAGE = 65_536
NOW_US = 1_769_860_800_000_000
GIVEN = RunGiven(NOW_US, bytes(range(16)))


class Guest:
    """A memory of a page, and fuel."""

    def __init__(self, fuel: int = 10**9) -> None:
        self.memory = bytearray(PAGE)
        self.fuel = fuel

    def charge(self, fuel: int) -> None:
        if fuel > self.fuel:
            self.fuel = 0
            raise HostEndedError(End.FUEL)
        self.fuel -= fuel

    def memory_bytes(self) -> int:
        return len(self.memory)

    def read(self, at: int, size: int) -> bytes:
        assert at + size <= PAGE
        return bytes(self.memory[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        assert at + len(data) <= PAGE
        self.memory[at : at + len(data)] = data

    def vectors(self, at: int, *vectors: tuple[int, int]) -> None:
        self.write(at, b"".join(struct.pack("<II", *vector) for vector in vectors))


def u64(guest: Guest, at: int) -> int:
    [value] = struct.unpack_from("<Q", guest.memory, at)
    return int(value)


def u32(guest: Guest, at: int) -> int:
    [value] = struct.unpack_from("<I", guest.memory, at)
    return int(value)


def test_the_clock_is_now_and_a_microsecond_more_each_time() -> None:
    """Whichever clock is read, with whatever precision; other calls do not move it."""
    host, guest, seen = Host(GIVEN), Guest(), []
    for clock in (0, 1, 1, 0):
        assert host.call("clock_time_get", [clock, 10**9, 8], guest) == wasi.SUCCESS
        assert host.call("sched_yield", [], guest) == wasi.SUCCESS
        seen.append(u64(guest, 8))
    assert seen == [(NOW_US + k) * 1000 for k in range(4)]
    assert host.call("clock_res_get", [0, 16], guest) == wasi.SUCCESS
    assert u64(guest, 16) == 1000


def test_there_is_no_clock_of_cpu_time() -> None:
    """What a CPU did is not deterministic; the answer is a number of error, and nothing is written."""
    host, guest = Host(GIVEN), Guest()
    assert [host.call("clock_time_get", [c, 0, 8], guest) for c in (2, 3, 4, 2**32 - 1)] == [wasi.INVAL] * 4
    assert host.call("clock_res_get", [2, 8], guest) == wasi.INVAL
    assert guest.memory == bytes(PAGE)


def test_randomness_is_the_documented_stream() -> None:
    """Call k gets SHAKE256 of domain, seed and k; so an auditor can make it with any library."""
    host, guest = Host(GIVEN), Guest()
    for k, size in enumerate((8, 0, 64, 5000)):
        assert host.call("random_get", [100, size], guest) == wasi.SUCCESS
        expected = hashlib.shake_256(b"missiongate.random/v1" + GIVEN.seed + struct.pack("<Q", k)).digest(size)
        assert guest.read(100, size) == expected
    assert RANDOM_DOMAIN == b"missiongate.random/v1"


def test_randomness_has_a_largest_size() -> None:
    """A call that asks for more gets nothing and moves nothing."""
    host, guest = Host(GIVEN), Guest()
    assert host.call("random_get", [0, RANDOM_BYTES_MAX + 1], guest) == wasi.INVAL
    assert host.call("random_get", [0, RANDOM_BYTES_MAX], guest) == wasi.SUCCESS
    first = hashlib.shake_256(RANDOM_DOMAIN + GIVEN.seed + bytes(8)).digest(RANDOM_BYTES_MAX)
    assert guest.memory == first


def test_both_outputs_are_kept_in_one_log_in_order() -> None:
    """Standard output and standard error, as they were written, of several buffers."""
    host, guest = Host(GIVEN), Guest()
    guest.write(0, b"hello, world\n")
    guest.vectors(64, (0, 7), (7, 6))
    assert host.call("fd_write", [1, 64, 2, 128], guest) == wasi.SUCCESS
    assert u32(guest, 128) == 13
    assert host.call("fd_write", [2, 64, 1, 128], guest) == wasi.SUCCESS
    assert host.log == b"hello, world\nhello, "


def test_the_log_has_a_maximum_that_the_guest_cannot_see() -> None:
    """What is over it is dropped, and reported as written."""
    host, guest = Host(GIVEN), Guest()
    guest.vectors(64, (0, 60_000), (0, 60_000))
    for _ in range(3):
        assert host.call("fd_write", [2, 64, 2, 128], guest) == wasi.SUCCESS
        assert u32(guest, 128) == 120_000
    assert len(host.log) == LOG_BYTES_MAX


def test_few_buffers_are_looked_at() -> None:
    """Of four billion claimed buffers the first few are written, and the guest is told how much that was."""
    host, guest = Host(GIVEN), Guest()
    guest.vectors(1024, *[(0, 1)] * (VECTORS_MAX + 5))
    assert host.call("fd_write", [1, 1024, 2**32 - 1, 8], guest) == wasi.SUCCESS
    assert u32(guest, 8) == VECTORS_MAX


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("clock_time_get", [0, 0, PAGE - 7]),
        ("clock_time_get", [0, 0, 2**32 - 1]),
        ("clock_res_get", [0, PAGE]),
        ("random_get", [PAGE - 7, 8]),
        ("random_get", [PAGE + 1, 0]),
        ("random_get", [2**32 - 1, 8]),
        ("args_sizes_get", [PAGE - 3, 0]),
        ("args_sizes_get", [0, PAGE - 3]),
        ("environ_sizes_get", [0, 2**32 - 1]),
        ("fd_write", [1, PAGE - 7, 1, 0]),
        ("fd_write", [1, 2**32 - 8, 1, 0]),
        ("fd_write", [1, 0, 1, PAGE - 3]),
        ("fd_write", [1, 16, 1, 0]),  # whose buffer lies outside
        ("fd_write", [1, 24, 1, 0]),  # whose buffer wraps around
        ("fd_fdstat_get", [1, PAGE - 23]),
    ],
)
def test_a_pointer_that_lies_is_a_fault(name: str, arguments: list[int]) -> None:
    """Each address is checked with its size before a byte is read or written: all or nothing."""
    host, guest = Host(GIVEN), Guest()
    guest.vectors(16, (PAGE - 4, 5), (2**32 - 4, 8))
    before = bytes(guest.memory)
    assert host.call(name, arguments, guest) == wasi.FAULT
    assert guest.memory == before
    assert host.log == b""


def test_a_size_that_fits_exactly_is_none() -> None:
    """The last bytes of a memory are memory."""
    host, guest = Host(GIVEN), Guest()
    assert host.call("clock_time_get", [0, 0, PAGE - 8], guest) == wasi.SUCCESS
    assert host.call("random_get", [PAGE, 0], guest) == wasi.SUCCESS
    assert host.call("fd_fdstat_get", [1, PAGE - 24], guest) == wasi.SUCCESS


def test_there_is_nothing_else() -> None:
    """No arguments, no environment, no descriptors but the two outputs, no waiting."""
    host, guest = Host(GIVEN), Guest()
    guest.write(0, b"\xff" * 16)
    assert host.call("args_sizes_get", [0, 4], guest) == wasi.SUCCESS
    assert host.call("environ_sizes_get", [8, 12], guest) == wasi.SUCCESS
    assert guest.read(0, 16) == bytes(16)
    assert host.call("args_get", [2**32 - 1, 2**32 - 1], guest) == wasi.SUCCESS
    assert host.call("environ_get", [0, 0], guest) == wasi.SUCCESS
    assert host.call("fd_write", [0, 0, 0, 0], guest) == host.call("fd_write", [3, 0, 0, 0], guest) == wasi.BADF
    assert host.call("fd_seek", [1, 0, 0, 0], guest) == wasi.SPIPE
    assert host.call("fd_tell", [3, 0], guest) == wasi.BADF
    assert host.call("fd_fdstat_get", [3, 0], guest) == wasi.BADF
    assert host.call("path_open", [3, 0, 0, 8, 0, 0, 0, 0, 0], guest) == wasi.BADF
    assert host.call("sock_send", [1, 0, 0, 0, 0], guest) == wasi.BADF
    assert host.call("poll_oneoff", [0, 0, 0, 0], guest) == wasi.NOSYS


def test_every_function_answers() -> None:
    """No function of the table is without an answer, and none but proc_exit ends a run."""
    for name, function in wasi.FUNCTIONS.items():
        if name == "proc_exit":
            continue
        answer = Host(GIVEN).call(name, [0] * len(function.params), Guest())
        assert answer in {wasi.SUCCESS, wasi.BADF, wasi.NOSYS, wasi.SPIPE}, name


@pytest.mark.parametrize("status", [0, 1, 2**32 - 1])
def test_an_exit_ends_the_run(status: int) -> None:
    """Whatever the status: a hook answers by returning."""
    with pytest.raises(HostEndedError) as caught:
        Host(GIVEN).call("proc_exit", [status], Guest())
    assert caught.value.end is End.EXITED


def test_calls_have_a_maximum() -> None:
    """However much fuel there is."""
    host, guest = Host(GIVEN), Guest(fuel=10**18)
    for _ in range(HOST_CALLS_MAX):
        host.call("sched_yield", [], guest)
    with pytest.raises(HostEndedError) as caught:
        host.call("sched_yield", [], guest)
    assert caught.value.end is End.HOST_CALLS


def test_calls_and_bytes_have_a_price() -> None:
    """The same for the same call; a call that cannot be paid does nothing and ends the run."""
    host, guest = Host(GIVEN), Guest()
    host.call("fd_read", [0, 0, 0, 0], guest)
    assert guest.fuel == 10**9 - CALL_FUEL
    host.call("random_get", [0, 100], guest)
    assert guest.fuel == 10**9 - 2 * CALL_FUEL - 100 * BYTE_FUEL
    guest.vectors(512, (0, PAGE))
    host.call("fd_write", [1, 512, 1, 600], guest)
    assert guest.fuel == 10**9 - 3 * CALL_FUEL - (100 + LOG_BYTES_MAX) * BYTE_FUEL  # the bytes that are kept
    poor = Guest(fuel=CALL_FUEL + 8 * BYTE_FUEL - 1)
    with pytest.raises(HostEndedError) as caught:
        host.call("random_get", [0, 8], poor)
    assert caught.value.end is End.FUEL
    assert poor.fuel == 0
    assert poor.memory == bytes(PAGE)


def test_what_is_given_is_within_bounds() -> None:
    """A time that does not fit, or a seed of another size, is no RunGiven."""
    for now_us, seed in ((-1, bytes(16)), (NOW_US_MAX + 1, bytes(16)), (0, bytes(15)), (0, bytes(17))):
        with pytest.raises(ValueError, match="must"):
            RunGiven(now_us, seed)
    host, guest = Host(RunGiven(NOW_US_MAX, NO_GIVEN.seed)), Guest()
    assert host.call("clock_time_get", [0, 0, 0], guest) == wasi.SUCCESS
    assert u64(guest, 0) == NOW_US_MAX * 1000
