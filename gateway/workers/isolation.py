"""Which layers of isolation a kernel has, and which of them an operator does without: by name, or not at all."""

import enum
from collections.abc import Collection
from dataclasses import dataclass

from gateway.errors import WorkerError
from gateway.workers import landlock, seccomp


class Layer(enum.StrEnum):
    """A layer that a kernel may lack. Rlimits, no_new_privs and the loss of capabilities are always there."""

    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the kernel under this process has."""

    landlock_abi: int  # 0: none
    seccomp: bool

    @property
    def missing(self) -> tuple[Layer, ...]:
        """The layers that this kernel lacks."""
        there = {Layer.LANDLOCK: self.landlock_abi > 0, Layer.SECCOMP: self.seccomp}
        return tuple(layer for layer in Layer if not there[layer])

    @property
    def in_force(self) -> tuple[str, ...]:
        """What binds each worker, for people and for the log."""
        landlock_name = f"landlock (ABI {self.landlock_abi})"
        names = {Layer.LANDLOCK: landlock_name, Layer.SECCOMP: str(Layer.SECCOMP)}
        return ("rlimits", "no_new_privs", "no capabilities", *(n for k, n in names.items() if k not in self.missing))


def of_this_kernel() -> Isolation:
    """Ask the kernel; it changes nothing."""
    return Isolation(landlock_abi=landlock.abi(), seccomp=seccomp.available())


def require(isolation: Isolation, without: Collection[str]) -> None:
    """Refuse a kernel that lacks a layer which `without` does not name.

    Raises:
        WorkerError: `worker.landlock_missing` or `worker.seccomp_missing`.
    """
    for layer in isolation.missing:
        if layer not in without:
            raise WorkerError(f"the kernel lacks {layer}", code=f"worker.{layer}_missing")
