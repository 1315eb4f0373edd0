"""Whoever takes a worker over asks the kernel in vain: each role, each call, the same end, and the pool serves on."""

import dataclasses
import fcntl
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from engine.constraints import ExecutionConstraints
from gateway.errors import HookRefusedError, SandboxError, WorkerError
from gateway.policy.bundle import Bundle
from gateway.policy.calls import WORKER as POLICY
from gateway.policy.pool import WorkerPolicy
from gateway.policy.vetting import Module
from gateway.sandbox import compile as compiling
from gateway.sandbox.calls import JAIL, WORKER
from gateway.sandbox.compile import MAGIC, compile_module
from gateway.sandbox.jail import compile_here
from gateway.sandbox.pool import PooledSandbox
from gateway.workers import landlock
from gateway.workers.calls import Calls
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.seccomp import allow
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote
from gateway.workers.syscalls import MACHINES
from tests.adversarial.hostile_calls import attack
from tests.depth import IS_FUZZ
from tests.unit.gateway.sandbox.modules import ECHO, PAGE
from tests.worker_calls import REAL

ON_ITS_LOOP = pytest.mark.asyncio(loop_scope="module")  # the zygote's
PLENTY = ExecutionConstraints(wall_ms_max=5_000, fuel_max=10**9, memory_bytes_max=16 * PAGE)
BUNDLE = Bundle.build(
    manifest={"revision": "calm", "roots": ["gateway"]},
    data={},
    modules=[
        Module(
            "s.rego", 'package gateway.step\n\nimport rego.v1\n\ndecision := {"allow": true, "reasons": []} if input'
        )
    ],
)
GATEWAY: Final = os.getpid()
AF_UNIX, AF_INET, STREAM = 1, 2, 1
RW, RX, RWX, PRIVATE_ANONYMOUS = 3, 5, 7, 0x22
SIGCHLD = 17
EIGHT_BYTES: Final = "#" + "00" * 8 + "08" + "00" * 7  # struct iovec

