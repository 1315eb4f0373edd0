"""A program that hides what it takes: from the walk over its workspace, from the count of processes, and by user."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.effects.workspace import WorkspaceLimits
from tests.commands import World, python, world

MIB = 1024 * 1024
LIMITS = WorkspaceLimits(entries_max=200, bytes_max=64 * MIB)
START = """
import ctypes, os, socket, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def made():
    fd = os.open("x", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    for _ in range(8):
        os.write(fd, bytes(1 << 20))
    os.unlink("x")
    return fd
def leaderless():
    # the first thread ends, and the process shows as a zombie while another thread lives
    libc.syscall(ctypes.c_long(60 if os.uname().machine == "x86_64" else 93), 0)
"""
FILES = {
    "open": "for _ in range(20):\n    made()\ntime.sleep(60)",
    "in a piece of memory": "for _ in range(20):\n    fd = made()\n"
    "    libc.mmap(None, ctypes.c_size_t(4096), 1, 2, fd, ctypes.c_long(0))\n    os.close(fd)\ntime.sleep(60)",
    "of a process without its leader": "for _ in range(20):\n    made()\n"
    "threading.Thread(target=time.sleep, args=(60,)).start()\nleaderless()",
    "never named": "for _ in range(20):\n    fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600)\n"
    "    for _ in range(8):\n        os.write(fd, bytes(1 << 20))\ntime.sleep(60)",
}
CHILDREN = """
def child(work):
    if os.fork() == 0:
        threading.Thread(target=work).start()
        time.sleep(0.05)
        leaderless()
    time.sleep(0.1)
"""


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[World]:
    entries = {"python": python(wall_ms=30_000), "forking": python(processes_max=8, wall_ms=30_000)}
    async with world(tmp_path, entries, LIMITS) as opened:
        yield opened


@pytest.mark.parametrize("how", sorted(FILES))
async def test_a_file_without_a_name_takes_of_the_same_disk(held: World, how: str) -> None:
    """What is unlinked and still held is found, and counted with what has a name."""
    outcome = await held.script(START + FILES[how])
    assert (outcome["ended"], outcome["exit_code"]) == ("disk", None), outcome


async def test_a_file_that_is_under_way_is_in_no_process(held: World) -> None:
    """So descriptors do not travel at all; and sockets carry nothing out of band."""
    text = """
pair = socket.socketpair()
for act in (lambda: socket.send_fds(pair[0], [b"x"], [1]), lambda: pair[0].send(b"x", socket.MSG_OOB)):
    try:
        print(act())
    except PermissionError:
        print("held")
pair[0].send(b"in band")
print(pair[1].recv(100).decode())
"""
    outcome = await held.script(START + text)
    assert outcome["stdout"] == "held\nheld\nin band\n", outcome


@pytest.mark.parametrize(("how", "work"), [("memory", "held = bytes([7]) * (120 << 20)"), ("processes", "pass")])
async def test_a_process_without_its_leader_is_counted(held: World, how: str, work: str) -> None:
    """Its first thread has ended and it shows as a zombie: it is one process all the same, with its memory."""
    count = 6 if how == "memory" else 12
    script = f"def work():\n    {work}\n    time.sleep(60)\nfor _ in range({count}):\n    child(work)\ntime.sleep(60)"
    outcome = await held.script(START + CHILDREN + script, "forking")
    assert (outcome["ended"], outcome["exit_code"]) == (how, None), outcome


async def test_nobody_can_hide_behind_prctl(held: World) -> None:
    """A process that cannot be dumped does not let its descriptors be seen; none becomes one."""
    outcome = await held.script(START + "print(libc.prctl(4, 0, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0))")
    assert outcome["stdout"] == "-1 1\n", outcome


async def test_no_file_is_made_for_others(held: World) -> None:
    """A mask that is taken away stays: what is made is its owner's alone, a set-id file too."""
    text = """
os.umask(0)
os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o6777))
os.mkdir("d", 0o777)
print([oct(os.stat(name).st_mode & 0o777) for name in ("f", "d")])
"""
    outcome = await held.script(START + text)
    assert outcome["stdout"] == "['0o700', '0o700']\n", outcome


async def test_the_user_s_timers_are_not_used_up(held: World) -> None:
    """The kernel counts timers by user, and the gateway is the same user: a command gets few of them."""
    text = """
import struct
event, timer, made = ctypes.create_string_buffer(struct.pack("qii", 0, 0, 1) + bytes(48)), ctypes.c_void_p(), 0
while made < 10_000 and libc.timer_create(1, event, ctypes.byref(timer)) == 0:
    made += 1
print(made <= 1024)
"""
    outcome = await held.script(START + text)
    assert outcome["stdout"] == "True\n", outcome
