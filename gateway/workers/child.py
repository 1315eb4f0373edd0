"""The life of a worker: cut loose, import, cut off, load, bind, answer, until the gateway hangs up."""

import contextlib
import gc
import importlib
import os
import signal
import socket
from collections.abc import Sequence

from gateway.errors import WorkerError
from gateway.workers.frame import FrameReader, frame, note
from gateway.workers.limits import die_with_parent
from gateway.workers.lockdown import Lockdown
from gateway.workers.spec import Entry, Handler

_READ_BYTES = 256 * 1024
_EXIT_FAILED = 70  # EX_SOFTWARE of sysexits.h


def live(*, parent_pid: int, channel: int, fds: Sequence[int], entry: str, lockdown: Lockdown | None) -> int:
    """Serve until end of file; return the exit status. It is the child's only work: the caller passes it to `_exit`.

    An exception of the handler ends the worker with a note: state after an unforeseen error is not trusted again.
    """
    die_with_parent()
    if os.getppid() != parent_pid:  # it ended before the kernel was asked
        return 0
    _cut_loose((channel, *fds))
    link = socket.socket(fileno=channel)
    try:
        requests = _Requests(link)
        config = requests.next()
        if config is None:
            return 0
        build = _resolve(entry)  # imports read files: the last that this process opens
        if lockdown is None:  # a launcher: what it starts, it confines
            build(config, tuple(fds))
            return 0
        lockdown.cut_off()
        handler = build(config, tuple(fds))
        gc.freeze()  # what is loaded stays: a collection during a run need not walk it
        lockdown.bind()
        link.sendall(frame(b""))  # ready
        _answer(link, requests, handler)
    except (BrokenPipeError, ConnectionResetError):
        return 0
    except BaseException as error:  # noqa: BLE001 - a worker has no caller: whatever it was, it is the end
        _last_words(link, error)
        return _EXIT_FAILED
    return 0


def _answer(link: socket.socket, requests: "_Requests", handler: Handler) -> None:
    while (request := requests.next()) is not None:
        link.sendall(frame(handler(request)))


class _Requests:
    """The frames of a blocking socket, one at a time, however many arrive in one read."""

    __slots__ = ("_link", "_reader", "_ready")

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._reader = FrameReader()
        self._ready: list[bytes] = []  # newest first

    def next(self) -> bytes | None:
        """Return the next frame, or None at the end of the stream."""
        while not self._ready:
            data = self._link.recv(_READ_BYTES)
            if not data:
                return None
            self._ready = self._reader.feed(data)[::-1]
        return self._ready.pop()


def _resolve(entry: str) -> Entry:
    module, _, name = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), name)
    return found


def _cut_loose(keep: Sequence[int]) -> None:
    """Give up all that the zygote had: signal handlers, environment, standard streams, every other descriptor."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) not in {signal.SIG_DFL, None}:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a gateway that went away is an error to handle, not a signal
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.environ.clear()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    start = 3
    for fd in sorted(keep):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, 1 << 20)


def _last_words(link: socket.socket, error: BaseException) -> None:
    """Say what went wrong and where, without values: those may be a mission's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""
    detail = f": {error}" if isinstance(error, ImportError | OSError | WorkerError) else ""
    with contextlib.suppress(OSError):  # nobody listens any more
        link.sendall(note(f"{type(error).__name__}{where}{detail}"))
