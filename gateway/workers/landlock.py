"""Landlock: takes this thread, and all that it will start, away from files, TCP and other processes, for good.

Everything that the kernel's version of Landlock can deny is denied, but for the `Grant`s given. Files that are open
already, memfds and sockets stay usable: it is the opening that is denied. Source: landlock(7), linux/landlock.h.
"""

import ctypes
import enum
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import WorkerError
from gateway.workers.syscalls import here

GRANTS_MAX: Final = 256

_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH: Final = 1
_NET_CONNECT_AND_BIND: Final = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11
_ABI_NET, _ABI_SCOPE = 4, 6  # the first versions with these


class Right(enum.IntFlag):
    """What a grant may give on a file, or on all that is beneath a directory (LANDLOCK_ACCESS_FS_*)."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # link or rename into another directory; before ABI 2 always denied
    TRUNCATE = 1 << 14  # before ABI 3 never denied
    IOCTL_DEV = 1 << 15  # before ABI 5 never denied


_RIGHTS_OF_FILES: Final = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_BITS_OF_ABI: Final = (0, 13, 14, 15, 15, 16)  # by version; from the last one on, all that `Right` names


@dataclass(frozen=True, slots=True)
class Grant:
    """`rights` on what `where` names: a path, or a descriptor of a file or directory (O_PATH will do)."""

    where: str | int
    rights: Right


def abi() -> int:
    """Return the version of Landlock that this kernel has in force; 0: none. It changes nothing."""
    return max(0, _call("landlock_create_ruleset", None, 0, _VERSION))


def rights_of(version: int) -> Right:
    """Return the file rights that Landlock of this version handles: what it does not handle, it does not deny."""
    return Right((1 << _BITS_OF_ABI[min(version, len(_BITS_OF_ABI) - 1)]) - 1)


def restrict(grants: Sequence[Grant] = (), *, abi_min: int = 1) -> int:
    """Deny this thread all but `grants`; return the version of Landlock that does it.

    The caller has set no_new_privs, and has no other thread yet: those would stay free. TCP, abstract Unix sockets
    and signals to processes outside are denied without exception, from ABI 4 and 6 on.

    Raises:
        WorkerError: `worker.landlock_missing`, the kernel's version is under `abi_min`, or it has none.
        OSError: a grant's path is not there, or the kernel refused.
        ValueError: too many grants.
    """
    if len(grants) > GRANTS_MAX:
        raise ValueError(f"at most {GRANTS_MAX} grants")
    version = abi()
    if version < max(1, abi_min):
        message = f"the kernel has Landlock ABI {version}, and {max(1, abi_min)} is needed"
        raise WorkerError(message, code="worker.landlock_missing")
    handled = rights_of(version)
    ruleset = _ruleset(version, handled)
    try:
        for grant in grants:
            _add(ruleset, grant, handled)
        _checked("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _ruleset(version: int, handled: Right) -> int:
    """Return a descriptor of an empty ruleset: what is handled is denied until a rule gives it back."""
    words = [int(handled)]  # struct landlock_ruleset_attr, which grew
    if version >= _ABI_NET:
        words.append(_NET_CONNECT_AND_BIND)
    if version >= _ABI_SCOPE:
        words.append(_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _checked("landlock_create_ruleset", attributes, len(attributes), 0)
    os.set_inheritable(ruleset, False)
    return ruleset


def _add(ruleset: int, grant: Grant, handled: Right) -> None:
    where = grant.where
    opened = os.open(where, os.O_PATH | os.O_CLOEXEC) if isinstance(where, str) else where
    try:
        rights = grant.rights & handled
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _RIGHTS_OF_FILES  # the kernel refuses a rule that gives a file what only directories have
        if rights:
            beneath = struct.pack("=Qi", int(rights), opened)  # struct landlock_path_beneath_attr, packed
            _checked("landlock_add_rule", ruleset, _PATH_BENEATH, beneath, 0)
    finally:
        if isinstance(where, str):
            os.close(opened)


def _checked(name: str, *arguments: int | bytes | None) -> int:
    answer = _call(name, *arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"{name} failed")
    return answer


def _call(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call that no C library wraps; -1 where the machine is not known."""
    machine = here()
    if machine is None:
        return -1
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    values = [ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    answer: int = libc.syscall(ctypes.c_long(machine.numbers[name]), *values)
    return answer
