"""file.write and file.read, as a mission sees them."""

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.values import JsonObject
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileWrite
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.rename import rename_into
from gateway.effects.workspace import Workspace
from gateway.errors import EffectError

Perform = Callable[[str, JsonObject], Awaitable[JsonObject]]


def staged(workspace: Workspace) -> list[str]:
    return [entry.name for entry in (workspace.path.parent / ".staging").iterdir()]


async def test_what_is_written_is_read_back(perform: Perform, workspace: Workspace) -> None:
    """A write reports path, size and digest; a read gives the same and the content; missing parents are made."""
    text = "grün\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    written = await perform("file.write", {"path": "a/b/c.txt", "content": text})
    assert written == {"path": "a/b/c.txt", "bytes": 6, "sha256": digest}
    assert await perform("file.read", {"path": "a/b/c.txt"}) == {**written, "content": text}
    assert (workspace.path / "a/b/c.txt").stat().st_mode & 0o777 == 0o600
    assert staged(workspace) == []


async def test_bytes_that_are_no_text_travel_as_base64(perform: Perform) -> None:
    """Content that is not UTF-8 is given and read as base64, unchanged."""
    raw = base64.b64encode(b"\xff\x00\xfe").decode()
    await perform("file.write", {"path": "x", "content_base64": raw})
    outcome = await perform("file.read", {"path": "x"})
    assert outcome["content_base64"] == raw
    assert "content" not in outcome


async def test_create_refuses_a_taken_name_and_leaves_the_file(perform: Perform, workspace: Workspace) -> None:
    """Mode create, the default, never overwrites."""
    await perform("file.write", {"path": "x", "content": "first"})
    with pytest.raises(EffectError) as refused:
        await perform("file.write", {"path": "x", "content": "second"})
    assert (refused.value.code, refused.value.in_doubt) == ("effect.file_exists", False)
    assert (workspace.path / "x").read_text() == "first"
    assert staged(workspace) == []


async def test_replace_overwrites_and_creates(perform: Perform, workspace: Workspace) -> None:
    """Mode replace works whether the file is there or not."""
    for content in ("first", "second"):
        await perform("file.write", {"path": "x", "content": content, "mode": "replace"})
        assert (workspace.path / "x").read_text() == content


async def test_of_concurrent_creates_exactly_one_wins(perform: Perform, workspace: Workspace) -> None:
    """Twenty writers of one name: one succeeds, nineteen are told that it exists, and the content is the winner's."""
    calls = (perform("file.write", {"path": "x", "content": str(n)}) for n in range(20))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    winners = [n for n, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    losers = [answer for answer in answers if isinstance(answer, EffectError)]
    assert len(winners) == 1
    assert {error.code for error in losers} == {"effect.file_exists"}
    assert (workspace.path / "x").read_text() == str(winners[0])
    assert (workspace.usage.entries, workspace.usage.bytes) == (1, len(str(winners[0])))


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"path": "x"},
        {"path": "x", "content": 1},
        {"path": "x", "content": "a", "content_base64": "YQ=="},
        {"path": "x", "content_base64": "YQ"},
        {"path": "x", "content_base64": "YR=="},
        {"path": "x", "content": "\ud800"},
        {"path": "x", "content": "a", "mode": "append"},
        {"path": "x", "content": "a", "mode": 1},
        {"path": "x", "content": "a", "owner": "root"},
        {"path": 7, "content": "a"},
    ],
)
async def test_wrong_arguments_are_refused(perform: Perform, args: JsonObject, workspace: Workspace) -> None:
    """A performer relies on no check before it: what is not exactly its arguments is refused, and nothing is left."""
    with pytest.raises(EffectError) as refused:
        await perform("file.write", args)
    assert refused.value.code == "effect.arguments"
    assert list(workspace.path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", ".", "a\0b", "a" * 256, "a/" * 32 + "a", "é" * 128],
)
async def test_a_path_has_one_spelling(perform: Perform, path: str) -> None:
    """Absolute, dotted, empty, over-long and over-deep paths are refused before the kernel is asked."""
    for op, args in (("file.write", {"path": path, "content": ""}), ("file.read", {"path": path})):
        with pytest.raises(EffectError) as refused:
            await perform(op, args)
        assert refused.value.code == "effect.path_invalid"


