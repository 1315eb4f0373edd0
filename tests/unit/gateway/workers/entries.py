"""Workers for the tests: their entry points run in forked processes."""

import os
import signal
import time
from collections.abc import Callable

Handler = Callable[[bytes], bytes]


def echo(config: bytes, fds: tuple[int, ...]) -> Handler:
    """Answer `config + request`; words of command do what they say."""

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
        elif command == b"large":
            return b"x" * int(argument)
        return config + request

    return handle


def look(config: bytes, fds: tuple[int, ...]) -> Handler:
    """Answer what a worker can see of its process."""

    def handle(request: bytes) -> bytes:
        if request == b"fds":
            return " ".join(sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))).encode()
        if request == b"environ":
            return repr(dict(os.environ)).encode()
        if request == b"status":
            with open("/proc/self/status", "rb") as file:
                return file.read()
        return b""

    return handle


def broken(config: bytes, fds: tuple[int, ...]) -> Handler:
    """Never come up."""
    raise OSError("no such thing")
