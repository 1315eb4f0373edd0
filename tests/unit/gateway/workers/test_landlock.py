"""Landlock denies what is not granted; each case in a process of its own, since nothing undoes it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import WorkerError
from gateway.workers import landlock
from gateway.workers.landlock import Grant, Right, rights_of

pytestmark = pytest.mark.skipif(
    landlock.abi() == 0 and "CI" not in os.environ, reason="this kernel has no Landlock; CI has to have it"
)

_RESTRICTED = """
import ctypes, errno, json, os, socket, sys
from gateway.workers.landlock import Grant, Right, restrict
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
grants, attempts = json.loads(sys.argv[1]), json.loads(sys.argv[2])
held = os.memfd_create("held")
listener = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX)
abi = restrict([Grant(path, Right(bits)) for path, bits in grants])
said = []
for kind, *rest in attempts:
    try:
        if kind == "open": os.close(os.open(rest[0], rest[1], 0o600))
        elif kind == "list": os.listdir(rest[0])
        elif kind == "execute": os.access(rest[0], os.X_OK); os.posix_spawn(rest[0], [rest[0]], {})
        elif kind == "connect": socket.create_connection(listener.getsockname())
        elif kind == "bind": socket.create_server(("127.0.0.1", 0))
        elif kind == "abstract": abstract.connect(rest[0])
        elif kind == "kill": os.kill(os.getppid(), 0)
        elif kind == "held": os.write(held, b"x"); os.ftruncate(held, 0)
        said.append("ok")
    except OSError as error:
        said.append(errno.errorcode[error.errno])
print(json.dumps([abi, said]))
"""
_RDONLY, _CREATE = 0, 0o101


def attempt(grants: list[tuple[str, Right]], *attempts: tuple[object, ...]) -> list[str]:
    """Return what each of `attempts` came to in a process that has `grants` only."""
    arguments = [json.dumps([(path, int(rights)) for path, rights in grants]), json.dumps(attempts)]
    done = subprocess.run([sys.executable, "-c", _RESTRICTED, *arguments], capture_output=True, check=True)
    version, said = json.loads(done.stdout)
    assert version == landlock.abi()
    outcomes: list[str] = said
    return outcomes


def test_nothing_granted_leaves_nothing(tmp_path: Path) -> None:
    """No file is read, listed, made or run; what was open, or is memory, stays usable."""
    there = tmp_path / "there"
    there.write_text("x", encoding="ascii")
    assert attempt(
        [],
        ("open", str(there), _RDONLY),
        ("list", str(tmp_path)),
        ("open", str(tmp_path / "new"), _CREATE),
        ("open", "/proc/self/status", _RDONLY),
        ("execute", "/bin/true"),
        ("held",),
    ) == ["EACCES", "EACCES", "EACCES", "EACCES", "EACCES", "ok"]


def test_a_grant_is_for_what_is_beneath_it(tmp_path: Path) -> None:
    """Rights reach the granted directory and file, and nothing beside them, by no path."""
    (tmp_path / "in").mkdir()
    for name in ("in/a", "out", "file"):
        (tmp_path / name).write_text("x", encoding="ascii")
    grants = [(str(tmp_path / "in"), Right.READ_FILE | Right.READ_DIR), (str(tmp_path / "file"), Right(0xFFFF))]
    assert attempt(
        grants,
        ("open", str(tmp_path / "in/a"), _RDONLY),
        ("list", str(tmp_path / "in")),
        ("open", str(tmp_path / "in/../out"), _RDONLY),
        ("open", str(tmp_path / "in/new"), _CREATE),
        ("open", str(tmp_path / "file"), 2),
    ) == ["ok", "ok", "EACCES", "EACCES", "ok"]


@pytest.mark.skipif(landlock.abi() < 4, reason="this kernel's Landlock has no rules of TCP")
def test_tcp_is_denied(tmp_path: Path) -> None:
    """Neither connecting nor binding, loopback and an open listener included, whatever files are granted."""
    assert attempt([(str(tmp_path), Right(0xFFFF))], ("connect",), ("bind",)) == ["EACCES", "EACCES"]


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's Landlock has no scopes")
def test_other_processes_are_out_of_reach() -> None:
    """No signal to a process outside, no abstract socket of one."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0missiongate-landlock-test")
        server.listen()
        assert attempt([], ("kill",), ("abstract", "\0missiongate-landlock-test")) == ["EPERM", "EPERM"]


def test_an_older_kernel_handles_less_and_says_so() -> None:
    """Each version denies what it knows; asking for more than there is, is a typed error before anything changes."""
    assert [int(rights_of(version)).bit_count() for version in range(8)] == [0, 13, 14, 15, 15, 16, 16, 16]
    with pytest.raises(WorkerError) as caught:
        landlock.restrict(abi_min=10_000)
    assert caught.value.code == "worker.landlock_missing"


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A grant that names nothing is a mistake of the caller's, found before the process is bound."""
    with pytest.raises(OSError, match="absent"):
        landlock.restrict([Grant(str(tmp_path / "absent"), Right.READ_FILE)])
    assert list(tmp_path.iterdir()) == []


def test_too_many_grants_are_refused() -> None:
    """The list has a maximum."""
    with pytest.raises(ValueError, match="256"):
        landlock.restrict([Grant("/", Right.READ_FILE)] * 257)
