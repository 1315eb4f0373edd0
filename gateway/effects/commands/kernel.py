"""Whether this kernel can hold a command at all: no configuration can wave this through.

Landlock from ABI 6 on (Linux 6.12) denies signals to processes outside, which nothing else here would: a command runs
as the gateway's user. That kernel also signals a process group through a pidfd (Linux 6.9), with which the gateway
ends a command whose worker has died.
"""

from typing import Final

from gateway.effects.commands.proc import lists_children
from gateway.workers import landlock, seccomp

LANDLOCK_ABI_MIN: Final = 6


def missing() -> str | None:
    """Return what the kernel lacks, as text for people; None: nothing."""
    version = landlock.abi()
    if version < LANDLOCK_ABI_MIN:
        return f"Landlock ABI {LANDLOCK_ABI_MIN} (Linux 6.12; this kernel has {version or 'none in force'})"
    if not seccomp.available():
        return "seccomp filters, on a machine whose system calls are known (x86-64, aarch64)"
    if not lists_children():
        return "/proc with the children of processes (CONFIG_PROC_CHILDREN), by which their number and memory are held"
    return None
