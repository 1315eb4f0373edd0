"""One worker as the gateway sees it: requests out, answers in, one timer, one death.

Sends straight from the caller, reads from one reader callback, and keeps a single timer that is only re-armed when it
fires: a call that meets its deadline costs two system calls and no timer.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.errors import WorkerError
from gateway.workers.frame import FrameReader
from gateway.workers.supervisor import Process

_READ_BYTES = 64 * 1024

DeathCause: TypeAlias = Literal["crashed", "deadline", "undelivered", "retired", "closed"]


@dataclass(slots=True, eq=False)
class Request:
    """One call on its way: framed bytes, and the future that its caller awaits."""

    framed: bytes
    deadline_seconds: float  # from the moment it is at the head of a worker
    retries_left: int  # deaths of a worker that it may still cause
    future: asyncio.Future[bytes]


def _nothing(_: "Link") -> None:
    return


class Link:
    """A live worker. `in_flight[0]` is being worked on, the others wait in the socket behind it."""

    __slots__ = (
        "_cause",
        "_deadline",
        "_loop",
        "_out",
        "_process",
        "_reader",
        "_timer",
        "alive",
        "answered",
        "in_flight",
        "look_at",
        "on_answer",
        "on_death",
        "resident_bytes",
    )

    def __init__(
        self,
        process: Process,
        *,
        answer_bytes_max: int,
        on_death: Callable[["Link", DeathCause, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._reader = FrameReader(answer_bytes_max)
        self._out = bytearray()  # what the socket has not taken yet
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0  # loop time; of the head, meaningful while there is one
        self._cause: DeathCause = "crashed"
        self.alive = True
        self.on_death = on_death  # told once, with the cause and the worker's last words
        self.on_answer: Callable[[Link], None] = _nothing  # told when the worker may have room again
        self.answered = 0  # requests
        self.look_at = 0  # answers after which its pool looks whether it should retire, and what it held
        self.resident_bytes = 0  # when the pool looked first
        self.in_flight: deque[Request] = deque()
        self._loop.add_reader(process.socket, self._readable)

    @property
    def pid(self) -> int:
        """The process id, for logs."""
        return self._process.pid

    @property
    def pidfd(self) -> int:
        """A handle on the process; valid until the death callback returns."""
        return self._process.pidfd

    def send(self, request: Request) -> None:
        """Send `request` behind those in flight. A worker that is gone shows as a death, never as an exception.

        A worker that is idle gets it now. One that is busy has time: what comes in the same turn of the event loop
        goes out in one system call, since each costs more than all that Python does here.
        """
        idle = not self.in_flight
        self.in_flight.append(request)
        if idle:
            self._start_clock(request)
        if self._out:
            self._out += request.framed
            return
        self._out += request.framed
        if idle:
            self._flush()
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Hand the socket what waits; what it does not take goes when it is writable."""
        if not self.alive or not self._out:
            return
        self._write()
        if self._out:
            self._loop.add_writer(self._process.socket, self._writable)

    def _write(self) -> None:
        try:
            sent = self._process.socket.send(self._out)
        except BlockingIOError:
            return
        except OSError:  # it died; if idle, nothing was begun, and the reader sees the end of file next
            if len(self.in_flight) == 1 and len(self._out) == len(self.in_flight[0].framed):
                self._cause = "undelivered"
            sent = len(self._out)
        del self._out[:sent]

    def end(self, cause: DeathCause = "closed") -> None:
        """Kill the worker and report its death, once."""
        if not self.alive:
            return
        self.alive = False
        loop, link = self._loop, self._process.socket
        loop.remove_reader(link)
        loop.remove_writer(link)
        if self._timer is not None:
            self._timer.cancel()
        self._process.kill()
        try:
            self.on_death(self, cause, self._reader.note or "")
        finally:
            link.close()
            os.close(self._process.pidfd)

    def _readable(self) -> None:
        """Give each answer to its request. Any other byte ends the worker: it is out of step, or hostile."""
        try:
            data = self._process.socket.recv(_READ_BYTES)
            frames = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, WorkerError):
            self.end(self._cause)
            return
        for payload in frames:
            if not self.in_flight:
                self.end("crashed")
                return
            request = self.in_flight.popleft()
            self.answered += 1
            if self.in_flight:
                self._start_clock(self.in_flight[0])
            if not request.future.done():
                request.future.set_result(payload)
        if not data:
            self.end(self._cause)
        elif self._reader.note is not None or (self._reader.unfinished and not self.in_flight):
            self.end("crashed")
        elif frames:
            self.on_answer(self)

    def _writable(self) -> None:
        self._write()
        if not self._out:
            self._loop.remove_writer(self._process.socket)

    def _start_clock(self, head: Request) -> None:
        self._deadline = deadline = self._loop.time() + head.deadline_seconds
        timer = self._timer
        if timer is None:
            self._timer = self._loop.call_at(deadline, self._tick)
        elif timer.when() > deadline:
            timer.cancel()
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        """Kill if the head is late; otherwise look again when it would be."""
        self._timer = None
        if not self.in_flight:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._tick)
        else:
            self.end("deadline")
