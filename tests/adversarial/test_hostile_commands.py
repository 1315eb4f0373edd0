"""A program that an attacker controls, held: an interpreter that policy opens, and that does whatever it is told.

Each attack is Python that a command runs. It prints `held` where the kernel stopped it, and whatever it got otherwise.
"""

import asyncio
import hashlib
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from engine.values import JsonObject
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.workspace import WorkspaceLimits
from gateway.errors import EffectError
from gateway.workers.supervisor import Zygote
from tests.commands import PRELOAD, World, absent, program, python, world
from tests.gateways import alive
from tests.payload_keys import KEY

MARK = f"missiongate-hostile-{os.getpid()}"  # of this run of the tests alone


pytestmark = pytest.mark.asyncio(loop_scope="module")  # the zygote's


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    """Start one for all: whatever a program does, the next is started by the same zygote."""
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


@pytest_asyncio.fixture(loop_scope="module")
async def held(tmp_path: Path, zygote: Zygote) -> AsyncIterator[World]:
    async with world(tmp_path, shared=zygote) as opened:
        yield opened


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a file of the gateway's own user beside the workspaces, which nothing but Landlock shuts off."""
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text("kept outside")
    secret.chmod(0o600)
    return secret


def descendants() -> list[int]:
    """Return the live processes whose command line has the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if MARK.encode() in (folder / "cmdline").read_bytes() and alive(int(folder.name)):
                found.append(int(folder.name))
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def text_of(path: Path) -> str:
    return path.read_text()


def status(path: Path) -> os.stat_result:
    return path.stat()


def exited(outcome: JsonObject) -> str:
    """Return what a command wrote that came to its end by itself."""
    assert (outcome["ended"], outcome["exit_code"]) == ("exited", 0), outcome
    return str(outcome["stdout"])


ATTEMPT = """
import os, sys
def attempt(act):
    try:
        print("got", act())
    except (OSError, MemoryError) as error:
        print("held" if isinstance(error, OSError) and error.errno in {1, 13, 38, 95} else error)
    except ValueError as error:  # how Python tells of a limit that cannot be raised
        print("held" if "not allowed to raise" in str(error) else error)
