"""Moving a finished file into place in one step, replacing what is there or refusing to (renameat2, Linux 3.15)."""

import ctypes
import os
from typing import Final

_RENAME_NOREPLACE: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = _libc.renameat2
_renameat2.restype = ctypes.c_int
_renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def rename_into(source: int, name: str, target: int, final_name: str, *, replace: bool) -> None:
    """Rename `name` in the directory `source` to `final_name` in `target`; both are open directories.

    Neither name is followed if it is a link, and both have one component. Without `replace`, of two concurrent
    calls for one name exactly one succeeds.

    Raises:
        OSError: EEXIST without `replace` where the name is taken; EXDEV across file systems; what renameat2(2) lists.
    """
    flags = 0 if replace else _RENAME_NOREPLACE
    if _renameat2(source, os.fsencode(name), target, os.fsencode(final_name), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), final_name)
