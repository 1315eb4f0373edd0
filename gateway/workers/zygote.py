"""The zygote: a small single-threaded process that has the workers' code loaded and forks them on request.

The only module that starts processes. `spawn` starts the zygote as a fresh program (never as a fork of the gateway,
which has threads); everything below `main` runs inside it. The two speak over a SOCK_SEQPACKET pair, one packet a
message: a request is JSON with the worker's end of its socket and its other descriptors as SCM_RIGHTS; the answer is
JSON with a pidfd, through which the gateway can kill the worker without ever naming a process id that may be reused.
"""

import ctypes  # noqa: F401 - loaded here once, so that no worker pays for it
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from gateway.workers import child
from gateway.workers.limits import ResourceLimits, die_with_parent, hide_memory
from gateway.workers.lockdown import Lockdown

CHANNEL_FD: Final = 3
PACKET_BYTES_MAX: Final = 16 * 1024
FDS_MAX: Final = 65  # the worker's socket and at most 64 more; the kernel's own limit is 253


def spawn(preload: Sequence[str]) -> tuple[int, int, socket.socket]:
    """Start a zygote that imports the modules `preload`; return its process id, a pidfd, and the channel to it.

    Its environment is the gateway's import path and nothing else; its session is its own, so that a terminal's
    Ctrl-C reaches the gateway only.

    Raises:
        OSError: the process could not be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)  # noqa: PTH100 - no symlink is resolved
    command = (sys.executable, "-P", "-s", "-B", "-m", "gateway.workers.zygote", str(os.getpid()), *preload)
    try:
        pid = os.posix_spawn(
            sys.executable,
            command,
            {"PYTHONPATH": path},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, 2, 1),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), CHANNEL_FD),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
        )
        pidfd = _handle_on(pid)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, pidfd, ours


def _handle_on(child_pid: int) -> int:
    """Return a pidfd of our own child, which nobody has reaped: the id is still its. Without one the child is ended.

    Raises:
        OSError: no descriptor is left.
    """
    try:
        return os.pidfd_open(child_pid)
    except OSError:
        os.kill(child_pid, signal.SIGKILL)
        os.waitpid(child_pid, 0)
        raise


def main() -> None:
    """Run the zygote until the gateway hangs up."""
    die_with_parent()
    hide_memory()  # a worker that was taken over must not reach the process that makes the others
    if os.getppid() != int(sys.argv[1]):  # the gateway ended before the kernel was asked
        return
    os.closerange(CHANNEL_FD + 1, 1 << 20)
    os.set_inheritable(CHANNEL_FD, False)
    channel = socket.socket(fileno=CHANNEL_FD)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # forks share what is loaded; a collection would touch, and so copy, every page of it
    channel.send(b'{"ready":true}')
    _Zygote(channel).serve()


class _Zygote:
    """Forks on request and reaps what ended."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._pidfds: set[int] = set()

    def serve(self) -> None:
        """Serve until end of file on the channel."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._pidfds:
                    self._reap(fd)
                elif not self._request():
                    return

    def _reap(self, pidfd: int) -> None:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        self._poll.unregister(pidfd)
        self._pidfds.discard(pidfd)
        os.close(pidfd)

    def _request(self) -> bool:
        packet, fds, _, _ = socket.recv_fds(self._channel, PACKET_BYTES_MAX, FDS_MAX)
        if not packet:
            return False
        try:
            pid, pidfd = self._fork(json.loads(packet), fds)
        except OSError as error:  # EAGAIN, ENOMEM, EMFILE: the machine is full, the zygote lives on
            self._channel.send(json.dumps({"error": os.strerror(error.errno or 0)}).encode())
        else:
            socket.send_fds(self._channel, [json.dumps({"pid": pid}).encode()], [pidfd])
            self._pidfds.add(pidfd)
            self._poll.register(pidfd, select.POLLIN)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, request: dict[str, object], fds: Sequence[int]) -> tuple[int, int]:
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_worker(zygote, request, fds)
        return pid, _handle_on(pid)


def _become_worker(zygote: int, request: dict[str, object], fds: Sequence[int]) -> NoReturn:
    status = 1
    bound = request["filter"]
    try:
        status = child.live(
            parent_pid=zygote,
            channel=fds[0],
            fds=fds[1:],
            entry=str(request["entry"]),
            lockdown=None
            if bound is None
            else Lockdown(
                limits=ResourceLimits(**request["limits"]),  # type: ignore[arg-type]
                filter_program=bytes.fromhex(str(bound)),
                without=frozenset(request["without"]),  # type: ignore[call-overload]
            ),
        )
    finally:
        os._exit(status)  # never unwinds into the zygote's loop


if __name__ == "__main__":
    main()
