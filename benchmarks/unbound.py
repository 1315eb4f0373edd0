"""Loaded into a zygote: its workers are bound by rlimits alone, so that a benchmark sees what the rest costs."""

from gateway.workers.limits import ResourceLimits
from gateway.workers.lockdown import Lockdown


def _nothing(_: Lockdown) -> None:
    return


def _limits(lockdown: Lockdown) -> None:
    limits: ResourceLimits = lockdown.limits
    limits.apply()


Lockdown.cut_off = _nothing  # type: ignore[assignment, method-assign]
Lockdown.bind = _limits  # type: ignore[assignment, method-assign]
