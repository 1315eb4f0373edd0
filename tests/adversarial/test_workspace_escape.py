"""Ways out of a workspace, each tried against the kernel's boundary and not only against the check of the text."""

import asyncio
import ctypes
import errno
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.values import JsonObject
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.openat2 import open_beneath
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.workspace import Workspace, Workspaces
from gateway.errors import EffectError
from tests.payload_keys import KEY

Perform = Callable[[str, JsonObject], Awaitable[JsonObject]]
Attack = Callable[[Path, Path], str]

CONTENT = "kept outside"
AT_FDCWD = -100
RENAME_EXCHANGE = 2


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspaces = Workspaces.open(tmp_path)
    workspace = workspaces.create("m1", KEY)
    yield workspace
    workspace.close()
    workspaces.close()


@pytest.fixture
def perform(workspace: Workspace) -> Iterator[Perform]:
    pool = BlockingPool("test-files", threads=2, waiting_max=64)
    effects = Effects({"file.write": FileWrite(pool, FileLimits()), "file.read": FileRead(pool, FileLimits())})
    scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s1")

    async def perform(op: str, args: JsonObject) -> JsonObject:
        return await effects.perform(EffectRequest(op=op, args=args, key="k", timeout_seconds=2.0), scope)

    yield perform
    pool.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(CONTENT)
    return outside


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def link_to_root(inside: Path, outside: Path) -> str:
    (inside / "l").symlink_to("/")
    return f"l{outside}/secret"


def link_to_parent(inside: Path, outside: Path) -> str:
    (inside / "l").symlink_to("..")
    del outside
    return "l/.staging"


def link_to_file(inside: Path, outside: Path) -> str:
    (inside / "l").symlink_to(outside / "secret")
    return "l"


def link_to_directory(inside: Path, outside: Path) -> str:
    (inside / "l").symlink_to(outside)
    return "l/secret"


def chain_of_links(inside: Path, outside: Path) -> str:
    (inside / "d").mkdir()
    (inside / "d/b").symlink_to(outside)
    (inside / "a").symlink_to("d/b")
    return "a/secret"


def dangling_link(inside: Path, outside: Path) -> str:
    (inside / "l").symlink_to(outside / "new")
    return "l"


def link_within(inside: Path, outside: Path) -> str:
    del outside
    (inside / "private").write_text(CONTENT)
    (inside / "l").symlink_to("private")
    return "l"


def magic_link_to_root(inside: Path, outside: Path) -> str:
    (inside / "l").symlink_to("/proc/self/root")
    return f"l{outside}/secret"


def magic_link_to_descriptor(inside: Path, outside: Path) -> str:
    del outside
    (inside / "l").symlink_to("/proc/self/fd/0")
    return "l"


def loop_of_links(inside: Path, outside: Path) -> str:
    del outside
    (inside / "l").symlink_to("l")
    return "l"


LINKS: list[Attack] = [
    link_to_root,
    link_to_parent,
    link_to_file,
    link_to_directory,
    chain_of_links,
    dangling_link,
    link_within,
    magic_link_to_root,
    magic_link_to_descriptor,
    loop_of_links,
]


@pytest.mark.parametrize("attack", LINKS, ids=lambda attack: attack.__name__)
async def test_no_link_is_read_through(perform: Perform, workspace: Workspace, outside: Path, attack: Attack) -> None:
    """A link anywhere in the path, wherever it leads, inside the workspace too, is refused."""
    with pytest.raises(EffectError) as refused:
        await perform("file.read", {"path": attack(workspace.path, outside)})
    assert refused.value.code == "effect.path_refused"


@pytest.mark.parametrize("mode", ["create", "replace"])
@pytest.mark.parametrize("attack", LINKS, ids=lambda attack: attack.__name__)
async def test_no_link_is_written_through(
    perform: Perform, workspace: Workspace, outside: Path, attack: Attack, mode: str
) -> None:
    """A write is refused, and what the link leads to is as it was; a dangling one creates nothing."""
    path = attack(workspace.path, outside)
    before = listing(outside)
    with pytest.raises(EffectError) as refused:
        await perform("file.write", {"path": path, "content": "owned", "mode": mode})
    assert refused.value.code in {"effect.path_refused", "effect.file_exists", "effect.not_regular"}
    assert listing(outside) == before
    assert (outside / "secret").read_text() == CONTENT


@pytest.mark.parametrize("mode", ["create", "replace"])
async def test_a_parent_is_not_made_through_a_link(
    perform: Perform, workspace: Workspace, outside: Path, mode: str
) -> None:
    """Directories are made beneath the workspace or not at all."""
    (workspace.path / "l").symlink_to(outside)
    with pytest.raises(EffectError):
        await perform("file.write", {"path": "l/new/dir/x", "content": "owned", "mode": mode})
    assert listing(outside) == ["secret"]


