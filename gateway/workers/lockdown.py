"""The lockdown of a worker, in two halves around the building of its handler.

`cut_off` comes first, while there is one thread: what it takes away is taken from the thread that asks, and from those
that it starts. `bind` comes last, when everything is loaded: what it takes away, loading could not do without. Between
the two the worker has seen its configuration, and nothing of a client's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import WorkerError
from gateway.workers import isolation, landlock, seccomp
from gateway.workers.capabilities import drop_all
from gateway.workers.isolation import Layer
from gateway.workers.limits import ResourceLimits, no_new_privileges

_TASKS: Final = Path("/proc/self/task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockdown:
    """What one worker is bound to. A layer that the kernel has always applies."""

    limits: ResourceLimits
    filter_program: bytes  # of `gateway.workers.seccomp.program`
    without: frozenset[str] = frozenset()  # layers (`Layer`) that the operator accepts to be missing

    def cut_off(self) -> None:
        """Give up privileges, files, TCP and other processes, now and in every thread to come.

        Raises:
            WorkerError: a layer is missing that nobody accepted to be, or there is a second thread already.
            OSError: the kernel refused; the worker must not go on.
        """
        found = isolation.of_this_kernel()
        isolation.require(found, self.without)
        if sum(1 for _ in _TASKS.iterdir()) != 1:
            raise WorkerError("a thread was started before the lockdown", code="worker.start_failed")
        no_new_privileges()
        drop_all()
        if Layer.LANDLOCK not in found.missing:
            landlock.restrict()

    def bind(self) -> None:
        """Bind this process before it sees the first byte that is not ours.

        Raises:
            WorkerError: a layer is missing that nobody accepted to be.
            OSError: the kernel refused; the worker must not go on.
        """
        self.limits.apply()
        if seccomp.available():
            seccomp.install(self.filter_program)
        else:
            isolation.require(isolation.of_this_kernel(), self.without)
