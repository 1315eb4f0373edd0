"""A filter allows what it names and ends the process otherwise: by evaluation, and in a process of its own."""

import errno
import signal
import subprocess
import sys

import pytest

from gateway.workers.seccomp import WORD, Allow, Check, allow, program
from gateway.workers.syscalls import MACHINES, Machine
from tests.unit.gateway.workers.bpf import evaluate

ALLOW, KILL = 0x7FFF_0000, 0x8000_0000
PROT_EXEC = 4
ON = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def answer(filter_program: bytes, machine: Machine, name: str, *arguments: int) -> int:
    return evaluate(filter_program, machine.audit_arch, machine.numbers[name], *arguments)


@ON
def test_only_what_is_named_is_allowed(machine: Machine) -> None:
    """Of all system calls of a machine, those of the list pass and every other ends the process."""
    made = program(allow("read", "write", "exit_group"), machine)
    passed = {name for name in machine.numbers if answer(made, machine, name) == ALLOW}
    assert passed == {"read", "write", "exit_group"}
    assert {answer(made, machine, name) for name in machine.numbers} == {ALLOW, KILL}


@ON
def test_another_machine_s_call_ends_the_process(machine: Machine) -> None:
    """Numbers mean other calls elsewhere: i386, the other table and x32 are no way around."""
    made = program(allow("read"), machine)
    others = [0x4000_0003, *(m.audit_arch for m in MACHINES.values() if m is not machine)]
    assert {evaluate(made, arch, number) for arch in others for number in range(500)} == {KILL}
    number = machine.numbers["read"]
    assert evaluate(made, machine.audit_arch, number | 0x4000_0000) == KILL
    assert evaluate(made, machine.audit_arch, number | 0x8000_0000) == KILL
    assert evaluate(made, machine.audit_arch, 0xFFFF_FFFF) == KILL


@ON
def test_a_check_looks_at_all_bits_of_its_mask(machine: Machine) -> None:
    """A bit of the mask that differs, in the upper half too, is a no; a bit outside of it does not matter."""
    made = program([Allow("mmap", (Check(2, PROT_EXEC | 1 << 40, (0,)),))], machine)
    assert answer(made, machine, "mmap", 0, 0, 3) == ALLOW
    assert answer(made, machine, "mmap", 0, 0, 1 << 41 | 1) == ALLOW
    assert answer(made, machine, "mmap", 0, 0, 7) == KILL
    assert answer(made, machine, "mmap", 0, 0, 1 << 40) == KILL


@ON
def test_checks_join_and_alternatives_part(machine: Machine) -> None:
    """All checks of one alternative must hold, and any alternative is enough, each with each value."""
    made = program(
        [
            Allow("ioctl", (Check(1, WORD, (0x5421, 0x541B, 7)), Check(0, WORD, (3, 4)))),
            Allow("ioctl", (Check(1, WORD, (9,)),)),
            Allow("read"),
        ],
        machine,
    )
    for request in (0x5421, 0x541B, 7, 8, 9):
        for fd in (2, 3, 4, 5):
            holds = (request in {0x5421, 0x541B, 7} and fd in {3, 4}) or request == 9
            assert answer(made, machine, "ioctl", fd, request) == (ALLOW if holds else KILL), (request, fd)
    assert answer(made, machine, "read") == ALLOW


@ON
def test_a_word_is_compared_as_the_kernel_reads_it(machine: Machine) -> None:
    """An `int` argument: what stands above its 32 bits neither opens nor closes the door."""
    made = program([Allow("prctl", (Check(0, WORD, (15,)),))], machine)
    assert answer(made, machine, "prctl", 15 | 0xABCD << 32) == ALLOW
    assert answer(made, machine, "prctl", 16) == KILL


@ON
def test_a_refusal_is_an_errno_and_the_default_may_be_one(machine: Machine) -> None:
    """Calls that programs try and do without get an error; everything else keeps the default."""
    made = program(allow("clone"), machine, refused={"clone3": errno.ENOSYS})
    assert answer(made, machine, "clone3") == 0x0005_0000 | errno.ENOSYS
    assert answer(made, machine, "read") == KILL
    pretended = program(allow("read"), machine, ignored=("fchmod",), otherwise=errno.EPERM)
    assert answer(pretended, machine, "fchmod") == 0x0005_0000  # errno 0: done, says the kernel, and does nothing
    lenient = program(allow("read"), machine, otherwise=errno.EPERM)
    assert answer(lenient, machine, "ptrace") == 0x0005_0000 | errno.EPERM
    assert evaluate(lenient, 0x4000_0003, machine.numbers["read"]) == KILL


def test_what_a_machine_lacks_is_left_out_and_what_none_has_is_a_mistake() -> None:
    """`open` is x86-64's only; a misspelt name never passes for one that is allowed."""
    assert program(allow("open"), MACHINES["aarch64"]) == program((), MACHINES["aarch64"])
    with pytest.raises(ValueError, match="opne"):
        program(allow("opne"), MACHINES["aarch64"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Check(6, WORD, (0,)),
        lambda: Check(0, WORD, ()),
        lambda: Check(0, 1, (2,)),
        lambda: program((), MACHINES["x86_64"], otherwise=0),
        lambda: program((), MACHINES["x86_64"], refused={"read": 4096}),
        lambda: program([Allow("read", (Check(0, WORD, tuple(range(64))),))], MACHINES["x86_64"]),
    ],
)
def test_what_could_not_hold_is_refused(make: object) -> None:
    """A check that never holds, an errno that is none, a jump that does not reach: an error, never a wrong filter."""
    assert callable(make)
    with pytest.raises(ValueError, match=r"."):
        make()


def test_the_tables_are_the_kernel_s() -> None:
    """Numbers that differ between the machines, as their manuals give them, and no number twice."""
    known = {"read": (0, 63), "openat": (257, 56), "execve": (59, 221), "clone3": (435, 435), "mmap": (9, 222)}
    tables = [machine.numbers for machine in MACHINES.values()]
    assert {name: tuple(numbers[name] for numbers in tables) for name in known} == known
    assert all(len(set(numbers.values())) == len(numbers) for numbers in tables)


_BOUND = """
import ctypes, os, sys, threading
from gateway.workers.seccomp import allow, install, program
from gateway.workers.syscalls import here
go, gone = threading.Event(), threading.Event()
threading.Thread(target=lambda: (go.wait(), os.getppid(), gone.set()), daemon=True).start()
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
install(program(allow("read", "write", "futex", "exit_group", "exit", "munmap", "rt_sigaction", "rt_sigprocmask",
                      "brk", "mmap", "madvise", "getpid", "lseek", "fstat", "close"), here()))
os.write(1, b"bound ")
if sys.argv[1] == "own": os.getppid()
if sys.argv[1] == "thread": go.set(); gone.wait(5)
os.write(1, b"free")
os._exit(0)
"""


@pytest.mark.parametrize(
    ("who", "said", "status"),
    [("nobody", b"bound free", 0), ("own", b"bound ", -signal.SIGSYS), ("thread", b"bound ", -signal.SIGSYS)],
)
def test_the_kernel_holds_every_thread_to_it(who: str, said: bytes, status: int) -> None:
    """A call that is not named ends the process, from a thread too that was there before."""
    done = subprocess.run([sys.executable, "-c", _BOUND, who], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (said, status), done.stderr