@pytest.mark.parametrize("path", ["../outside/secret", "a/../../outside/secret", "/etc/passwd", "/proc/self/root/etc"])
def test_the_kernel_refuses_what_the_text_check_would_have_let_through(
    workspace: Workspace, outside: Path, path: str
) -> None:
    """The boundary holds without the parser in front of it."""
    assert outside.exists()
    (workspace.path / "a").mkdir()
    with workspace.hold() as held, pytest.raises(OSError) as refused:  # noqa: PT011 - errno is the claim
        open_beneath(held.root, path, os.O_RDONLY)
    assert refused.value.errno == errno.EXDEV


def test_a_magic_link_is_refused_by_the_kernel() -> None:
    """Beneath /proc itself, where magic links are real, none is followed."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path in ("self/root", "self/cwd", f"{os.getpid()}/root/etc/passwd", f"{os.getpid()}/fd/0"):
            with pytest.raises(OSError) as refused:  # noqa: PT011 - errno is the claim
                open_beneath(proc, path, os.O_RDONLY)
            assert refused.value.errno == errno.ELOOP
    finally:
        os.close(proc)


async def test_a_second_name_of_an_outside_file_is_not_read(
    perform: Perform, workspace: Workspace, outside: Path
) -> None:
    """A hard link has no path that the kernel could refuse, so a file with two names is none of ours."""
    os.link(outside / "secret", workspace.path / "x")
    with pytest.raises(EffectError) as refused:
        await perform("file.read", {"path": "x"})
    assert refused.value.code == "effect.path_refused"


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: a read would never end
    except PermissionError:
        pytest.skip("making a device needs root")


def make_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_device, make_directory], ids=lambda make: make.__name__)
async def test_only_regular_files_are_touched(
    perform: Perform, workspace: Workspace, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO without a writer would hold a thread for ever, a device has effects of its own: refused, in no time."""
    monkeypatch.chdir(workspace.path)  # a socket's path is short
    make(Path("x"))
    try:
        async with asyncio.timeout(1.0):
            with pytest.raises(EffectError) as refused:
                await perform("file.read", {"path": "x"})
            assert refused.value.code == "effect.not_regular"
            for mode, code in (("create", "effect.file_exists"), ("replace", "effect.not_regular")):
                with pytest.raises(EffectError) as refused:
                    await perform("file.write", {"path": "x", "content": "a", "mode": mode})
                assert refused.value.code == code
    finally:
        release(workspace.path / "x")


def release(path: Path) -> None:
    """Let a thread go that hangs in opening a FIFO, so that a failure of the test above is one, and not a hang."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


class Swapper(threading.Thread):
    """Exchanges a directory with a link to the outside, each time in one step, as fast as it can."""

    def __init__(self, inside: Path, outside: Path) -> None:
        super().__init__(daemon=True)
        self._real, self._link = str(inside / "d").encode(), str(inside / "link").encode()
        (inside / "link").symlink_to(outside)
        self._stopped = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        while not self._stopped.is_set():
            if renameat2(AT_FDCWD, self._real, AT_FDCWD, self._link, RENAME_EXCHANGE) == 0:
                self.swaps += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()


async def test_a_swapped_directory_leads_nowhere(perform: Perform, workspace: Workspace, outside: Path) -> None:
    """While a directory and a link to the outside change places, no write lands there, and no read comes from there."""
    (workspace.path / "d").mkdir()
    swapper = Swapper(workspace.path, outside)
    swapper.start()
    codes: set[str] = set()
    done = 0
    try:
        for n in range(40_000):
            if n >= 400 and done:  # a busy host lets the swapper win every race for a while
                break
            try:
                await perform("file.write", {"path": f"d/{n}", "content": "x", "mode": "replace"})
                outcome = await perform("file.read", {"path": "d/secret" if n % 2 else f"d/{n}"})
                assert outcome["content"] != CONTENT
                done += 1
            except EffectError as err:
                codes.add(err.code)
    finally:
        swapper.stop()
    assert listing(outside) == ["secret"]
    assert swapper.swaps > 0
    assert codes <= {"effect.path_refused", "effect.not_found"}
    assert done > 0


async def test_the_race_is_real(workspace: Workspace, outside: Path) -> None:
    """The same swap against a plain `open` does get out: the test above would notice a missing boundary."""
    (workspace.path / "d").mkdir()
    (workspace.path / "d/secret").write_text("harmless")
    swapper = Swapper(workspace.path, outside)
    swapper.start()
    seen: set[str] = set()
    try:
        for _ in range(100_000):
            with suppress(OSError):
                seen.add((workspace.path / "d/secret").read_text())
            if CONTENT in seen:
                break
    finally:
        swapper.stop()
    assert CONTENT in seen
