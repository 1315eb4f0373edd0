"""Unix sockets that stand for a principal: who may open the directory is who calls, and the kernel sees to that.

gRPC does not say which process is at the other end (no SO_PEERCRED), so a socket has one principal, alone in a
directory that only the gateway's user may enter. It is given on by mounting the directory, into a container for
instance. A directory is locked while the gateway listens there: what a killed gateway has left is taken away, and what
a living one has is not.
"""

import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError
from gateway.identity import Principal

SOCKETS_MAX: Final = 64
SOCKET_NAME: Final = "gateway.sock"
PATH_BYTES_MAX: Final = 107  # sun_path, unix(7), with its NUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A directory, and whose calls come through the socket in it."""

    folder: Path
    principal: Principal

    @property
    def path(self) -> Path:
        """Where the socket is."""
        return self.folder / SOCKET_NAME


def prepare(stack: ExitStack, sockets: Sequence[Socket]) -> None:
    """Make each directory one to listen in; what `stack` closes takes socket and lock away.

    Raises:
        ConfigurationError: `config.socket`: it is not the gateway's alone, another gateway listens there, or its name
            is too long.
    """
    for socket in sockets:
        _lock(stack, socket)
        _remove_stale(socket)
        stack.callback(_remove, socket)


def _lock(stack: ExitStack, socket: Socket) -> None:
    folder = socket.folder
    if len(os.fsencode(socket.path)) > PATH_BYTES_MAX:
        raise _refused(socket, f"the socket's path is over {PATH_BYTES_MAX} bytes, which the kernel does not take")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _refused(socket, f"cannot be made or opened ({error.strerror})") from error
    stack.callback(os.close, opened)
    status = os.fstat(opened)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise _refused(socket, "must be the gateway's own, mode 0700: whoever may enter it is this principal")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _refused(socket, "another gateway listens there") from error


def _remove_stale(socket: Socket) -> None:
    """Take away what an earlier gateway has left; the lock says that it is gone."""
    try:
        mode = socket.path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _refused(socket, f"{SOCKET_NAME} in it is no socket; nothing was removed")
    socket.path.unlink()


def _remove(socket: Socket) -> None:
    with suppress(OSError):
        if stat.S_ISSOCK(socket.path.lstat().st_mode):
            socket.path.unlink()


def _refused(socket: Socket, rule: str) -> ConfigurationError:
    return ConfigurationError(f"sockets.folder: {socket.folder}: {rule}", code="config.socket")
