"""Loaded into a zygote: of its forks, those with the given numbers fail as on a machine that is full."""

import errno
import os

FAILING = range(3, 9)  # counted from 1
_real = os.fork
_count = 0


def _scarce() -> int:
    global _count  # noqa: PLW0603 - a zygote has one count
    _count += 1
    if _count in FAILING:
        raise OSError(errno.EAGAIN, "no more processes")
    return _real()


os.fork = _scarce
