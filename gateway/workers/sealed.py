"""Bytes in sealed memory: a memfd that nobody, its maker included, can change, handed to workers by descriptor."""

import fcntl
import mmap
import os

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def seal(name: str, data: bytes) -> int:
    """Return a descriptor of sealed memory that holds `data`; the caller closes it. `name` shows in /proc only.

    Raises:
        OSError: no memory, or no descriptor.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def unseal(fd: int) -> bytes:
    """Return what the sealed memory holds.

    Raises:
        ValueError: it is not sealed, so that its content may still change.
        OSError: it cannot be read.
    """
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError("the memory is not sealed")
    size = os.fstat(fd).st_size
    if size == 0:
        return b""
    with mmap.mmap(fd, size, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED) as view:
        return view[:]
