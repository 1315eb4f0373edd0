"""The gateway's side of the zygote: starts it, asks it for workers, starts it again should it end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from gateway.errors import WorkerError
from gateway.workers.calls import Calls
from gateway.workers.seccomp import program
from gateway.workers.spec import WorkerSpec
from gateway.workers.syscalls import here
from gateway.workers.zygote import FDS_MAX, PACKET_BYTES_MAX, spawn

_START_SECONDS_MAX = 30.0
_FORK_SECONDS_MAX = 10.0
_END_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A forked worker: the gateway's end of its socket and a handle on the process. The holder closes both."""

    pid: int  # for people and logs; signals go through `pidfd`
    pidfd: int
    socket: socket.socket

    def kill(self) -> None:
        """End the process, whatever it is doing; ending one that has ended is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Zygote:
    """Forks workers. One serves every pool of a gateway; all its workers end with it, and it ends with the gateway.

    Bound to the event loop that started it, and to that loop's thread (PR_SET_PDEATHSIG is about the thread).
    """

    def __init__(self, preload: Sequence[str], without: Collection[str] = ()) -> None:
        self._preload = tuple(preload)
        self._without = sorted(without)
        self._channel: socket.socket | None = None
        self._pid = 0
        self._pidfd = -1
        self._answers: deque[asyncio.Future[tuple[bytes, list[int]]]] = deque()
        self._starting = asyncio.Lock()
        self._closed = False

    @classmethod
    async def start(cls, preload: tuple[str, ...] = (), *, without: Collection[str] = ()) -> Self:
        """Start a zygote that has imported the modules `preload`: what is loaded once need not be loaded per worker.

        `without` names the layers (`gateway.workers.isolation.Layer`) that may be missing: a worker that lacks any
        other never becomes ready, and a layer that is there binds it all the same.

        Raises:
            WorkerError: `worker.start_failed`, the process did not come up.
        """
        zygote = cls(preload, without)
        await zygote._ensure()
        return zygote

    @property
    def pid(self) -> int:
        """The process id, 0 while there is none."""
        return self._pid if self._channel is not None else 0

    async def fork(self, spec: WorkerSpec) -> Process:
        """Fork one worker; it reads its configuration from its socket next.

        Raises:
            WorkerError: `worker.start_failed`, there is no process.
        """
        request = json.dumps(
            {
                "entry": spec.entry,
                "limits": asdict(spec.limits),
                "filter": None if spec.calls is None else _filter_program(spec.calls).hex(),
                "without": self._without,
            }
        ).encode()
        if len(spec.fds) >= FDS_MAX or len(request) > PACKET_BYTES_MAX:
            raise WorkerError("the worker's specification is too large", code="worker.start_failed")
        channel = await self._ensure()
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # EMFILE: the gateway has no descriptors left
            raise WorkerError("no socket for a worker", code="worker.start_failed") from error
        try:
            with theirs:
                packet, fds = await self._ask(channel, request, [theirs.fileno(), *spec.fds])
        except BaseException:
            ours.close()  # a worker that was forked all the same sees this, and ends
            raise
        answer = json.loads(packet)
        if not fds:
            ours.close()
            raise WorkerError(f"no process: {answer.get('error', 'no pidfd')}", code="worker.start_failed")
        ours.setblocking(False)
        return Process(answer["pid"], fds[0], ours)

    async def _ask(self, channel: socket.socket, request: bytes, fds: list[int]) -> tuple[bytes, list[int]]:
        future: asyncio.Future[tuple[bytes, list[int]]] = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(channel, [request], fds)
            self._answers.append(future)
            async with asyncio.timeout(_FORK_SECONDS_MAX):
                return await future
        except (OSError, asyncio.CancelledError) as error:  # TimeoutError is an OSError
            if future.done() and not future.cancelled() and future.exception() is None:
                _close_all(future.result()[1])  # it came in the same moment, and nobody takes it
            if isinstance(error, OSError):
                raise WorkerError("the zygote does not answer", code="worker.start_failed") from error
            raise

    async def close(self) -> None:
        """End the zygote, and with it every worker that is left."""
        self._closed = True
        if self._channel is None:
            return
        pidfd = os.dup(self._pidfd)
        try:
            self._lost()
            await ended(pidfd, _END_SECONDS_MAX)
        finally:
            os.close(pidfd)

    async def _ensure(self) -> socket.socket:
        async with self._starting:
            if self._closed:
                raise WorkerError("the zygote is closed", code="worker.closed")
            if self._channel is None:
                await self._spawn()
            if self._channel is None:
                raise WorkerError("the zygote ended at once", code="worker.start_failed")
            return self._channel

    async def _spawn(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._pid, self._pidfd, channel = spawn(self._preload)
        except OSError as error:
            raise WorkerError("the zygote could not be started", code="worker.start_failed") from error
        channel.setblocking(False)
        self._channel = channel
        ready: asyncio.Future[tuple[bytes, list[int]]] = loop.create_future()
        self._answers.append(ready)
        loop.add_reader(channel, self._on_readable)
        try:
            async with asyncio.timeout(_START_SECONDS_MAX):
                await ready
        except TimeoutError as error:
            self._lost()
            raise WorkerError("the zygote does not come up", code="worker.start_failed") from error
        except BaseException:
            self._lost()
            raise

    def _on_readable(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            packet, fds, _, _ = socket.recv_fds(channel, PACKET_BYTES_MAX, 1)
        except BlockingIOError:
            return
        except OSError:
            packet, fds = b"", []
        if not packet:
            self._lost()
            return
        future = self._answers.popleft()
        if future.done():  # whoever asked has gone: the worker sees its socket close, and ends
            _close_all(fds)
        else:
            future.set_result((packet, fds))

    def _lost(self) -> None:
        """Let go of a zygote that ended, or must; the next fork starts another."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        asyncio.get_running_loop().remove_reader(channel)
        channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # a program that ignores SIGCHLD has none to reap
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)  # ours to reap; after SIGKILL this takes microseconds
        os.close(self._pidfd)
        while self._answers:
            future = self._answers.popleft()
            if not future.done():
                future.set_exception(WorkerError("the zygote ended", code="worker.start_failed"))


def _filter_program(calls: Calls) -> bytes:
    """Return the filter for this machine; none where it has no table: a worker then lacks that layer."""
    machine = here()
    return b"" if machine is None else program(calls.allowed, machine, refused=calls.refused)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


async def ended(pidfd: int, seconds_max: float) -> bool:
    """Wait until the process has ended; return whether it did within `seconds_max`."""
    loop = asyncio.get_running_loop()
    exited = asyncio.Event()
    loop.add_reader(pidfd, exited.set)
    try:
        async with asyncio.timeout(seconds_max):
            await exited.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True
