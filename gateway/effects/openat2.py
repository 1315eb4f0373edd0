"""Opening a path beneath a directory, with the kernel as the boundary (openat2, Linux 5.6).

Every call resolves with

- RESOLVE_BENEATH: no absolute path, no `..` and no link may leave the directory, whatever is swapped meanwhile;
- RESOLVE_NO_MAGICLINKS: no `/proc/self/root` and the like;
- RESOLVE_NO_SYMLINKS: policy decides on the text of a path. If a link inside the workspace were followed, a rule
  about `out/report` would be applied to `private/key`: the path that was decided is the path that is opened. Effects
  create no links, so nothing honest is lost.

Mount points are followed: only an operator can place one. O_NONBLOCK keeps a FIFO from holding the thread,
O_NOCTTY a terminal from becoming ours, O_CLOEXEC the descriptor from workers.

Source: openat2(2); include/uapi/linux/openat2.h.
"""

import ctypes
import errno
import os
from typing import Final

_SYS_OPENAT2: Final = 437  # the same on every architecture: calls since 424 share one table
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE: Final = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS
_ALWAYS: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_ATTEMPTS_MAX: Final = 16  # EAGAIN: a rename raced with the walk; EINTR: a signal did


class _OpenHow(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open an existing `path` beneath the open directory `directory`; return a descriptor that the caller closes.

    Raises:
        OSError: the kernel refused. ELOOP is a symbolic or magic link, EXDEV a way out of the directory, ENXIO a
            FIFO or socket, EAGAIN a path that would not hold still; `gateway.effects.failures` gives them codes.
    """
    how = _OpenHow(flags=flags | _ALWAYS, mode=0, resolve=_RESOLVE)
    encoded = os.fsencode(path)
    code = errno.EAGAIN
    for _ in range(_ATTEMPTS_MAX):
        descriptor: int = _syscall(_SYS_OPENAT2, directory, encoded, ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(code, os.strerror(code), path)
