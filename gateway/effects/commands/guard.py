"""The worker's side of a command: starts it, feeds it, keeps what it writes, looks after what it takes, and ends it.

The command and all that descends from it are one process group, which the filter keeps them in, and orphans come to
this process (PR_SET_CHILD_SUBREAPER). So the end is always the same, whatever led to it: SIGKILL to the group, which
the kernel delivers to all of it at once, also while it forks; then every child is waited for. What is left, if this
process is killed itself, the gateway ends by the pidfd of the group's leader.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from gateway.effects.commands.limits import ERRORS_BYTES_MAX
from gateway.effects.commands.order import CommandEnd, CommandOrder, How
from gateway.effects.commands.proc import descendants, measured, nameless_bytes
from gateway.effects.tree import extent_of

THREADS_MAX: Final = 256  # of all processes of one command together, beside one each
ENDED_MAX: Final = 256  # processes that have ended, and were not waited for: a number is theirs until the command ends
_LOOK_SECONDS: Final = 0.02  # between two looks at processes and memory
_WALK_SHARE: Final = 10  # a walk over the workspace may take a tenth of the time
_WALK_SECONDS_MIN: Final = 0.1
_SEARCH_AFTER_SECONDS: Final = 0.25  # before that, a bomb that goes off at once would outgrow the search
_READ_BYTES: Final = 64 * 1024
_GONE: Final = select.POLLHUP | select.POLLERR


class _Kept:
    """The beginning of a stream; the rest is read, so that the program is not held up, and dropped."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.data = bytearray()
        self.truncated = False

    def add(self, data: bytes) -> None:
        room = self._bytes_max - len(self.data)
        self.data += data[:room]
        self.truncated |= len(data) > room


class Guard:
    """One command, from its start to the end of the last of its processes."""

    def __init__(
        self, order: CommandOrder, leader: tuple[int, int], root: int, control: int, streams: tuple[int, int, int]
    ) -> None:
        """Take over a program that has begun.

        `leader` is its process id and a pidfd; `streams` are our ends of its input, output and errors, non-blocking.
        """
        self._order = order
        self._leader, self._pidfd = leader
        self._root = root
        self._control = control
        self._stdin, self._stdout, self._stderr = streams
        self._unsent = memoryview(order.stdin)
        self._output, self._errors = _Kept(order.limits.output_bytes_max), _Kept(ERRORS_BYTES_MAX)
        self._kept = {self._stdout: self._output, self._stderr: self._errors}
        self._poll = select.poll()
        self._why: How | None = None
        self._walk_at = self._search_at = 0.0

    def run(self) -> CommandEnd:
        """Return how it ended, once none of its processes is left."""
        began = time.monotonic()
        deadline = began + self._order.limits.wall_ms_max / 1000
        self._search_at = began + _SEARCH_AFTER_SECONDS
        self._poll.register(self._pidfd, select.POLLIN)
        self._poll.register(self._control, select.POLLIN)
        for stream in self._kept:
            self._poll.register(stream, select.POLLIN)
        self._poll.register(self._stdin, select.POLLOUT)
        self._feed()
        try:
            while self._why is None and not self._turn(deadline):
                pass
        finally:
            self.end()
        status, used = self._reaped()
        for stream in tuple(self._kept):
            while self._drain(stream):
                pass
        return self._end(status, used, time.monotonic() - began)

    def end(self) -> None:
        """Kill the whole group, at once; its leader is not reaped before, so that the number is still its own."""
        with suppress(ProcessLookupError):
            os.killpg(self._leader, signal.SIGKILL)

    def _turn(self, deadline: float) -> bool:
        """Wait for something to happen, or for the time of a look; return whether the leader has ended."""
        left = deadline - time.monotonic()
        if left <= 0:
            self._why = "timeout"
            return False
        ended = False
        for descriptor, event in self._poll.poll(max(1, int(min(left, _LOOK_SECONDS) * 1000))):
            if descriptor == self._pidfd:
                ended = True
            elif descriptor == self._control:
                self._why = "stopped"  # the gateway hung up
            elif descriptor == self._stdin:
                self._feed(gone=bool(event & _GONE))
            elif self._drain(descriptor) == b"":
                self._poll.unregister(descriptor)
        if not ended and self._why is None:
            self._look()
        return ended

    def _feed(self, *, gone: bool = False) -> None:
        """Write what the pipe takes of the input, and close it behind the last byte."""
        try:
            while self._unsent and not gone:
                self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        if self._stdin >= 0:
            self._poll.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _drain(self, stream: int) -> bytes | None:
        """Read once; return what came, nothing at the end of the stream, None where nothing waits."""
        try:
            data = os.read(stream, _READ_BYTES)
        except BlockingIOError:
            return None
        self._kept[stream].add(data)
        return data

    def _look(self) -> None:
        """Count processes, threads, memory and disk; what is over its limit ends the command."""
        living: list[int] = []
        self._why = self._too_much(living)
        if self._why is None and time.monotonic() >= self._walk_at:
            self._look_at_disk(living)

    def _too_much(self, living: list[int]) -> How | None:
        """Tell `living` of each process; return what is over its limit, at once: a bomb grows while it is counted."""
        limits = self._order.limits
        ended = threads = resident_bytes = 0
        for pid in descendants(os.getpid()):
            process = measured(pid)
            if process is None:
                ended += 1
            else:
                living.append(pid)
                threads += len(process.threads) - 1
                resident_bytes += process.resident_bytes
            if len(living) > limits.processes_max or ended > ENDED_MAX or threads > THREADS_MAX:
                return "processes"
            if resident_bytes > limits.memory_bytes_max:
                return "memory"
        return None

    def _look_at_disk(self, living: Sequence[int]) -> None:
        """Count what has a name in the workspace, and what had one and is held by a process that has been counted."""
        began = time.monotonic()
        order = self._order
        extent = extent_of(self._root, entries_max=order.entries_max)
        nameless: int | None = 0
        if began >= self._search_at:
            nameless = nameless_bytes(living, self._root, order.limits.file_bytes_max)
        if not extent.whole or nameless is None or extent.size_bytes + nameless > order.bytes_max:
            self._why = "disk"
        took = time.monotonic() - began
        self._walk_at = time.monotonic() + max(_WALK_SECONDS_MIN, took * _WALK_SHARE)

    def _reaped(self) -> tuple[int, float]:
        """Wait for every process of the command; return the leader's status, and the CPU seconds that it took."""
        status, used = 0, 0.0
        while True:
            try:
                pid, code, usage = os.wait4(-1, 0)
            except ChildProcessError:
                return status, used
            if pid == self._leader:
                status, used = code, usage.ru_utime + usage.ru_stime

    def _end(self, status: int, used: float, seconds: float) -> CommandEnd:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        how: How = "exited" if number is None else "signalled"
        if self._why is not None:
            how = self._why
        elif number == signal.SIGXCPU or (number == signal.SIGKILL and used >= self._order.limits.cpu_seconds_max):
            how = "cpu"
        return CommandEnd(
            how=how,
            exit_code=os.WEXITSTATUS(status) if how == "exited" else None,
            signal=number,
            duration_ms=int(seconds * 1000),
            cut=(self._output.truncated, self._errors.truncated),
            output=bytes(self._output.data),
            errors=bytes(self._errors.data),
        )
