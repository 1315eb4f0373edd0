"""The entry of a command's worker: a process for one command, forked by the zygote, that ends once it has told of it.

It is a launcher (`gateway.workers.spec`), not locked down but for its capabilities: it has to start a program, and it
reads nothing that is hostile but bytes that it hands on. Descriptors: the gateway's socket for this command, and the
workspace.
"""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final

from gateway.effects.commands.confine import Streams, become
from gateway.effects.commands.guard import Guard
from gateway.effects.commands.order import FAILED, STARTED, CommandEnd, CommandOrder
from gateway.effects.commands.prctl import adopt_orphans, end_with_parent
from gateway.effects.commands.program import ProgramError, open_program
from gateway.errors import WorkerError
from gateway.workers.capabilities import drop_all
from gateway.workers.limits import no_new_privileges

_REPORT_BYTES_MAX: Final = 512


def serve(config: bytes, fds: tuple[int, ...]) -> Callable[[bytes], bytes]:
    """Run the command of `config` to its end, and tell the gateway; the handler that is returned takes no request."""
    channel, root = fds
    control = socket.socket(fileno=channel)
    no_new_privileges()
    drop_all()
    adopt_orphans()
    # SIGKILL would leave the command's processes to nobody: the zygote's end is told to this process, which then ends
    # them as it does when the gateway hangs up.
    signal.signal(signal.SIGTERM, lambda *_: control.shutdown(socket.SHUT_RDWR))
    end_with_parent(signal.SIGTERM)
    try:
        message = _run(CommandOrder.decode(config), control, root).encode()
    except ProgramError as error:
        message = FAILED + str(error).encode("utf-8", "backslashreplace")
    with suppress(OSError):  # nobody listens any more
        control.send(message)
    return _no_request


def _no_request(_request: bytes) -> bytes:
    raise WorkerError("this worker has had its command", code="worker.closed")


def _run(order: CommandOrder, control: socket.socket, root: int) -> CommandEnd:
    with ExitStack() as ours:
        program = open_program(order.executable, order.sha256)
        ours.callback(os.close, program)
        (stdin, feed), (output, stdout), (errors, stderr) = os.pipe(), os.pipe(), os.pipe()
        (go, start), (told, report) = os.pipe(), os.pipe()
        worker = os.getpid()
        leader = os.fork()
        if leader == 0:
            become(order, Streams(root, program, stdin, stdout, stderr, go, report), worker)
        for theirs in (stdin, stdout, stderr, go, report):
            os.close(theirs)
        pidfd = os.pidfd_open(leader)
        try:
            socket.send_fds(control, [STARTED], [pidfd])  # from here on the gateway can end it
            os.write(start, b"g")
            _require_begun(told)
            for stream in (feed, output, errors):
                os.set_blocking(stream, False)
        except BaseException:
            os.kill(leader, signal.SIGKILL)  # ours, and not waited for: the number is still its own
            os.waitpid(leader, 0)
            raise
        return Guard(order, (leader, pidfd), root, control.fileno(), (feed, output, errors)).run()


def _require_begun(told: int) -> None:
    """Return once the program has begun: its exec has closed the pipe without a word."""
    if words := os.read(told, _REPORT_BYTES_MAX):
        raise ProgramError(f"the program cannot be started: {words.decode('utf-8', 'replace')}")
