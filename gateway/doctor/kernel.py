"""The kernel: what binds workers, and the calls on which files and processes rest."""

import os
import platform
from collections.abc import Collection
from pathlib import Path

from gateway.doctor.check import Check, failed, ok, warn
from gateway.effects.openat2 import open_beneath
from gateway.workers.isolation import Isolation


def isolation(kernel: Isolation, accept_without: Collection[str]) -> Check:
    """Whether the layers that hold a worker are there."""
    lacking = [str(layer) for layer in kernel.missing]
    if not lacking:
        return ok("kernel.isolation", ", ".join(kernel.in_force))
    message = f"this kernel ({platform.release()}) lacks {' and '.join(lacking)}"
    if set(lacking) <= set(accept_without):
        advice = "accepted by workers.accept_without; use a kernel that has them where you can"
        return warn("kernel.isolation", message, advice)
    advice = "use Linux 5.13 or newer with Landlock among its LSMs, or name what you do without in "
    return failed("kernel.isolation", message, advice + "workers.accept_without")


def beneath(folder: Path) -> Check:
    """Whether the kernel holds a path below a directory: file effects rest on openat2."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(open_beneath(descriptor, ".", os.O_RDONLY | os.O_DIRECTORY))
        finally:
            os.close(descriptor)
    except OSError as error:
        advice = "use Linux 5.6 or newer; in a container, a seccomp profile that allows openat2"
        return failed("kernel.openat2", f"openat2 does not work: {error.strerror}", advice)
    return ok("kernel.openat2", "openat2 holds a path below its directory")


def processes() -> Check:
    """Whether processes can be waited for, and artefacts handed over, without a name in between."""
    try:
        os.close(os.pidfd_open(os.getpid()))
        os.close(os.memfd_create("missiongate-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    except OSError as error:
        advice = "use Linux 5.3 or newer; in a container, a seccomp profile that allows pidfd_open and memfd_create"
        return failed("kernel.processes", f"pidfd_open or memfd_create does not work: {error.strerror}", advice)
    return ok("kernel.processes", "pidfd_open and memfd_create work")