ATTACKS: Final[dict[str, tuple[Any, ...]]] = {
    "open a file": ("openat", -100, "/etc/passwd", 0, 0),
    "open a file, the newer way": ("openat2", -100, "/etc/passwd", "#" + "00" * 24, 24),
    "open its own memory": ("openat", -100, "/proc/self/mem", 2, 0),
    "make a file in memory": ("memfd_create", "x", 0),
    "write to its own socket's neighbour": ("write", 1, "x", 1),
    "read a descriptor": ("read", 0, "@page", 1),
    "duplicate a descriptor": ("dup", 0),
    "open a socket": ("socket", AF_INET, STREAM, 0),
    "open a local socket": ("socket", AF_UNIX, STREAM, 0),
    "make a pair of sockets": ("socketpair", AF_UNIX, STREAM, 0, "@page"),
    "connect": ("connect", 3, "#0200005001010101" + "00" * 8, 16),
    "bind": ("bind", 3, "#0200000000000000" + "00" * 8, 16),
    "accept": ("accept4", 3, 0, 0, 0),
    "send a descriptor": ("sendmsg", 3, "@page", 0),
    "send to an address": ("sendto", 3, "x", 1, 0, "#0100", 2),
    "send out of band": ("sendto", 3, "x", 1, 1, 0, 0),
    "receive out of band": ("recvfrom", 3, "@page", 1, 1, 0, 0),
    "peek": ("recvfrom", 3, "@page", 1, 2, 0, 0),
    "execute": ("execve", "/bin/true", 0, 0),
    "execute by descriptor": ("execveat", -100, "/bin/true", 0, 0, 0),
    "fork": ("clone", SIGCHLD, 0, 0, 0, 0),
    "fork into a namespace": ("clone", 0x1000_0000 | SIGCHLD, 0, 0, 0, 0),
    "start a thread with more": ("clone", 0x3D_0F00 | 0x1000_0000, 0, 0, 0, 0),
    "be traced": ("ptrace", 0, 0, 0, 0),
    "trace the gateway": ("ptrace", 16, GATEWAY, 0, 0),
    "kill the gateway": ("kill", GATEWAY, 0),
    "signal every process": ("kill", -1, 0),
    "signal a thread": ("tgkill", GATEWAY, GATEWAY, 0),
    "queue a signal": ("rt_sigqueueinfo", GATEWAY, SIGCHLD, "@page"),
    "hold a process": ("pidfd_open", GATEWAY, 0),
    "signal by descriptor": ("pidfd_send_signal", 3, 0, 0, 0),
    "take a descriptor": ("pidfd_getfd", 3, 0, 0),
    "read another's memory": ("process_vm_readv", GATEWAY, EIGHT_BYTES, 1, EIGHT_BYTES, 1, 0),
    "write another's memory": ("process_vm_writev", GATEWAY, EIGHT_BYTES, 1, EIGHT_BYTES, 1, 0),
    "map writable code": ("mmap", 0, 4096, RWX, PRIVATE_ANONYMOUS, -1, 0),
    "map memory that outlives its mapping": ("mmap", 0, 4096, 3, 0x21, -1, 0),
    "map code": ("mmap", 0, 4096, RX, PRIVATE_ANONYMOUS, -1, 0),
    "make data writable code": ("mprotect", "@page", 4096, RWX),
    "make data code only": ("mprotect", "@page", 4096, 4),
    "make data code, with a key": ("pkey_mprotect", "@page", 4096, RX, -1),
    "map shared memory": ("shmget", 0, 4096, 0o600),
    "let reading imply executing": ("personality", 0x040_0000),
    "submit by ring": ("io_uring_setup", 8, "#" + "00" * 120),
    "load a kernel program": ("bpf", 5, "#" + "00" * 64, 64),
    "leave its namespaces": ("unshare", 0x1000_0000),
    "enter a namespace": ("setns", 3, 0),
    "mount": ("mount", "none", "/mnt", "tmpfs", 0, 0),
    "change its root": ("chroot", "/"),
    "handle page faults": ("userfaultfd", 0),
    "watch performance": ("perf_event_open", "#" + "00" * 112, 0, -1, -1, 0),
    "raise its limits": ("prlimit64", 0, 7, "#" + "ff" * 16, 0),
    "limit the gateway": ("prlimit64", GATEWAY, 7, "#" + "00" * 16, 0),
    "change what it is": ("prctl", 4, 1, 0, 0, 0),
    "become another user": ("setuid", 1),
    "take capabilities": ("capset", "@page", "@page"),
    "ask for keys": ("keyctl", 0, -3, 0, 0, 0),
    "control a device": ("ioctl", 2, 0x5412, "x"),
    "call for a module": ("init_module", "@page", 0, ""),
    "set the clock": ("clock_settime", 0, "@page"),
    "make a timer": ("timer_create", 1, 0, "@page"),
    "filter anew": ("seccomp", 1, 0, "@page"),
    "poll": ("epoll_create1", 0),
    "sleep": ("clock_nanosleep", 1, 0, "#" + "00" * 16, 0),
}
MAPS_CODE: Final = ("mprotect", "@page", 4096, RX)
# What roles may call with other arguments.
BY_ARGUMENT: Final = {"clone", "mmap", "mprotect", "write", "sendto", "recvfrom"}


def dealt(part: int) -> dict[str, tuple[Any, ...]]:
    """Return the attacks on one of three roles: all; in `make test` a third of those that no role's list names.

    That no list does is a test of its own.
    """
    third = {
        what: call
        for n, (what, call) in enumerate(ATTACKS.items())
        if IS_FUZZ or n % 3 == part or call[0] in BY_ARGUMENT
    }
    assert len(third) > len(ATTACKS) // 3
    return third


@pytest.fixture(autouse=True)
def _last_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway.workers.pool")


