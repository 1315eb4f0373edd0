"""The last steps of a command's own process before it becomes the program; each of them takes something away.

1. a session and a process group of its own, which the filter keeps it in; it dies with its worker;
2. standard streams, working directory, signals and limits;
3. every other descriptor is closed; capabilities and the way to new ones the worker has given up before;
4. Landlock: the workspace, the libraries, the program; no other file, no TCP, no signal outside;
5. seccomp, last: what it forbids is needed above;
6. the program, by the descriptor that was checked, with an empty environment.
"""

import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from gateway.effects.commands.filter import command_filter
from gateway.effects.commands.kernel import LANDLOCK_ABI_MIN
from gateway.effects.commands.limits import OPEN_FILES_MAX, READS, SIGNALS_MAX
from gateway.effects.commands.order import CommandOrder
from gateway.effects.commands.program import interpreter_of
from gateway.workers import seccomp
from gateway.workers.landlock import Grant, Right, restrict
from gateway.workers.limits import RLIMIT_SIGPENDING, die_with_parent
from gateway.workers.syscalls import here

EXIT_FAILED: Final = 127

_NICENESS: Final = 10
_READ: Final = Right.READ_FILE | Right.READ_DIR
_RUN: Final = _READ | Right.EXECUTE
_WORKSPACE: Final = (
    _READ | Right.WRITE_FILE | Right.TRUNCATE | Right.MAKE_REG | Right.MAKE_DIR | Right.MAKE_SYM | Right.REMOVE_FILE
    | Right.REMOVE_DIR | Right.REFER
)  # no EXECUTE, and no device, socket or FIFO  # fmt: skip
_DEVICES: Final = (
    Grant("/dev/null", Right.READ_FILE | Right.WRITE_FILE),
    Grant("/dev/zero", Right.READ_FILE),
    Grant("/dev/urandom", Right.READ_FILE),
)


@dataclass(frozen=True, slots=True)
class Streams:
    """The descriptors that a command's process begins with."""

    root: int  # the workspace
    program: int
    stdin: int
    stdout: int
    stderr: int
    go: int  # a byte comes once the gateway can end the command
    report: int  # closed by the exec; what is written to it is why there was none


def become(order: CommandOrder, streams: Streams, worker_pid: int) -> NoReturn:
    """Become the program. Called in a process of its own; it never returns."""
    try:
        os.setsid()  # (1)
        die_with_parent()
        if os.getppid() != worker_pid or not os.read(streams.go, 1):
            os._exit(EXIT_FAILED)
        interpreter = interpreter_of(streams.program)
        _arrange(order, streams)  # (2)
        _close_but(streams.program, streams.report)  # (3)
        restrict(_grants(order, streams.program, interpreter), abi_min=LANDLOCK_ABI_MIN)  # (4)
        machine = here()
        if machine is None:
            raise OSError("the machine has no table of system calls")  # noqa: TRY301 - the report is below
        seccomp.install(command_filter(machine, forks=order.limits.processes_max > 1))  # (5)
        os.execve(streams.program, list(order.argv), {})  # noqa: S606 - (6)
    except BaseException as error:  # noqa: BLE001 - nobody is above: the worker is told, and the process ends
        os.write(streams.report, f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")[:512])
    finally:
        os._exit(EXIT_FAILED)


def _arrange(order: CommandOrder, streams: Streams) -> None:
    os.fchdir(streams.root)
    os.umask(0o077)
    os.nice(_NICENESS)  # a bomb must leave its guard the time to count it
    for number, stream in enumerate((streams.stdin, streams.stdout, streams.stderr)):
        os.dup2(stream, number)  # the worker hands out none below 3
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)  # an ignored signal would stay ignored in the program
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    limits = order.limits
    _limit(resource.RLIMIT_AS, limits.memory_bytes_max)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes_max)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(RLIMIT_SIGPENDING, SIGNALS_MAX)
    # SIGXCPU first, so that the reason shows; SIGKILL a second later for who ignores it.
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    last = limits.cpu_seconds_max + 1 if hard == resource.RLIM_INFINITY else min(hard, limits.cpu_seconds_max + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (min(limits.cpu_seconds_max, last), last))


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _close_but(*kept: int) -> None:
    start = 3
    for descriptor in sorted(kept):
        os.closerange(start, descriptor)
        os.set_inheritable(descriptor, False)
        start = descriptor + 1
    os.closerange(start, 1 << 20)


def _grants(order: CommandOrder, program: int, interpreter: str | None) -> Sequence[Grant]:
    """Return all that the command may open; of what is read, what this machine has."""
    running: list[str | int] = [program, *order.executes]
    if interpreter is not None:
        running.append(interpreter)
    return (
        Grant(".", _WORKSPACE),
        *_DEVICES,
        *(Grant(path, _READ) for path in (*READS, *order.reads) if os.path.exists(path)),  # noqa: PTH110 - no Path here
        *(Grant(path, _RUN) for path in running),
    )
