"""One call of a module, as a value: what is asked, and how it ended. `native` and `public` are two ways to make it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from wasmtime import InstancePre, Linker

from gateway.sandbox.port import RunGiven

ALLOC_EXPORT = "mission_alloc"
RUN_EXPORT = "mission_run"
MEMORY_EXPORT = "memory"
INITIALIZE_EXPORT = "_initialize"

U32 = 0xFFFF_FFFF
U64 = 0xFFFF_FFFF_FFFF_FFFF


class End(Enum):
    """How a call ended."""

    RETURNED = "returned"
    FUEL = "out of fuel"
    EPOCH = "the epoch passed its deadline"
    TRAPPED = "trapped"
    EXITED = "proc_exit was called"
    HOST_CALLS = "the host was called too often"
    REFUSED = "not instantiated: over a limit of the store"
    BAD_INPUT_POINTER = "mission_alloc returned memory that is not there"
    BAD_OUTPUT_POINTER = "mission_run returned memory that is not there"
    OUTPUT_TOO_LARGE = "mission_run returned more than is allowed"


@dataclass(frozen=True, slots=True)
class Called:
    """The end of a call, and what it used until then."""

    end: End
    output: bytes
    fuel_left: int
    memory_bytes: int
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module ready to be instantiated: linked against the host's functions, its exports' types checked."""

    pre: InstancePre
    address: int  # of `pre` on the C side; 0 where only the public API is used
    initializes: bool  # exports `_initialize`
    calls_host: bool  # imports something
    memory_bytes_min: int  # what it needs to be instantiated


class Caller(Protocol):
    """Makes calls, one at a time, each in a fresh store."""

    def link(self, linker: Linker) -> None:
        """Define the host's functions, for modules that import some. They answer during calls of this object only."""

    def call(
        self,
        module: Loaded,
        document: bytes,
        given: RunGiven,
        *,
        fuel: int,
        memory_bytes_max: int,
        output_bytes_max: int,
        arm: Callable[[], None],
    ) -> Called:
        """Instantiate `module` and call it; never raise for anything that a guest does.

        `arm` is called once the store's epoch deadline is set, before any of the guest's code.
        """