async def test_reading_what_is_not_there(perform: Perform) -> None:
    """A missing file, and a path through a file, are each named."""
    await perform("file.write", {"path": "x", "content": ""})
    for path, code in (("y", "effect.not_found"), ("d/y", "effect.not_found"), ("x/y", "effect.not_a_directory")):
        with pytest.raises(EffectError) as refused:
            await perform("file.read", {"path": path})
        assert refused.value.code == code


async def test_sizes_are_bounded(perform: Perform, workspace: Workspace) -> None:
    """A file over the limit is neither written nor read; one at the limit is both."""
    await perform("file.write", {"path": "fits", "content": "x" * 1_000})
    assert (await perform("file.read", {"path": "fits"}))["bytes"] == 1_000
    (workspace.path / "large").write_bytes(b"x" * 1_001)
    for op, args in (("file.write", {"path": "w", "content": "x" * 1_001}), ("file.read", {"path": "large"})):
        with pytest.raises(EffectError) as refused:
            await perform(op, args)
        assert refused.value.code == "effect.too_large"


async def test_the_workspace_is_bounded_in_bytes(perform: Perform, workspace: Workspace) -> None:
    """The last write that fits is done, the next refused; replacing by less gives room back."""
    for n in range(4):
        await perform("file.write", {"path": str(n), "content": "x" * 900})
    with pytest.raises(EffectError) as refused:
        await perform("file.write", {"path": "5", "content": "x" * 401})
    assert refused.value.code == "effect.workspace_full"
    await perform("file.write", {"path": "0", "content": "x" * 100, "mode": "replace"})
    await perform("file.write", {"path": "5", "content": "x" * 401})
    assert workspace.usage.bytes == sum(p.stat().st_size for p in workspace.path.iterdir())


async def test_the_workspace_is_bounded_in_entries(perform: Perform, workspace: Workspace) -> None:
    """Directories count as files do, so that neither can be made without end; a refused write leaves no file."""
    await perform("file.write", {"path": "a/b/c/d/e/f/g/h/file", "content": ""})
    await perform("file.write", {"path": "last", "content": ""})
    for path in ("more", "a/more"):
        with pytest.raises(EffectError) as refused:
            await perform("file.write", {"path": path, "content": ""})
        assert refused.value.code == "effect.workspace_full"
    assert workspace.usage.entries == sum(1 for _ in workspace.path.rglob("*")) == 10


async def test_a_refused_write_gives_its_claim_back(perform: Perform, workspace: Workspace) -> None:
    """Failures do not use up the quota, whatever fails."""
    (workspace.path / "dir").mkdir()
    for _ in range(50):
        for path in ("dir", "dir/../x"):
            with pytest.raises(EffectError):
                await perform("file.write", {"path": path, "content": "x" * 900, "mode": "replace"})
    assert (workspace.usage.entries, workspace.usage.bytes) == (0, 0)


async def test_a_closed_workspace_takes_nothing(perform: Perform, workspace: Workspace) -> None:
    """After a mission has ended, a late effect is refused, and its files stay."""
    await perform("file.write", {"path": "x", "content": "kept"})
    workspace.close()
    with pytest.raises(EffectError) as refused:
        await perform("file.read", {"path": "x"})
    assert refused.value.code == "effect.workspace_closed"
    assert (workspace.path / "x").read_text() == "kept"


@pytest.mark.parametrize(("mode", "in_doubt"), [("create", True), ("replace", False)])
async def test_a_failed_sync_of_the_directory_is_in_doubt(
    perform: Perform, monkeypatch: pytest.MonkeyPatch, mode: str, in_doubt: bool
) -> None:
    """Once the name is placed, its survival is unknown: in doubt for create; replace may be done again."""
    real, calls = os.fsync, []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(EffectError) as failed:
        await perform("file.write", {"path": "x", "content": "a", "mode": mode})
    assert (failed.value.code, failed.value.in_doubt) == ("effect.io", in_doubt)


