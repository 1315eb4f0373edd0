"""The system calls of a policy worker, once its engine is built; held by tests (docs/adr/0011)."""

from typing import Final

from gateway.workers.calls import INTERPRETER, LINK, MEMORY, Calls

WORKER: Final[Calls] = LINK + MEMORY + INTERPRETER
"""Evaluates Rego on one thread: it talks, allocates, and ends."""