"""

READS = {
    "the file outside": "open({path!r}).read()",
    "its folder": "os.listdir(os.path.dirname({path!r}))",
    "the file by a relative path": "open(os.path.relpath({path!r})).read()",
    "passwords": "open('/etc/shadow').read()",
    "users": "open('/etc/passwd').read()",
    "the environment of the worker": "open('/proc/%d/environ' % os.getppid(), 'rb').read()",
    "its own environment by /proc": "open('/proc/self/environ', 'rb').read()",
    "the memory of the worker": "open('/proc/%d/mem' % os.getppid(), 'rb').read(1)",
    "the root": "os.listdir('/')",
    "the other workspaces": "os.listdir('..')",
    "the kernel's log": "os.open('/dev/kmsg', os.O_RDONLY)",
    "the terminal": "os.open('/dev/tty', os.O_RDWR)",
    "the disk": "os.open('/dev/vda', os.O_RDONLY) if os.path.exists('/dev/vda') else os.open('/dev/sda', os.O_RDONLY) "
    "if os.path.exists('/dev/sda') else os.open('/dev/kmsg', os.O_RDONLY)",
}
WRITES = {
    "over the file outside": "open({path!r}, 'w').write('owned')",
    "its end": "os.truncate({path!r}, 0)",
    "beside it": "open({path!r} + '.new', 'w')",
    "a folder beside it": "os.mkdir({path!r} + '.d')",
    "a link to it, in place of it": "os.symlink('/etc/passwd', {path!r} + '.l')",
    "a second name of it": "os.link({path!r}, 'mine')",
    "its name": "os.rename({path!r}, 'mine')",
    "its end as a file": "os.unlink({path!r})",
    "shared memory": "open('/dev/shm/x', 'w')",
    "a temporary file": "open('/tmp/x', 'w')",
    "a device": "os.mknod('null', 0o600 | 0o020000, os.makedev(1, 3))",
    "a FIFO": "os.mkfifo('fifo')",
}
CALLS = {
    "a socket, TCP": "__import__('socket').create_connection(('127.0.0.1', {port}), 1)",
    "a socket, UDP": "__import__('socket').socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
    "a socket, raw": "__import__('socket').socket(17, 3)",
    "a socket, netlink": "__import__('socket').socket(16, 3)",
    "a socket, by path": "__import__('socket').socket(1, 1).connect({unix!r})",
    "a socket, abstract": "__import__('socket').socket(1, 1).connect('\\0missiongate-test')",
    "a pair of datagram sockets": "__import__('socket').socketpair(1, 2)",
    "the parent, traced": "ptrace(16, os.getppid())",
    "the parent, ended": "os.kill(os.getppid(), 9)",
    "the gateway, ended": "os.kill({pid}, 9)",
    "the gateway, by a handle": "signal.pidfd_send_signal(os.pidfd_open({pid}), 9)",
    "the gateway, pinned to one processor": "os.sched_setaffinity({pid}, {{0}})",
    "the gateway, slowed": "os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
    "everybody, ended": "os.kill(-1, 0) or 'a signal reached its own processes only'",
    "a session": "os.setsid()",
    "a process group": "os.setpgid(0, 0)",
    "a user": "os.setuid(65534)",
    "a group": "os.setgid(65534)",
    "an owner": "os.chown('.', 65534, 65534)",
    "a root": "os.chroot('.')",
    "a fork": "os.fork()",
    "memory that is a file": "os.memfd_create('x')",
    "namespaces": "call(272, 0x10000000)",
    "a mount": "call(165, b'none', b'.', b'tmpfs', 0, 0)",
    "bpf": "call(321, 0, 0, 0)",
    "io_uring": "call(425, 1, 0)",
    "userfaultfd": "call(323, 0)",
    "perf events": "call(298, 0, 0, -1, -1, 0)",
    "keys": "call(250, 0, -3, 0)",
    "a kernel": "call(246, 0, 0, 0, 0)",
    "a module": "call(175, 0, 0, b'')",
    "another's descriptor": "call(438, os.pidfd_open(os.getppid()), 0, 0)",
    "another's memory": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "the clock": "__import__('time').clock_settime(0, 0)",
    "the name of the machine": "__import__('socket').sethostname('owned')",
    "the other numbers of system calls": "call(0x40000000 + 39)",
    "a hardware personality": "call(135, 8)",
    "watches": "call(294, 0)",
    "higher limits": "__import__('resource').setrlimit(7, (4096, 4096))",
}
LIBC = """
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if libc.syscall(ctypes.c_long(number), *args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return number
def ptrace(request, pid):
    return call(101, request, pid, 0, 0)
"""


@pytest.mark.parametrize("name", sorted(READS))
async def test_nothing_outside_is_read(held: World, outside: Path, name: str) -> None:
    """Files of the gateway, of the machine and of other processes stay shut, whoever the user is."""
    text = ATTEMPT + f"attempt(lambda: {READS[name].format(path=str(outside))})"
    assert exited(await held.script(text)) == "held\n"


@pytest.mark.parametrize("name", sorted(WRITES))
async def test_nothing_outside_is_written(held: World, outside: Path, name: str) -> None:
    """And no name in the workspace becomes one of something else."""
    before = names(outside.parent)
    text = ATTEMPT + f"attempt(lambda: {WRITES[name].format(path=str(outside))})"
    said = exited(await held.script(text))
    assert said == "held\n" or (name in {"a second name of it", "its name"} and "cross-device" in said)
    assert names(outside.parent) == before
    assert text_of(outside) == "kept outside"


async def test_modes_and_times_outside_stay(held: World, outside: Path) -> None:
    """Landlock does not look at chmod and utime; the filter answers them, and nothing is done, inside nor outside."""
    before = status(outside)
    text = f"""
import os
for path in ({str(outside)!r}, "."):
    os.chmod(path, 0o6777)
    os.utime(path, (1, 1))
print(oct(os.stat({str(outside)!r}).st_mode & 0o7777))
"""
    assert exited(await held.script(text)) == "0o600\n"
    after = status(outside)
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert stat.S_IMODE(status(held.workspace.path).st_mode) == 0o700


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Listen as the machine's services do; yield where."""
    with ExitStack() as opened:
        tcp = opened.enter_context(socket.socket())
        tcp.bind(("127.0.0.1", 0))
        udp = opened.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        unix = opened.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "service"))
        abstract = opened.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind("\0missiongate-test")
        for listening in (tcp, unix, abstract):
            listening.listen()
        yield {"port": tcp.getsockname()[1], "unix": str(tmp_path / "service"), "pid": os.getpid()}


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_no_call_reaches_the_machine(held: World, listeners: dict[str, object], name: str) -> None:
    """Network, other processes, privileges and the kernel's sharper tools: each is refused, and the gateway lives."""
    if os.uname().machine != "x86_64" and "call(" in CALLS[name]:
        pytest.skip("the numbers are those of x86-64")
    said = await held.script(ATTEMPT + LIBC + f"attempt(lambda: {CALLS[name].format(**listeners)})")
    if name == "the other numbers of system calls":
        assert (said["ended"], said["signal"]) == ("signalled", "SIGSYS")
        return
    assert exited(said) in {"held\n", "got a signal reached its own processes only\n"}


