"""What kind of worker a pool wants: values only, so that the zygote can load it cheaply."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from gateway.workers.calls import Calls
from gateway.workers.frame import FRAME_BYTES_MAX
from gateway.workers.limits import ResourceLimits

Handler: TypeAlias = Callable[[bytes], bytes]
"""Answers one request; an exception that leaves it ends the worker."""

Entry: TypeAlias = Callable[[bytes, tuple[int, ...]], Handler]
"""`serve(config, fds)`: builds the handler, in the worker. Its module is imported with the files at hand; when it runs,
none can be opened, and system calls are not filtered yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """How to make one worker. `fds` stay the caller's, and open for as long as a pool uses the spec."""

    entry: str  # "package.module:function", of type `Entry`
    limits: ResourceLimits
    # All that it may ask of the kernel once it is ready; anything else ends it. None: a launcher, whose entry is all of
    # its life. It starts a program, which it confines itself, and is not locked down; no pool can use one.
    calls: Calls | None
    config: bytes = b""  # travels on the worker's own socket, at most `frame_bytes_max`
    fds: tuple[int, ...] = ()  # given to the worker under other numbers, in this order; at most 64
    frame_bytes_max: int = FRAME_BYTES_MAX  # of one request
    answer_bytes_max: int = FRAME_BYTES_MAX  # of one answer; the gateway buffers no more of a worker
    start_ms_max: int = 10_000  # from fork to ready
    # Answers before another takes its place. What leaks in native code, and who has crept in, lasts no longer; at
    # 15,000 answers a second that is a fork of 8 ms every 13 s.
    calls_max: int = 200_000
