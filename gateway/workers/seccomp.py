"""Seccomp: turns a list of allowed system calls into a filter program, and binds this process to it.

`program` is a pure function, so that tests evaluate what they are given; only `install` touches the process. What a
filter does not name ends the whole process, at once, before the kernel looks at the call. Source: seccomp(2),
linux/seccomp.h, linux/bpf_common.h.
"""

import ctypes
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.errors import WorkerError
from gateway.workers.syscalls import MACHINES, Machine, here

INSTRUCTIONS_MAX: Final = 4096  # BPF_MAXINSNS
ERRNO_MAX: Final = 4095
WORD: Final = 0xFFFF_FFFF  # the mask of an `int` argument: the kernel does not look at its upper half either

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_FLAG_TSYNC: Final = 1
_KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
_ALLOW: Final = 0x7FFF_0000
_X32_BIT: Final = 0x4000_0000
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
_JUMP_MAX: Final = 255
_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, constant


@dataclass(frozen=True, slots=True)
class Check:
    """Holds where `argument & mask` is one of `values`. A pointer's target cannot be checked, only its bits."""

    argument: int  # 0 to 5
    mask: int
    values: tuple[int, ...]  # at least one

    def __post_init__(self) -> None:
        if not 0 <= self.argument <= 5 or not self.values:  # noqa: PLR2004 - six arguments, by the kernel's ABI
            raise ValueError("a check needs an argument from 0 to 5, and values")
        if any(value & ~self.mask for value in self.values) or not 0 <= self.mask < 1 << 64:
            raise ValueError("a value outside of its mask can never be met")


@dataclass(frozen=True, slots=True)
class Allow:
    """A system call that may be made where all `checks` hold. Several of one name are alternatives."""

    name: str
    checks: tuple[Check, ...] = ()


_FLAGS: Final = 3  # of mmap
_NOT_ANONYMOUS: Final = Check(_FLAGS, 0x20, (0,))  # MAP_ANONYMOUS
_PRIVATE: Final = Check(_FLAGS, 0x0F, (2,))  # MAP_TYPE: MAP_PRIVATE


def allow(*names: str) -> tuple[Allow, ...]:
    """Return the unconditional permission of each of `names`."""
    return tuple(Allow(name) for name in names)


def mapping(*checks: Check) -> tuple[Allow, ...]:
    """Return the permission of mmap with `checks`, and without shared memory that is no file's.

    It stays for as long as one page of it is mapped, although no limit of address space and no count of resident pages
    sees the others: a process could hold all of a machine's.
    """
    return Allow("mmap", (*checks, _NOT_ANONYMOUS)), Allow("mmap", (*checks, _PRIVATE))


def program(
    allowed: Iterable[Allow],
    machine: Machine,
    *,
    refused: Mapping[str, int] | None = None,
    ignored: Iterable[str] = (),
    otherwise: int | None = None,
) -> bytes:
    """Return the filter (an array of struct sock_filter).

    Args:
        allowed: the calls that may be made; one that this machine lacks (`open` on aarch64) is left out.
        machine: whose numbers to use; any other machine's call, x32 included, ends the process.
        refused: calls answered with an errno instead of the end, for programs that try and fall back.
        ignored: calls that are answered as if they had been made.
        otherwise: the errno for whatever is not named; None: the end of the process.

    Raises:
        ValueError: a name that no machine has, an errno out of range, or a list that does not fit.
    """
    default = _KILL_PROCESS if otherwise is None else _errno(otherwise)
    body: list[bytes] = [
        _load(_ARCH_AT),
        _jump(_EQUAL, machine.audit_arch, 1, 0),
        _end(_KILL_PROCESS),
        _load(_NUMBER_AT),
        _jump(_AT_LEAST, _X32_BIT, 0, 1),  # x32 has its numbers from here on; so has nothing else
        _end(_KILL_PROCESS),
    ]
    for name, alternatives in _by_name(allowed).items():
        number = _number(name, machine)
        if number is not None:
            body += _branch(number, [*_alternatives(alternatives), _end(default)])
    for name, errno in (refused or {}).items():
        number = _number(name, machine)
        if number is not None:
            body += _branch(number, [_end(_errno(errno))])
    for name in ignored:
        number = _number(name, machine)
        if number is not None:
            body += _branch(number, [_end(_ERRNO)])
    body.append(_end(default))
    if len(body) > INSTRUCTIONS_MAX:
        raise ValueError(f"the filter has {len(body)} instructions; the kernel takes {INSTRUCTIONS_MAX}")
    return b"".join(body)