async def test_a_full_disk_is_named_and_leaves_nothing(
    perform: Perform, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC on the content's way to the disk: no file, no staged rest, no claim, no doubt."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EffectError) as failed:
        await perform("file.write", {"path": "x", "content": "abc"})
    assert (failed.value.code, failed.value.in_doubt) == ("effect.disk_full", False)
    assert list(workspace.path.iterdir()) == []
    assert staged(workspace) == []
    assert workspace.usage.bytes == 0


def late_write(workspace: Workspace, mode: str, pool: BlockingPool) -> Awaitable[JsonObject]:
    args: JsonObject = {"path": "x", "content": "a", "mode": mode}
    request = EffectRequest(op="file.write", args=args, key="k", timeout_seconds=0.1)
    scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s1")
    return FileWrite(pool, FileLimits()).perform(request, scope)


@pytest.mark.parametrize("mode", ["create", "replace"])
async def test_a_write_that_is_late_places_nothing(workspace: Workspace, mode: str) -> None:
    """Its step was told that it failed: the thread, which nobody can stop, must not prove that wrong later."""
    pool = BlockingPool("test-slow", threads=1, waiting_max=4)
    with workspace.placing:  # the thread waits here, its content staged
        for _ in ("staged", "queued behind it"):
            with pytest.raises(EffectError) as late:
                await late_write(workspace, mode, pool)
            assert (late.value.code, late.value.in_doubt) == ("effect.timeout", False)
    await asyncio.to_thread(pool.close)
    assert list(workspace.path.iterdir()) == []
    assert (workspace.usage.entries, workspace.usage.bytes) == (0, 0)


async def test_a_write_that_was_cancelled_places_nothing(workspace: Workspace) -> None:
    """What a cancelled mission had staged stays unseen."""
    pool = BlockingPool("test-slow", threads=1, waiting_max=4)
    with workspace.placing:
        task = asyncio.ensure_future(late_write(workspace, "create", pool))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(pool.close)
    assert list(workspace.path.iterdir()) == []


@pytest.mark.parametrize(("mode", "in_doubt"), [("create", True), ("replace", False)])
async def test_a_write_that_is_late_in_the_rename_is_in_doubt(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mode: str, in_doubt: bool
) -> None:
    """Once the name is being placed nobody can tell, and a create says so."""
    pool = BlockingPool("test-slow", threads=1, waiting_max=4)
    gate = threading.Event()

    def slow(*args: Any, **kwargs: Any) -> None:
        gate.wait()
        rename_into(*args, **kwargs)

    monkeypatch.setattr("gateway.effects.files.rename_into", slow)
    with pytest.raises(EffectError) as late:
        await late_write(workspace, mode, pool)
    assert (late.value.code, late.value.in_doubt) == ("effect.timeout", in_doubt)
    gate.set()
    await asyncio.to_thread(pool.close)
    assert (workspace.path / "x").read_text() == "a"


async def test_a_reader_never_sees_half_a_file(perform: Perform, workspace: Workspace) -> None:
    """While a file is replaced again and again, every read gives one of the whole contents."""
    contents = ["a" * 900, "b" * 500]
    await perform("file.write", {"path": "x", "content": contents[0]})
    seen: set[object] = set()
    for n in range(60):
        write = perform("file.write", {"path": "x", "content": contents[n % 2], "mode": "replace"})
        _, outcome = await asyncio.gather(write, perform("file.read", {"path": "x"}))
        seen.add(outcome["content"])
    assert seen <= set(contents)
    assert (workspace.usage.entries, workspace.usage.bytes) == (1, 500)


async def test_a_write_does_not_go_through_a_second_name(
    perform: Perform, workspace: Workspace, tmp_path: Path
) -> None:
    """Replacing one name of a hard-linked file leaves the other name's content alone."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    os.link(outside, workspace.path / "x")
    await perform("file.write", {"path": "x", "content": "new", "mode": "replace"})
    assert outside.read_text() == "precious"
