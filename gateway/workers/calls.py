"""What system calls a locked-down worker is made of: groups that the roles put together, each with its reason.

A role's list stands beside its code (`gateway.sandbox.calls`, `gateway.policy.calls`). What no list names ends the
worker: among much else every call that opens, connects, executes, forks, signals, traces, mounts or changes rights.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from gateway.workers.seccomp import WORD, Allow, Check, allow

_PROT_EXEC: Final = 4
_PROT_READ_EXEC: Final = 5
_ALL: Final = (1 << 64) - 1
_THREAD_FLAGS: Final = 0x3D_0F00  # what pthread_create passes: VM FS FILES SIGHAND THREAD SYSVSEM SETTLS *TID
_THREAD_FLAGS_MUSL: Final = 0x7D_0F00  # the same, and CLONE_DETACHED, which means nothing


@dataclass(frozen=True, slots=True)
class Calls:
    """The system calls of one role, once its code is loaded."""

    allowed: tuple[Allow, ...]
    refused: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # name: errno

    def __add__(self, other: "Calls") -> "Calls":
        """Return what either allows or refuses."""
        return Calls((*self.allowed, *other.allowed), MappingProxyType({**self.refused, **other.refused}))


LINK: Final = Calls(
    (
        # Answers and last words, to the peer of a socket and no address. The first of all calls: the kernel remembers
        # which are always allowed, and runs the filter for those that have checks, these two at each answer. No flags:
        # out-of-band data on Unix sockets has been a way from such a list into the kernel (CVE-2025-38236).
        Allow("sendto", (Check(4, _ALL, (0,)), Check(3, WORD, (0,)))),
        Allow("recvfrom", (Check(3, WORD, (0,)),)),  # requests
        *allow("close"),  # of a file object that the interpreter lets go of
    )
)

MEMORY: Final = Calls(
    (
        Allow("mmap", (Check(2, _PROT_EXEC, (0,)),)),  # the allocators, and wasmtime's change of memory images
        Allow("mprotect", (Check(2, _PROT_EXEC, (0,)),)),  # growth of an allocator's arena or of a guest's memory
        *allow("munmap", "mremap", "brk"),  # the allocators; none of them makes anything executable
        *allow("madvise"),  # pages given back: by allocators, by wasmtime when it resets an instance, by a thread's end
    )
)

INTERPRETER: Final = Calls(
    (
        *allow("futex"),  # the interpreter's lock, and every other
        *allow("rt_sigprocmask", "rt_sigreturn", "sigaltstack"),  # traps arrive as signals, with a stack of their own
        *allow("clock_gettime", "clock_getres", "gettimeofday"),  # CPU clocks; the rest where the vDSO cannot answer
        *allow("getrandom"),  # seeds of hash tables in native code
        *allow("getpid", "gettid"),  # of the C library, before it aborts or starts a thread
        *allow("sched_yield"),  # a native lock that spins
        Allow("write", (Check(0, WORD, (2,)),)),  # what native code prints before it gives up; goes to /dev/null
        *allow("exit", "exit_group"),
    )
)

THREADS: Final = Calls(
    (
        Allow("clone", (Check(0, WORD, (_THREAD_FLAGS, _THREAD_FLAGS_MUSL)),)),  # a thread, never a process
        *allow("set_robust_list", "rseq"),  # what the C library does first in a thread
        *allow("rt_sigaction"),  # before the first one, for a signal of its own
        *allow("sched_getaffinity"),  # how it finds a thread's stack
    ),
    # Its flags lie in memory, where no filter can look; the C library then uses clone.
    MappingProxyType({"clone3": errno.ENOSYS}),
)

CODE: Final = Calls(
    # Finished machine code becomes executable, and no longer writable. It is never both.
    (Allow("mprotect", (Check(2, _ALL, (_PROT_READ_EXEC,)),)),)
)
