"""What a worker process may take of the machine, and what it does for its parent's sake."""

import ctypes
import resource
import signal
from dataclasses import dataclass
from typing import Final

RLIMIT_SIGPENDING: Final = 11  # linux/resource.h; the module has no name for it
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """Kernel limits (setrlimit(2)) of one worker. Every field is a maximum."""

    address_space_bytes_max: int
    cpu_seconds_max: int | None = None  # over the whole life of the process; None: it lives as long as the pool
    open_files_max: int = 64
    file_bytes_max: int = 0  # a worker writes no files
    # Counts every thread of the user, the gateway's too, and does not count for root: 0 where a worker starts no
    # thread, None (the hard limit as it was) where it does. What holds a worker to its own threads is its filter.
    processes_max: int | None = None

    def apply(self) -> None:
        """Bind this process, for good: soft and hard limits are the same.

        Raises:
            OSError: the kernel refused; the worker must not go on.
        """
        _limit(resource.RLIMIT_AS, self.address_space_bytes_max)
        _limit(resource.RLIMIT_NOFILE, self.open_files_max)
        _limit(resource.RLIMIT_FSIZE, self.file_bytes_max)
        _limit(resource.RLIMIT_CORE, 0)  # a core file would hold the documents of missions
        _limit(resource.RLIMIT_MEMLOCK, 0)  # locked pages could not be taken back from it
        _limit(resource.RLIMIT_MSGQUEUE, 0)
        _limit(RLIMIT_SIGPENDING, 0)  # queued signals are kernel memory; the timer of a run has its own already
        if self.processes_max is not None:
            _limit(resource.RLIMIT_NPROC, self.processes_max)
        if self.cpu_seconds_max is not None:
            _limit(resource.RLIMIT_CPU, self.cpu_seconds_max)


def _limit(kind: int, value: int) -> None:
    """Set one limit, never above the hard limit that the process was born with."""
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent ends.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def no_new_privileges() -> None:
    """Make every execve that may follow one that gains nothing: no setuid file, no file capability.

    Raises:
        OSError: the kernel refused; the worker must not go on.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Close this process, and those that it forks, to ptrace and /proc/<pid>/mem of the same user: of each other.

    Raises:
        OSError: the kernel refused.
    """
    _limit(resource.RLIMIT_CORE, 0)  # the kernel writes none of such a process; a handler that is piped to asks this
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