def deaths(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the last words of every worker that crashed since the last time; "" is that of one that was killed."""
    found = [re.search(r": crashed (.*)$", record.getMessage()) for record in caplog.records]
    caplog.clear()
    return [match[1] for match in found if match]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    """Start one for all: whatever becomes of a worker, the next is forked from the same zygote."""
    zygote = await Zygote.start(("tests.adversarial.hostile_sandbox",))
    yield zygote
    await zygote.close()


def taken_over(patch: pytest.MonkeyPatch, module: str, entry: str) -> None:
    """Make the real spec of a role, its limits and calls included, with the attacker's entry."""
    patch.setattr(f"{module}.WorkerSpec", lambda **real: WorkerSpec(**{**real, "entry": entry}))


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(zygote: Zygote, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PooledSandbox]:
    taken_over(monkeypatch, "gateway.sandbox.pool", "tests.adversarial.hostile_sandbox:worker")
    sandbox = PooledSandbox(zygote, {"echo": compile_here(ECHO)}, 1)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@ON_ITS_LOOP
async def test_a_sandbox_worker_is_ended_at_each_call(sandbox: PooledSandbox, caplog: pytest.LogCaptureFixture) -> None:
    """`sandbox.crashed`, after its repetitions; no errno for the attacker to go on with; the next run is answered."""
    for what, call in {**dealt(0), "make data code": MAPS_CODE}.items():
        with pytest.raises(SandboxError) as caught:
            await sandbox.run("echo", attack(*call), PLENTY)
        assert caught.value.code == "sandbox.crashed", what
        assert deaths(caplog) == ["", "", ""], what
        assert (await sandbox.run("echo", b"x", PLENTY)).output == b"x"


@ON_ITS_LOOP
async def test_no_thread_of_a_sandbox_worker_is_free(sandbox: PooledSandbox, caplog: pytest.LogCaptureFixture) -> None:
    """A thread that the attacker starts, which he may, is bound as the one that starts it; clone3 is not there."""
    for call in (ATTACKS["open a file"], ATTACKS["execute"], ATTACKS["make data writable code"]):
        with pytest.raises(SandboxError):
            await sandbox.run("echo", attack(*call, thread=True), PLENTY)
        assert deaths(caplog) == ["", "", ""]
        assert (await sandbox.run("echo", b"x", PLENTY)).output == b"x"
    with pytest.raises(SandboxError):
        await sandbox.run("echo", attack("clone3", "#" + "00" * 88, 88), PLENTY)
    assert all("Errno 38" in words for words in deaths(caplog))


@ON_ITS_LOOP
async def test_a_compiler_s_jail_is_ended_at_each_call(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The module is refused as one that takes too much; the next one compiles."""
    hostile = dataclasses.replace(compiling._SPEC, entry="tests.adversarial.hostile_sandbox:jail")
    monkeypatch.setattr("gateway.sandbox.compile._SPEC", hostile)
    for what, call in {**dealt(1), "start a thread": ("clone", 0x3D_0F00, 0, 0, 0, 0)}.items():
        with pytest.raises(HookRefusedError) as caught:
            await compile_module(zygote, MAGIC + attack(*call))
        assert caught.value.code == "hook.compile_exceeded", what
        assert deaths(caplog) == [""], what
    assert (await compile_module(zygote, ECHO)).code


@ON_ITS_LOOP
async def test_a_policy_worker_is_ended_at_each_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is no, with the code of a crash; the next decision is made."""
    taken_over(monkeypatch, "gateway.policy.pool", "tests.adversarial.hostile_policy:worker")
    zygote = await Zygote.start(("tests.adversarial.hostile_policy",))
    policy = WorkerPolicy(zygote, BUNDLE)
    await policy.start()
    attacks = {**dealt(2), "make data code": MAPS_CODE, "start a thread": ("clone", 0x3D_0F00, 0, 0, 0, 0)}
    for what, call in attacks.items():
        decision = await policy.decide("step", attack(*call))
        assert not decision.allow
        assert [reason.code for reason in decision.reasons] == ["policy.crashed"], what
        assert deaths(caplog) == [""], what
        assert (await policy.decide("step", b"{}")).allow
    await policy.close()
    await zygote.close()


@pytest.mark.parametrize("entry", ["hostile_sandbox:worker", "hostile_sandbox:jail", "hostile_policy:worker"])
@ON_ITS_LOOP
async def test_the_attacker_s_way_works_where_the_list_lets_it(zygote: Zygote, entry: str) -> None:
    """The control of the tests above: it is the call that ends a worker, and not the attempt to make one."""
    config = {"hostile_sandbox:worker": b"[]", "hostile_policy:worker": BUNDLE.packed}.get(entry, b"")
    fd = os.memfd_create("none", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0b1111)
    spec = WorkerSpec(
        entry=f"tests.adversarial.{entry}",
        config=config,
        fds=(fd,) if entry == "hostile_sandbox:worker" else (),
        limits=ResourceLimits(address_space_bytes_max=1 << 30),
        calls=WORKER + JAIL,
    )
    pool = WorkerPool(zygote, spec, 1)
    await pool.start()
    pid = pool.pids[0]
    assert await pool.call(attack("getpid"), deadline_ms=5_000) == b"it worked: %d" % pid
    assert (await pool.call(attack(*MAPS_CODE), deadline_ms=5_000)) == b"it worked: 0"
    await pool.close()
    os.close(fd)


def test_every_call_that_no_role_needs_is_refused() -> None:
    """What the lists name is all: of 370 calls, under forty."""
    for calls in (WORKER, JAIL, POLICY):
        names = {one.name for one in calls.allowed}
        assert len(names) < 40
        assert not names & ({call[0] for call in ATTACKS.values()} - BY_ARGUMENT)
        assert names <= {name for machine in MACHINES.values() for name in machine.numbers}


FILTERED_LATER = REAL + Calls(
    allow("openat", "socket", "connect", "bind", "kill", "execve", "ptrace", "mount", "process_vm_readv", "setuid")
)


@pytest_asyncio.fixture(loop_scope="module")
async def unfiltered(zygote: Zygote) -> AsyncIterator[Callable[[bytes], Any]]:
    """Call a worker whose filter lets the attack pass: the other layers have to hold it."""
    spec = WorkerSpec(
        entry="tests.adversarial.hostile_sandbox:jail",
        limits=ResourceLimits(address_space_bytes_max=1 << 30),
        calls=FILTERED_LATER,
    )
    pool = WorkerPool(zygote, spec, 1)
    await pool.start()
    yield partial(pool.call, deadline_ms=5_000)
    await pool.close()


@pytest.mark.parametrize(
    ("call", "errno", "abi"),
    [
        (("openat", -100, "/etc/passwd", 0, 0), 13, 1),
        (("openat", -100, "/proc/self/mem", 2, 0), 13, 1),
        (("openat", -100, "/dev/null", 1, 0), 13, 1),
        (("execve", "/bin/true", 0, 0), 13, 1),
        (("mount", "none", "/mnt", "tmpfs", 0, 0), 1, 1),
        (("setuid", 1), 1, 1),
        (("ptrace", 16, GATEWAY, 0, 0), 1, 1),
        (("process_vm_readv", GATEWAY, EIGHT_BYTES, 1, EIGHT_BYTES, 1, 0), 1, 1),
        (("kill", GATEWAY, 0), 1, 6),
    ],
)
@ON_ITS_LOOP
async def test_without_the_filter_landlock_and_the_loss_of_capabilities_hold(
    unfiltered: Callable[[bytes], Any], call: tuple[Any, ...], errno: int, abi: int
) -> None:
    """Each layer stands by itself: files, programs, other processes and mounts are refused where no filter is."""
    if landlock.abi() < abi or (call[0] == "setuid" and os.getuid() != 0):
        pytest.skip("this kernel's Landlock is older, or there is no right to lose")
    with pytest.raises(WorkerError) as caught:
        await unfiltered(attack(*call))
    assert f"[Errno {errno}]" in caught.value.message


@pytest.mark.skipif(landlock.abi() < 4, reason="this kernel's Landlock has no rules of TCP")
@ON_ITS_LOOP
async def test_without_the_filter_landlock_denies_tcp(unfiltered: Callable[[bytes], Any]) -> None:
    """A listener on loopback is there, and stays out of reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = struct.pack("!BBH4s8x", AF_INET, 0, server.getsockname()[1], b"\x7f\0\0\1").hex()
        opened = await unfiltered(attack("socket", AF_INET, STREAM, 0))
        fd = int(opened.rpartition(b" ")[2])
        with pytest.raises(WorkerError) as caught:
            await unfiltered(attack("connect", fd, f"#{address}", 16))
    assert "[Errno 13]" in caught.value.message


@ON_ITS_LOOP
async def test_the_kernel_says_that_it_holds_them(sandbox: PooledSandbox, zygote: Zygote) -> None:
    """Of a real worker, in each of its threads: a filter, no_new_privs, no capability in any set."""
    await sandbox.run("echo", b"x", PLENTY)
    threads = list(Path(f"/proc/{sandbox.pids[0]}/task").iterdir())  # noqa: ASYNC240 - a look at /proc
    assert len(threads) > 1  # the C library's timer thread is one
    for thread in threads:
        lines = (thread / "status").read_text(encoding="ascii").splitlines()
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert os.getuid() != 0 or int(status["CapBnd"], 16) == 0
    assert zygote.pid