def available() -> bool:
    """Whether this kernel filters, and can end a process; it changes nothing."""
    machine = here()
    if machine is None:
        return False
    action = ctypes.c_uint32(_KILL_PROCESS)
    return _seccomp(machine, _GET_ACTION_AVAIL, 0, ctypes.addressof(action)) == 0


def install(filter_program: bytes) -> None:
    """Bind every thread of this process, and all that it will start, to `filter_program`, for good.

    The caller has set no_new_privs. SECCOMP_FILTER_FLAG_SPEC_ALLOW is not passed on purpose: where the administrator
    ties the mitigation of speculative store bypass to seccomp, code that is not trusted keeps it (docs/adr/0011).

    Raises:
        WorkerError: `worker.seccomp_missing`, the kernel has no such filter, or not for this machine.
        OSError: the kernel refused the program.
    """
    machine = here()
    if machine is None or not available():
        raise WorkerError("the kernel has no seccomp filter for this process", code="worker.seccomp_missing")
    held = ctypes.create_string_buffer(filter_program, len(filter_program))
    header = struct.pack("@HP", len(filter_program) // _INSTRUCTION.size, ctypes.addressof(held))  # struct sock_fprog
    argument = ctypes.create_string_buffer(header, len(header))
    outcome = _seccomp(machine, _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.addressof(argument))
    if outcome != 0:  # above 0: the id of a thread that could not be bound
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


def _seccomp(machine: Machine, operation: int, flags: int, argument: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = machine.numbers["seccomp"]
    answer: int = libc.syscall(
        ctypes.c_long(number), ctypes.c_ulong(operation), ctypes.c_ulong(flags), ctypes.c_void_p(argument)
    )
    return answer


def _by_name(allowed: Iterable[Allow]) -> dict[str, list[Allow]]:
    found: dict[str, list[Allow]] = {}
    for one in allowed:
        found.setdefault(one.name, []).append(one)
    return found


def _number(name: str, machine: Machine) -> int | None:
    """Return the number of `name`; None where another machine has it only."""
    if not any(name in known.numbers for known in MACHINES.values()):
        raise ValueError(f"no system call is named {name!r}")
    return machine.numbers.get(name)


def _errno(number: int) -> int:
    if not 0 < number <= ERRNO_MAX:
        raise ValueError(f"no error has the number {number}")
    return _ERRNO | number


def _branch(number: int, block: list[bytes]) -> list[bytes]:
    """Run `block`, which returns, where the call is `number`; the number stays loaded for the branch behind it."""
    return [_jump(_EQUAL, number, 0, len(block)), *block]


def _alternatives(alternatives: list[Allow]) -> list[bytes]:
    """Return what allows if all checks of one alternative hold, and otherwise falls off its end."""
    block: list[bytes] = []
    for one in alternatives:
        inner = [_end(_ALLOW)]
        for check in reversed(one.checks):
            inner = [*_test(check, len(inner)), *inner]
        block += inner
    return block


def _test(check: Check, behind: int) -> list[bytes]:
    """Return what goes on if `check` holds, and otherwise jumps over the `behind` instructions that follow it.

    An argument has 64 bits, the machine words of 32: each value is compared in two halves, low one first.
    """
    at = _ARGUMENTS_AT + 8 * check.argument
    block: list[bytes] = []
    for left in range(len(check.values), 0, -1):
        value = check.values[len(check.values) - left]
        over = 6 * (left - 1)  # the comparisons of the values behind this one
        last = left == 1
        fail = over + behind if last else 0
        block += [
            _load(at),
            _mask(check.mask & WORD),
            _jump(_EQUAL, value & WORD, 0, 3 + fail),
            _load(at + 4),
            _mask(check.mask >> 32),
            _jump(_EQUAL, value >> 32, over, fail),
        ]
    return block


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LOAD, 0, 0, offset)


def _mask(bits: int) -> bytes:
    return _INSTRUCTION.pack(_AND, 0, 0, bits)


def _jump(code: int, constant: int, if_true: int, if_false: int) -> bytes:
    if max(if_true, if_false) > _JUMP_MAX:
        raise ValueError("the checks of one system call are too many")
    return _INSTRUCTION.pack(code, if_true, if_false, constant)


def _end(action: int) -> bytes:
    return _INSTRUCTION.pack(_RETURN, 0, 0, action)
