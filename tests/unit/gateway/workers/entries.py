"""Workers for the tests: their entry points run in forked processes."""

import os
import resource
import signal
import stat
import time
from collections.abc import Callable

Handler = Callable[[bytes], bytes]


def echo(config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Answer `config + request`; words of command do what they say."""
    kept: list[bytes] = []

    def handle(request: bytes) -> bytes:
        command, _, argument = request.partition(b" ")
        if command == b"sleep":
            time.sleep(float(argument))
        elif command == b"raise":
            raise KeyError("a value that must not leave")
        elif command == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif command == b"pid":
            return str(os.getpid()).encode()
        elif command == b"keep":
            kept.append(b"x" * int(argument))
        elif command == b"large":
            return b"x" * int(argument)
        return config + request

    return handle


def look(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Answer what a worker can see of its process."""

    def handle(request: bytes) -> bytes:
        if request == b"fds":
            return " ".join(_kind(fd) for fd in range(64) if _kind(fd)).encode()
        if request == b"rlimits":
            kinds = (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
            return repr([resource.getrlimit(kind) for kind in kinds]).encode()
        if request == b"write":
            os.write(os.memfd_create("file"), b"x")
        if request == b"grab":
            bytearray(1 << 31)
        while request == b"burn":
            pass
        if request == b"environ":
            return repr(dict(os.environ)).encode()
        return b""

    return handle


def _kind(fd: int) -> str:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return ""
    return "socket" if stat.S_ISSOCK(mode) else "null" if stat.S_ISCHR(mode) else oct(mode)


def broken(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Never come up."""
    raise OSError("no such thing")
