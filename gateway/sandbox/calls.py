"""The system calls of the sandbox's two roles, after loading; learnt with strace, held by tests (docs/adr/0011)."""

from typing import Final

from gateway.workers.calls import CODE, INTERPRETER, LINK, MEMORY, THREADS, Calls
from gateway.workers.seccomp import allow

DEADLINES: Final = Calls(
    (
        *allow("timer_settime"),  # arms and disarms the deadline of a run
        *allow("rt_sigtimedwait"),  # the C library's timer thread waits for it; each tick is a thread of its own
    )
)

WORKER: Final = LINK + MEMORY + INTERPRETER + THREADS + DEADLINES
"""Runs modules. All machine code is mapped before the list applies, so that nothing becomes executable after it."""

JAIL: Final = LINK + MEMORY + INTERPRETER + CODE
"""Compiles one module, on one thread. wasmtime maps what it has compiled, although only its bytes are wanted."""
