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


@pytest.mark.parametrize(("how", "work"), [("memory", "held = bytes([7]) * (120 << 20)"), ("processes", "pass")])
async def test_a_process_without_its_leader_is_counted(held: World, how: str, work: str) -> None:
    """Its first thread has ended and it shows as a zombie: it is one process all the same, with its memory."""
    count = 6 if how == "memory" else 12
    script = f"def work():\n    {work}\n    time.sleep(60)\nfor _ in range({count}):\n    child(work)\ntime.sleep(60)"
    outcome = await held.script(START + CHILDREN + script, "forking")
    assert (outcome["ended"], outcome["exit_code"]) == (how, None), outcome
