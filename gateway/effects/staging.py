"""Brings content to the disk under a name that nobody knows, to be moved to its own in one act."""

import os
import secrets
from contextlib import ExitStack, suppress


def stage(staging: int, content: bytes, opened: ExitStack) -> str:
    """Write `content` into the staging directory, durably, and return its name there, gone when `opened` closes."""
    name = secrets.token_hex(16)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=staging)
    opened.callback(_unlink_if_there, staging, name)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        written = 0
        while written < len(content):
            written += file.write(content[written:]) or 0
        os.fsync(descriptor)
    return name


def _unlink_if_there(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):  # it was placed
        os.unlink(name, dir_fd=directory)
