"""What one run of a command may take, and what every command gets; loaded by its worker as well, so it needs little."""

from dataclasses import dataclass
from typing import Final

OUTPUT_BYTES_MAX: Final = 64 * 1024  # of standard output; it goes through the journal
ERRORS_BYTES_MAX: Final = 16 * 1024  # of standard error
STDIN_BYTES_MAX: Final = 1024 * 1024
WALL_MS_MAX: Final = 55_000  # an effect has 60 seconds, in which its workspace is looked through as well
OPEN_FILES_MAX: Final = 64
SIGNALS_MAX: Final = 1_024  # queued, and timers: the kernel counts them by user, and the gateway is the same user

# What a dynamically linked program needs to begin: libraries are read, and nothing in these is executed by itself.
READS: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/locale", "/usr/share/zoneinfo",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLimits:
    """What one run may take. Every field is a maximum; the kernel holds each process to the first four after `wall`."""

    wall_ms_max: int = 10_000
    cpu_seconds_max: int = 10  # of each process
    memory_bytes_max: int = 512 * 1024 * 1024  # address space of each process, and resident memory of all together
    file_bytes_max: int = 16 * 1024 * 1024  # of each file that is written
    processes_max: int = 1  # at a time; 1: it cannot fork at all
    output_bytes_max: int = OUTPUT_BYTES_MAX  # of standard output; more is read and thrown away
