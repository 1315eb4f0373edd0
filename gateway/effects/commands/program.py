"""Opens the program of a command: one descriptor, on which everything is checked, and which is then executed.

What is checked and what runs is the same open file, so that nothing can be put in its place meanwhile. A file that is
rewritten in place keeps its descriptor; a program that others may write is therefore refused.
"""

import hashlib
import os
import stat
from typing import Final

_MAGIC: Final = b"\x7fELF"
_HEADER_BYTES: Final = 64
_BITS_64: Final = 2
_LITTLE_ENDIAN: Final = 1
_PT_INTERP: Final = 3
_PROGRAM_HEADERS_MAX: Final = 128
_INTERPRETER_BYTES_MAX: Final = 4_096
_CHUNK_BYTES: Final = 1024 * 1024


class ProgramError(Exception):
    """The program is not there, or is not what the entry says; the text is for people."""


def open_program(path: str, sha256: str | None) -> int:
    """Return a descriptor of the program at `path`, checked; the caller closes it.

    Raises:
        ProgramError: it cannot be opened, is no ELF program, has a set-id bit, may be written by others, or has
            another SHA-256 than the one that is pinned.
    """
    try:
        program = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ProgramError(f"the program cannot be opened: {error.strerror}") from error
    try:
        _check(program, sha256)
    except BaseException:
        os.close(program)
        raise
    return program


def interpreter_of(program: int) -> str | None:
    """Return the dynamic loader that the kernel will start the program with; None for a static one.

    Source: elf(5), PT_INTERP of a 64-bit, little-endian file.

    Raises:
        ProgramError: the file is damaged, or made for another kind of machine.
    """
    header = os.pread(program, _HEADER_BYTES, 0)
    if len(header) < _HEADER_BYTES or header[4] != _BITS_64 or header[5] != _LITTLE_ENDIAN:
        raise ProgramError("the program is not of this kind of machine")
    table = int.from_bytes(header[32:40], "little")
    size, count = (int.from_bytes(header[at : at + 2], "little") for at in (54, 56))
    for at in range(min(count, _PROGRAM_HEADERS_MAX)):
        entry = os.pread(program, size, table + at * size)
        if len(entry) >= 40 and int.from_bytes(entry[:4], "little") == _PT_INTERP:  # noqa: PLR2004 - up to p_filesz
            offset, length = (int.from_bytes(entry[a : a + 8], "little") for a in (8, 32))
            name = os.pread(program, min(length, _INTERPRETER_BYTES_MAX), offset)
            return os.fsdecode(name.rstrip(b"\0"))
    return None


def _check(program: int, sha256: str | None) -> None:
    status = os.fstat(program)
    if not stat.S_ISREG(status.st_mode):
        raise ProgramError("the program is not a regular file")
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise ProgramError("the program has a set-user-id or set-group-id bit")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ProgramError("the program may be written by its group or by everybody")
    if status.st_uid not in {0, os.geteuid()}:
        raise ProgramError("the program belongs to another user")
    if os.pread(program, len(_MAGIC), 0) != _MAGIC:
        raise ProgramError("the program is no ELF file: of a script, the interpreter is the executable")
    if sha256 is not None and _digest(program) != sha256:
        raise ProgramError("the program has another SHA-256 than the one that is pinned")


def _digest(program: int) -> str:
    digest, position = hashlib.sha256(), 0
    while chunk := os.pread(program, _CHUNK_BYTES, position):
        digest.update(chunk)
        position += len(chunk)
    return digest.hexdigest()
