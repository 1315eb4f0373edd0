"""Entry points of workers that mean harm: code of an attacker who has taken one over, and holds its socket."""

import collections
import ctypes
import itertools
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable
from typing import Final

from gateway.workers.frame import frame, note

Handler = Callable[[bytes], bytes]

_PR_GET_DUMPABLE: Final = 3
_FLOOD: Final = {
    b"notes": lambda: note("\x1b[2Jforged\nline") * 1000,
    b"header": lambda: (1 << 20).to_bytes(4, "big"),  # the beginning of an answer to whoever asks next
    b"byte": lambda: b"\0",
    b"answers": lambda: frame(b"forged"),
}


def idle_talker(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Answer, and then go on talking as the request says, while nobody asks."""
    link = _link()

    def handle(request: bytes) -> bytes:
        if request in _FLOOD:
            threading.Timer(0.05, _talk, (link, _FLOOD[request]())).start()
        return b">" + request

    return handle


def early_answerer(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Put the beginning of the next answer behind the one that was asked for, in the same write."""
    link = _link()

    def handle(request: bytes) -> bytes:
        if request == b"twice":
            link.sendall(frame(b"mine") + frame(b"stolen")[:6])
        elif request == b"large note":
            link.sendall((0x8000_0000 | 1 << 20).to_bytes(4, "big") + b"y" * 1000)
        elif request == b"note":
            link.sendall(note("\x1b[2Jforged\nline"))
        else:
            return b">" + request
        while True:
            threading.Event().wait()

    return handle


def deaf(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Say that it is ready, and take no request: whatever is sent cannot be delivered."""
    _link().shutdown(socket.SHUT_RD)
    return lambda request: request


def stubborn(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Ignore everything that can be ignored: every signal blocked, the interpreter held, in a loop of C."""

    def handle(request: bytes) -> bytes:
        if request == b"spin":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            collections.deque(itertools.repeat(0), maxlen=0)
        return b">" + request

    return handle


def _link() -> socket.socket:
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
    raise OSError("a worker has a socket")


def _talk(link: socket.socket, data: bytes) -> None:
    while True:
        link.sendall(data)
        if len(data) < 1000:  # once is enough
            return


def dumpable(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Answer what prctl(PR_GET_DUMPABLE) said before the worker was locked down: what the zygote had."""
    said = ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE)
    return lambda _request: str(said).encode()


def lying_jail(_config: bytes, _fds: tuple[int, ...]) -> Handler:
    """Answer a module with what follows its magic bytes."""
    return lambda request: request[8:]
