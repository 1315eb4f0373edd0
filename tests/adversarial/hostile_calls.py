"""Roles of workers with an attacker inside: a request that says so makes the process ask the kernel for something."""

import ctypes
import json
import threading
from collections.abc import Callable, Sequence
from typing import Final

from gateway.workers.syscalls import here

Handler = Callable[[bytes], bytes]
Entry = Callable[[bytes, tuple[int, ...]], Handler]

MARK: Final = b"attack:"
_PAGE_BYTES: Final = 4096


def attack(name: str, *arguments: int | str, thread: bool = False) -> bytes:
    """Return the request that makes the system call; "@page" stands for the address of a page of its own."""
    return MARK + json.dumps([name, arguments, thread]).encode()


def overtaken(real: Entry) -> Entry:
    """Return the role `real`, which serves as ever until a request holds an attack."""

    def serve(config: bytes, fds: tuple[int, ...]) -> Handler:
        handler = real(config, fds)
        attacker = _Attacker()

        def handle(request: bytes) -> bytes:
            _, mark, words = request.partition(MARK)
            return attacker.strike(*json.loads(words)) if mark else handler(request)

        return handle

    return serve


class _Attacker:
    """Has what it needs before the process is bound, as one who brings machine code with him would."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long
        self._libc.mmap.restype = ctypes.c_void_p
        self._page = self._libc.mmap(None, ctypes.c_size_t(_PAGE_BYTES), 3, 0x22, -1, ctypes.c_long(0))
        machine = here()
        self._numbers = dict(machine.numbers) if machine else {}
        self._kept = [ctypes.create_string_buffer(64)]  # what pointers point to

    def strike(self, name: str, arguments: Sequence[int | str], thread: bool) -> bytes:
        """Make the call; an error of the kernel's leaves as the worker's last words."""
        if thread:
            answers: list[int] = []
            other = threading.Thread(target=lambda: answers.append(self._call(name, arguments)))
            other.start()
            other.join()
            return b"it worked: %d" % answers[0]
        return b"it worked: %d" % self._call(name, arguments)

    def _call(self, name: str, arguments: Sequence[int | str]) -> int:
        answer: int = self._libc.syscall(ctypes.c_long(self._numbers[name]), *map(self._argument, arguments))
        if answer == -1:
            raise OSError(ctypes.get_errno(), f"{name} was refused")
        return answer

    def _argument(self, value: int | str) -> object:
        if value == "@page":
            return ctypes.c_void_p(self._page)
        if isinstance(value, str):
            self._kept.append(
                ctypes.create_string_buffer(bytes.fromhex(value[1:]) if value.startswith("#") else value.encode())
            )
            return self._kept[-1]
        return ctypes.c_long(value)
