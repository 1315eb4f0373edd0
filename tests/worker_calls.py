"""The system calls of workers that tests make up: those of a real one, and what their requests ask for."""

from typing import Final

from gateway.workers.calls import INTERPRETER, LINK, MEMORY, THREADS, Calls
from gateway.workers.seccomp import allow

REAL: Final = LINK + MEMORY + INTERPRETER + THREADS
ENTRIES: Final = REAL + Calls(
    allow("clock_nanosleep", "kill", "memfd_create", "write", "prlimit64", "fstat", "newfstatat")
)
