"""prctl(2), as far as a command's worker and its child need it. Source: linux/prctl.h."""

import ctypes
from typing import Final

SET_PDEATHSIG: Final = 1
CAPBSET_DROP: Final = 24
SET_SECUREBITS: Final = 28
SET_CHILD_SUBREAPER: Final = 36
SET_NO_NEW_PRIVS: Final = 38
CAP_AMBIENT: Final = 47
CAP_AMBIENT_CLEAR_ALL: Final = 4

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process.

    Raises:
        OSError: the kernel refused.
    """
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def capset_nothing() -> None:
    """Give up every capability. Source: capset(2), version 3.

    Raises:
        OSError: the kernel refused.
    """
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _LIBC.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")