async def test_it_inherits_nothing(held: World) -> None:
    """No descriptor but three, no variable, no capability, no privilege to gain, and nobody above to ask."""
    text = """
import ctypes, os
libc = ctypes.CDLL(None)
held = []
for fd in range(1024):
    try:
        os.fstat(fd)
        held.append(fd)
    except OSError:
        pass
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
libc.capget(header, sets)
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
print(held, list(sets), libc.prctl(39, 0, 0, 0, 0))
print([name for name in os.environ if name != "LC_CTYPE"])
"""
    assert exited(await held.script(text)) == "[0, 1, 2] [0, 0, 0, 0, 0, 0] 1\n[]\n"


@pytest.mark.parametrize("name", ["id", "sh"])
async def test_no_other_program_is_executed(held: World, name: str) -> None:
    """Neither one of the machine's, nor one that was written into the workspace, nor a set-id one."""
    path = shutil.which(name) or absent(f"{name} is not installed")
    text = (
        ATTEMPT
        + f"""
import shutil
with open("own", "wb") as copy:
    copy.write(open(sys.executable, "rb").read() if os.access(sys.executable, os.R_OK) else b"")
attempt(lambda: os.execv({path!r}, [{path!r}]))
attempt(lambda: os.execv("./own", ["own"]))
attempt(lambda: os.execv("/usr/bin/su", ["su"]))
"""
    )
    assert exited(await held.script(text)) == "held\nheld\nheld\n"


async def test_a_set_id_program_is_no_command(tmp_path: Path, zygote: Zygote) -> None:
    """Policy cannot open one, were it named there."""
    suid = tmp_path / "suid"
    shutil.copy("/bin/true", suid)
    suid.chmod(0o4755)
    async with world(tmp_path, {"su": {"executable": str(suid)}}, shared=zygote) as opened:
        with pytest.raises(EffectError) as refused:
            await opened.perform("su")
    assert (refused.value.code, refused.value.in_doubt) == ("effect.command_failed", False)


DAEMONS = {
    "a daemon": """
import os, sys, time
if os.fork() == 0:
    try:
        os.setsid()
    except OSError:
        pass
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(600)
    os._exit(0)
time.sleep(0.2)
""",
    "a child that holds the streams": "import os, time\nif os.fork() == 0:\n    time.sleep(600)\n",
    "one that ignores every signal": """
import os, signal, time
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    time.sleep(600)
""",
    "one that is stopped": "import os, signal\nif os.fork() == 0:\n    os.kill(os.getpid(), signal.SIGSTOP)\n",
    "one that another thread has forked": """
import os, threading, time
def fork():
    if os.fork() == 0:
        time.sleep(600)
t = threading.Thread(target=fork); t.start(); t.join()
""",
}


@pytest.mark.parametrize("name", sorted(DAEMONS))
async def test_nobody_survives_the_end(held: World, name: str) -> None:
    """When the outcome is there, every process of the command is gone, wherever it went."""
    outcome = await held.perform("forking", MARK, stdin=DAEMONS[name])
    assert (outcome["ended"], outcome["exit_code"]) == ("exited", 0), outcome
    assert descendants() == []


THREADS = """
import threading, time
threading.stack_size(65536)
while True:
    threading.Thread(target=time.sleep, args=(60,)).start()
"""
BOMBS = {
    "forks": ("processes", "import os\nwhile True:\n    os.fork()\n"),
    "forks that daemonize": (
        "processes",
        "import os\nwhile True:\n    if os.fork() == 0 and os.fork():\n        os._exit(0)\n",
    ),
    "threads": ("processes", THREADS),
    "files": ("disk", "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').write(bytes(1 << 20))\n"),
    "names": ("disk", "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').close()\n"),
    "folders": ("disk", "import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')\n"),
    "a loop": ("cpu", "while True:\n    pass\n"),
    "a loop that ignores SIGXCPU": (
        "cpu",
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass\n",
    ),
    "sleep": ("timeout", "import time\ntime.sleep(600)\n"),
    "sleep that ignores SIGTERM": (
        "timeout",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n",
    ),
    "memory of many": (
        "memory",
        "import os, time\nos.fork(); os.fork()\nheld = bytearray(os.urandom(1)) * (1 << 27)\ntime.sleep(600)\n",
    ),
}
SMALL = WorkspaceLimits(entries_max=200, bytes_max=32 * 1024 * 1024)


