"""The clock: not behind what it has signed already, and held by somebody."""

import ctypes
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import orjson

from engine.audit.errors import AuditTamperedError
from engine.audit.segment import last_line
from engine.clock import Clock, rfc3339
from gateway.doctor.check import Check, failed, ok, warn
from gateway.folders import AUDIT_FOLDER

_BEHIND_WARN: Final = timedelta(seconds=1)
_BEHIND_FAIL: Final = timedelta(hours=1)
_TIMEX_BYTES: Final = 256  # struct timex has 208 on 64-bit machines
_STATUS_AT: Final = 40  # of `status`, behind modes (padded) and four longs
_STA_UNSYNC: Final = 0x40


def monotone(home: Path, clock: Clock) -> Check:
    """Whether the newest event of the log lies in the past; events never go back, so the log would run ahead."""
    code, now = "clock.monotone", clock.now()
    try:
        line = last_line(home / AUDIT_FOLDER / "segments")
        newest = datetime.fromisoformat(orjson.loads(line)["timestamp"]) if line is not None else None
    except (OSError, ValueError, TypeError, KeyError, AuditTamperedError) as error:
        return failed(code, f"the newest event cannot be read: {error}", "missiongate audit verify says what is wrong")
    if newest is None or newest <= now + _BEHIND_WARN:
        return ok(code, f"it is {rfc3339(now)}, after everything that is in the log")
    message = f"the clock is at {rfc3339(now)}, and the newest event of the log at {rfc3339(newest)}"
    if newest > now + _BEHIND_FAIL:
        return failed(code, message, "set the clock: until it is past that event, what is recorded has a wrong time")
    return warn(code, message, "set the clock: events have later times than they should until it has caught up")


def synchronized(ask: Callable[[], bool | None]) -> Check:
    """Whether something keeps the clock right; `ask` returns None where that cannot be told."""
    code, known = "clock.synchronized", ask()
    if known is None:
        return warn(code, "whether the clock is kept right cannot be told here", "make sure of it on the host")
    if not known:
        advice = "run chrony, systemd-timesyncd or ntpd: expiry, retention and evidence go by this clock"
        return warn(code, "nothing keeps the clock right", advice)
    return ok(code, "the kernel says that the clock is synchronized")


def kernel_synchronized() -> bool | None:
    """Ask the kernel; it changes nothing. Source: adjtimex(2), modes = 0."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    status = int.from_bytes(buffer.raw[_STATUS_AT : _STATUS_AT + 4], "little")
    return not status & _STA_UNSYNC
