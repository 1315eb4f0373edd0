"""prctl(2), as far as a command's worker needs it. Source: linux/prctl.h."""

import ctypes
import signal
from typing import Final

_SET_PDEATHSIG: Final = 1
_SET_CHILD_SUBREAPER: Final = 36

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends.

    Raises:
        OSError: the kernel refused.
    """
    _set(_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for this signal when the parent ends.

    Raises:
        OSError: the kernel refused.
    """
    _set(_SET_PDEATHSIG, int(number))


def _set(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