@pytest.mark.parametrize("name", sorted(BOMBS))
async def test_what_is_too_much_ends_it(tmp_path: Path, zygote: Zygote, name: str) -> None:
    """A bomb of any kind ends with the name of its limit, nobody is left, and the next command is served."""
    how, text = BOMBS[name]
    wall_ms = 500 if how == "timeout" else 30_000
    entries = {
        "bomb": python(processes_max=16, wall_ms=wall_ms, cpu_seconds=1, memory_bytes=1 << 28),
        "python": python(),
    }
    async with world(tmp_path, entries, SMALL, shared=zygote) as opened:
        outcome = await opened.perform("bomb", MARK, stdin=text)
        assert (outcome["ended"], outcome["exit_code"]) == (how, None), outcome
        assert descendants() == []
        if how == "disk":
            with pytest.raises(EffectError) as full:
                await opened.script("print(1)")
            assert full.value.code == "effect.workspace_full"
            opened.workspaces.remove("m1")
            assert opened.workspaces.names() == []
        else:
            assert exited(await opened.script("print(1)")) == "1\n"


async def test_memory_has_an_end_for_one_process(held: World) -> None:
    """An allocation over the limit fails in the program, and nowhere else."""
    text = "try:\n    bytearray(1 << 32)\nexcept MemoryError:\n    print('held')"
    assert exited(await held.script(text)) == "held\n"


async def test_a_file_has_an_end(tmp_path: Path, zygote: Zygote) -> None:
    """Beyond the limit of one file a write fails, and ends a program that has not asked to hear of it."""
    async with world(tmp_path, {"python": python(file_bytes=1000)}, shared=zygote) as opened:
        outcome = await opened.script(
            "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
            "fd = os.open('x', os.O_CREAT | os.O_WRONLY)\nprint(os.write(fd, bytes(2000)), flush=True)\n"
            "os.write(fd, b'x')"
        )
        assert (outcome["ended"], outcome["signal"], outcome["stdout"]) == ("signalled", "SIGXFSZ", "1000\n")
        assert status(opened.workspace.path / "x").st_size == 1000


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_flood_is_cut_and_does_not_hang(held: World, stream: str) -> None:
    """Output beyond the bound is read and dropped: the program comes to its end, and the outcome is bounded."""
    outcome = await held.script(f"import sys\nfor _ in range(200):\n    sys.{stream}.write('x' * 100_000)\nprint(1)")
    assert (outcome["ended"], outcome["exit_code"], outcome["truncated"]) == ("exited", 0, True)
    assert len(str(outcome[stream])) == (65_536 if stream == "stdout" else 16_384)


async def test_output_that_is_no_text_stays_bounded(held: World) -> None:
    """Control characters would be six bytes each in a journal: they travel as base64, like bytes that are no UTF-8."""
    outcome = await held.script("import sys\nsys.stdout.write('\\1' * 70_000)\nsys.stderr.buffer.write(b'\\xff')")
    assert len(str(outcome["stdout_base64"])) == 87_384
    assert outcome["stderr_base64"] == "/w=="


async def test_a_character_that_the_bound_divides_is_left_out(held: World) -> None:
    """Text stays text."""
    outcome = await held.script("print('é' * 10)", output_bytes_max=5)
    assert (outcome["stdout"], outcome["truncated"]) == ("éé", True)


LINKS = ("/etc/passwd", "{outside}", "..", "/proc/self/root")


@pytest.mark.parametrize("target", LINKS)
async def test_links_that_a_command_makes_lead_no_file_effect_out(held: World, outside: Path, target: str) -> None:
    """A link is a name in the workspace, and nothing is read or written through it."""
    goal = target.format(outside=outside)
    assert exited(await held.script(f"import os\nos.symlink({goal!r}, 'l')\nos.symlink('l', 'm')\nprint(1)")) == "1\n"
    pool = BlockingPool("test-files", threads=1, waiting_max=8)
    scope = EffectScope(workspace=held.workspace, mission_id="m1", step_id="s1")
    reading, writing = FileRead(pool, FileLimits()), FileWrite(pool, FileLimits())
    try:
        for path in ("l", "m", "l/secret", "m/passwd"):
            ask = EffectRequest(op="file.read", args={"path": path}, key="k", timeout_seconds=5)
            with pytest.raises(EffectError):
                await reading.perform(ask, scope)
            args: JsonObject = {"path": path, "content": "owned", "mode": "replace"}
            ask = EffectRequest(op="file.write", args=args, key="k", timeout_seconds=5)
            with pytest.raises(EffectError):
                await writing.perform(ask, scope)
    finally:
        pool.close()
    assert text_of(outside) == "kept outside"


