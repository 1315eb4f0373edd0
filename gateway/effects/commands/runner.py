"""The gateway's side of a command: asks the zygote for its worker, waits for the end, and sees that nothing is left.

The worker ends the command by itself, at its deadline and when this side hangs up. Should the worker die, the command
is ended here, by a pidfd of its process group's leader, which names no number that could be another's by then.
"""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import Final

from gateway.detached import Detached
from gateway.effects.commands.order import FAILED, STARTED, CommandEnd, CommandOrder
from gateway.errors import EffectError, WorkerError
from gateway.workers.frame import frame, printable
from gateway.workers.limits import ResourceLimits
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Process, Zygote, ended

PRELOAD: Final = ("gateway.effects.commands.worker",)

_ENTRY: Final = "gateway.effects.commands.worker:serve"
_LIMITS: Final = ResourceLimits(address_space_bytes_max=1 << 32)
_MESSAGE_BYTES_MAX: Final = 128 * 1024  # output, errors and what is said of them
_SIGNAL_PROCESS_GROUP: Final = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, linux/pidfd.h
_GRACE_SECONDS: Final = 3.0  # behind the command's own time, for the worker to tell of its end
_END_SECONDS_MAX: Final = 2.0


class CommandRunner:
    """Runs commands, one worker each. Bound to the event loop of its zygote."""

    def __init__(self, zygote: Zygote, *, grace_seconds: float = _GRACE_SECONDS) -> None:
        self._zygote = zygote
        self._grace_seconds = grace_seconds
        self._ending = Detached()

    async def run(self, order: CommandOrder, root: int) -> CommandEnd:
        """Run one command in the directory `root` to its end; none of its processes is left when this returns.

        Raises:
            EffectError: `effect.unavailable`, there is no process for it; `effect.command_failed`, the program cannot
                be started, neither of which has done anything; `effect.command_lost`, in doubt: its worker died.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise EffectError("no socket for a command", code="effect.unavailable") from error
        conversation = _Conversation(ours)
        process: Process | None = None
        try:
            with theirs:
                spec = WorkerSpec(entry=_ENTRY, limits=_LIMITS, calls=None, fds=(theirs.fileno(), root))
                process = await self._zygote.fork(spec)
            await asyncio.get_running_loop().sock_sendall(process.socket, frame(order.encode()))
            seconds = order.limits.wall_ms_max / 1000 + self._grace_seconds
            return _end_of(await conversation.last(seconds), begun=conversation.leader is not None)
        except (WorkerError, OSError) as error:  # sock_sendall: it died before it had read its order
            if conversation.leader is not None:
                raise _lost() from error
            raise EffectError("there is no process for a command", code="effect.unavailable") from error
        finally:
            await self._ending.run(_ended(conversation, process))

    async def close(self) -> None:
        """Wait for the end of commands whose callers have given up."""
        while self._ending:
            await self._ending.settled()


class _Conversation:
    """What a worker says: that it has begun, with a handle on the command, and at last how it ended."""

    def __init__(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._loop = asyncio.get_running_loop()
        self._last: asyncio.Future[bytes] = self._loop.create_future()
        self.leader: int | None = None
        self._loop.add_reader(ours, self._readable)

    @property
    def over(self) -> bool:
        """Whether the worker has said its last."""
        return self._last.done() and not self._last.cancelled() and self._last.result() != b""

    async def last(self, seconds_max: float) -> bytes:
        """Return the last message, empty where the worker ended without one or takes too long."""
        await asyncio.wait({self._last}, timeout=seconds_max)
        return self._last.result() if self._last.done() else b""

    def _readable(self) -> None:
        try:
            message, fds, _, _ = socket.recv_fds(self._socket, _MESSAGE_BYTES_MAX, 1)
        except BlockingIOError:
            return
        except OSError:
            message, fds = b"", []
        if message == STARTED and len(fds) == 1 and self.leader is None:
            self.leader = fds[0]
            return
        for fd in fds:
            os.close(fd)
        self._loop.remove_reader(self._socket)
        if not self._last.done():
            self._last.set_result(message)

    def kill(self) -> None:
        """End the command and all that descends from it."""
        if self.leader is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.leader, signal.SIGKILL, None, _SIGNAL_PROCESS_GROUP)

    def hang_up(self) -> None:
        """Read what may still have come, and tell the worker that nobody listens."""
        while not self._last.done() and self._waiting():
            self._readable()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _waiting(self) -> bool:
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False


async def _ended(conversation: _Conversation, process: Process | None) -> None:
    """See that worker and command are gone; the worker is given time to reap what it has ended."""
    over = conversation.over
    conversation.hang_up()
    try:
        if process is not None:
            if not over:
                conversation.kill()
                await ended(process.pidfd, _END_SECONDS_MAX)
            process.kill()
            conversation.kill()
            process.socket.close()
            os.close(process.pidfd)
    finally:
        if conversation.leader is not None:
            os.close(conversation.leader)


def _end_of(message: bytes, *, begun: bool) -> CommandEnd:
    if message.startswith(FAILED):
        raise EffectError(printable(message.removeprefix(FAILED)), code="effect.command_failed")
    if not message:
        if begun:
            raise _lost()
        raise EffectError("the command's worker ended before it began", code="effect.unavailable")
    try:
        end = CommandEnd.decode(message)
    except WorkerError as error:
        raise _lost() from error
    if end.how == "stopped":
        raise _lost()
    return end


def _lost() -> EffectError:
    return EffectError("the command's worker ended before it", code="effect.command_lost", in_doubt=True)
