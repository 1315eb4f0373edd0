"""The filter of a command, instruction by instruction: what it lets through, and what it never does."""

import errno

import pytest

from gateway.effects.commands.filter import command_filter
from gateway.workers.syscalls import MACHINES, Machine
from tests.unit.gateway.workers.bpf import evaluate

ALLOW, KILL, ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
EVERY = [pytest.param(machine, id=machine.name) for machine in MACHINES.values()]
NEVER = (
    *("accept", "accept4", "bind", "connect", "listen", "setsockopt", "sendmmsg", "recvmmsg"),
    *("setsid", "setpgid", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "fsopen", "open_tree", "mount_setattr"),
    *("unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "io_uring_enter", "io_uring_register"),
    *("keyctl", "add_key", "request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module"),
    *("setuid", "setgid", "setresuid", "setgroups", "capset", "personality", "quotactl", "reboot", "swapon", "syslog"),
    *("name_to_handle_at", "open_by_handle_at", "fanotify_init", "inotify_init1", "inotify_add_watch", "mknodat"),
    *("shmget", "msgget", "semget", "mq_open", "memfd_secret", "clock_settime", "settimeofday", "sethostname"),
    *("fchown", "fchownat", "removexattr", "mlock", "mlockall", "migrate_pages", "move_pages", "sched_setscheduler"),
    *("setpriority", "ioprio_set", "acct", "vhangup", "seccomp", "landlock_restrict_self", "sync", "syncfs", "mincore"),
)
IGNORED = ("fchmod", "fchmodat", "fchmodat2", "utimensat")


def answer(program: bytes, machine: Machine, name: str | int, *arguments: int, arch: int | None = None) -> int:
    """Run a filter over one call, by its name or its number."""
    number = machine.numbers[name] if isinstance(name, str) else name
    return evaluate(program, machine.audit_arch if arch is None else arch, number, *arguments)


@pytest.mark.parametrize("machine", EVERY)
@pytest.mark.parametrize("forks", [False, True])
def test_sharp_tools_are_never_allowed(machine: Machine, *, forks: bool) -> None:
    """None of them, with any of a few arguments."""
    program = command_filter(machine, forks=forks)
    for name in NEVER:
        for argument in (0, 1, 2, 0xFFFF_FFFF_FFFF_FFFF):
            assert answer(program, machine, name, *[argument] * 6) == ERRNO | errno.EPERM, name


@pytest.mark.parametrize("machine", EVERY)
def test_every_call_of_the_table_has_an_answer_that_was_meant(machine: Machine) -> None:
    """An error or a permission; another machine's calls end the process."""
    program = command_filter(machine, forks=True)
    for name in machine.numbers:
        said = answer(program, machine, name)
        assert said == ALLOW or said & 0xFFFF_0000 == ERRNO, name
    assert answer(program, machine, "read", arch=0x4000_0003) == KILL
    assert answer(program, machine, 0x4000_0000) == KILL
    assert answer(program, machine, 5_000) == ERRNO | errno.EPERM


@pytest.mark.parametrize("machine", EVERY)
def test_modes_and_times_are_answered_and_not_set(machine: Machine) -> None:
    """Success, without the kernel being asked."""
    program = command_filter(machine, forks=True)
    assert {answer(program, machine, name) for name in IGNORED} == {ERRNO}


@pytest.mark.parametrize("machine", EVERY)
def test_a_thread_is_no_process(machine: Machine) -> None:
    """Without forks clone makes threads only; with them it makes no namespace, whatever else is asked."""
    alone, forking = (command_filter(machine, forks=forks) for forks in (False, True))
    thread, child = 0x003D_0F00, 0x11
    assert answer(alone, machine, "clone", thread) == answer(forking, machine, "clone", child) == ALLOW
    assert answer(alone, machine, "clone", child) == ERRNO | errno.EPERM
    for bit in (0x80, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000):
        for flags in (thread | bit, child | bit):
            assert answer(alone, machine, "clone", flags) == ERRNO | errno.EPERM
            assert answer(forking, machine, "clone", flags) == ERRNO | errno.EPERM
    for program in (alone, forking):
        assert answer(program, machine, "clone3") == ERRNO | errno.ENOSYS
    for name in {"fork", "vfork"} & machine.numbers.keys():
        assert answer(alone, machine, name) == ERRNO | errno.EPERM
        assert answer(forking, machine, name) == ALLOW


@pytest.mark.parametrize("machine", EVERY)
def test_arguments_are_looked_at(machine: Machine) -> None:
    """Streams only, oneself only, limits read only, the harmless part of prctl, ioctl and fcntl."""
    program = command_filter(machine, forks=True)
    pair = [(1, 1), (1, 0x80801), (1, 2), (1, 5), (2, 1)]
    assert [answer(program, machine, "socketpair", *kind) == ALLOW for kind in pair] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert answer(program, machine, "prlimit64", 0, 7, 0, 1) == ALLOW
    assert answer(program, machine, "prlimit64", 0, 7, 1, 0) != ALLOW
    assert answer(program, machine, "prlimit64", 9, 7, 0, 1) != ALLOW
    assert answer(program, machine, "sched_setaffinity", 9) != ALLOW
    assert [answer(program, machine, "prctl", option) == ALLOW for option in (15, 1, 22, 28, 36)] == [True] + [
        False
    ] * 4
    assert [answer(program, machine, "ioctl", 0, request) == ALLOW for request in (0x5401, 0x5412, 0x4004_6602)] == [
        True, False, False,
    ]  # fmt: skip
    assert [answer(program, machine, "fcntl", 0, command) == ALLOW for command in (3, 8, 1024, 1026, 1033)] == [
        True, False, False, False, False,
    ]  # fmt: skip
