"""Gives up every capability of this thread, and every way back to one; a worker of a root gateway is root in name only.

Source: capabilities(7), prctl(2).
"""

import ctypes
import errno
import struct
from typing import Final

_VERSION_3: Final = 0x2008_0522
_CAP_SETPCAP: Final = 8
_CAPABILITIES_MAX: Final = 64
_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 24, 28, 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, KEEP_CAPS off, and each of the four locked: being uid 0 means nothing.
_SECUREBITS: Final = 0b1110_1111
_SETS: Final = struct.Struct("=6I")  # two of (effective, permitted, inheritable), low words first


def drop_all() -> None:
    """Empty the ambient, bounding, permitted, effective and inheritable set, and lock the secure bits.

    Bounding set and secure bits take a capability to change. Without it there is nothing to bound: what has no
    capability gets none by executing a file once no_new_privs is set.

    Raises:
        OSError: the kernel refused, or something is left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if _held(libc)[0] >> _CAP_SETPCAP & 1:
        for number in range(_CAPABILITIES_MAX):
            if not _drop_bound(libc, number):
                break
        _prctl(libc, _PR_SET_SECUREBITS, _SECUREBITS)
    _capability_call(libc.capset, ctypes.create_string_buffer(_SETS.size))
    if any(_held(libc)):
        raise OSError(errno.EPERM, "a capability is left")


def _held(libc: ctypes.CDLL) -> tuple[int, ...]:
    sets = ctypes.create_string_buffer(_SETS.size)
    _capability_call(libc.capget, sets)
    return _SETS.unpack(sets.raw)


def _capability_call(call: "ctypes._NamedFuncPointer", sets: ctypes.Array[ctypes.c_char]) -> None:
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8)
    if call(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget or capset failed")


def _drop_bound(libc: ctypes.CDLL, number: int) -> bool:
    """Take one capability out of the bounding set; False: this kernel has none of that number, nor above."""
    if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) == 0:
        return True
    if ctypes.get_errno() == errno.EINVAL:
        return False
    raise OSError(ctypes.get_errno(), "the bounding set cannot be emptied")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