async def test_a_folder_that_shuts_its_owner_out_hides_nothing(tmp_path: Path, zygote: Zygote) -> None:
    """Made without rights, it is opened again and counted; and the workspace can be removed."""
    limits = WorkspaceLimits(entries_max=100, bytes_max=1000)
    async with world(tmp_path, limits=limits, shared=zygote) as opened:
        text = "import os\nos.mkdir('d')\nopen('d/x', 'w').write('x' * 900)\nos.mkdir('e', 0)"
        assert exited(await opened.script(text)) == ""
        assert (opened.workspace.usage.entries, opened.workspace.usage.bytes) == (3, 900)
        assert stat.S_IMODE(status(opened.workspace.path / "e").st_mode) == 0o700
        opened.workspaces.remove("m1")
        assert opened.workspaces.names() == []


async def test_a_program_that_is_exchanged_is_not_run(tmp_path: Path, zygote: Zygote) -> None:
    """What is pinned is checked on the very descriptor that is executed, at each run."""
    path = tmp_path / "tool"
    shutil.copy("/bin/true", path)
    digest = hashlib.sha256(Path("/bin/true").read_bytes()).hexdigest()  # noqa: ASYNC240 - before anything runs
    async with world(tmp_path, {"tool": {"executable": str(path), "sha256": digest}}, shared=zygote) as opened:
        assert (await opened.perform("tool"))["exit_code"] == 0
        path.unlink()
        shutil.copy("/bin/false", path)
        with pytest.raises(EffectError) as refused:
            await opened.perform("tool")
    assert refused.value.code == "effect.command_failed"
    assert "SHA-256" in refused.value.message


@pytest.mark.parametrize("fault", ["script", "writable", "missing", "folder"])
async def test_a_program_that_is_none_is_not_run(tmp_path: Path, zygote: Zygote, fault: str) -> None:
    """A script, a file that everybody may write, a folder, nothing: the same typed refusal, and nothing in doubt."""
    path = tmp_path / "tool"
    match fault:
        case "script":
            path.write_text("#!/bin/sh\necho owned\n")
            path.chmod(0o755)
        case "writable":
            shutil.copy("/bin/true", path)
            path.chmod(0o777)
        case "folder":
            path.mkdir()
    async with world(tmp_path, {"tool": {"executable": str(path)}}, shared=zygote) as opened:
        with pytest.raises(EffectError) as refused:
            await opened.perform("tool")
    assert (refused.value.code, refused.value.in_doubt) == ("effect.command_failed", False)


async def test_many_at_once_are_held_at_once(tmp_path: Path, zygote: Zygote) -> None:
    """Bombs side by side, each in its own workspace, all end with their own limit, and the loop goes on turning."""
    text, turns = "import os\nwhile True:\n    os.fork()\n", 0
    async with world(tmp_path, shared=zygote) as opened:

        async def one(name: str) -> JsonObject:
            workspace = opened.workspaces.create(name, KEY)
            scope = EffectScope(workspace=workspace, mission_id=name, step_id="s1")
            args: JsonObject = {"argv": ["forking", MARK], "stdin": text}
            request = EffectRequest(op="command.run", args=args, key="k", timeout_seconds=30.0)
            try:
                return await opened.run.perform(request, scope)
            finally:
                workspace.close()

        running = [asyncio.ensure_future(one(f"b{n}")) for n in range(4)]
        while not all(task.done() for task in running):
            await asyncio.sleep(0.01)
            turns += 1
        assert [(await task)["ended"] for task in running] == ["processes"] * 4
    assert turns > 0
    assert descendants() == []


async def test_programs_of_the_machine_are_held_as_well(tmp_path: Path, zygote: Zygote, outside: Path) -> None:
    """Without an interpreter: cat of a file outside fails, with the same permission error."""
    async with world(tmp_path, {"cat": program("cat", rest=".*")}, shared=zygote) as opened:
        outcome = await opened.perform("cat", str(outside))
    assert (outcome["ended"], outcome["exit_code"], outcome["stdout"]) == ("exited", 1, "")
    assert "Permission denied" in str(outcome["stderr"])
