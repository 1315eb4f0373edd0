"""Tells the service manager how it goes: the datagrams of sd_notify(3), in a few lines.

Source: sd_notify(3); a name that begins with @ is an abstract socket.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"


class ServiceManager:
    """The one that has started this process; where there is none, nothing is told, and nothing fails."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name

    def tell(self, *lines: str, status: str = "") -> None:
        """Send state lines, and a sentence for people."""
        if not self._address:
            return
        text = "\n".join((*lines, *((f"STATUS={status}",) if status else ())))
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
            sending.connect(self._address)
            sending.sendall(text.encode())

    def reloading(self) -> None:
        """Say that a reload has begun; READY says that it is over."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")
