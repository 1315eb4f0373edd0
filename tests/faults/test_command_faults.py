"""What goes wrong around a command is typed, leaves no process behind, and says what is in doubt and what is not."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.effects.commands import kernel
from gateway.effects.commands.proc import descendants
from gateway.errors import EffectError
from tests.commands import World, python, world
from tests.gateways import alive, until

# Says that it runs, as a file in the workspace, and has a child that would outlive it.
LONG = """
import os, time
os.fork()
open("begun", "w").close()
time.sleep(600)
"""


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as opened:
        yield opened


def family(opened: World) -> list[int]:
    """Return all that descends from the zygote and lives: workers of commands, and commands."""
    return [pid for pid in descendants(opened.zygote.pid) if alive(pid)]


def begun(opened: World) -> bool:
    return (opened.workspace.path / "begun").exists()


async def started(opened: World) -> "tuple[asyncio.Task[Any], list[int]]":
    """Start a long command, and return it with its processes: the worker, the program, its child."""
    task = asyncio.create_task(opened.script(LONG, "forking"))
    await until(lambda: begun(opened) or task.done())
    assert not task.done(), await task
    found = family(opened)
    assert len(found) == 3
    return task, found


async def served(opened: World) -> None:
    """Show that the next command is served as if nothing had been."""
    assert (await opened.script("print(1)"))["stdout"] == "1\n"


async def gone(found: list[int]) -> None:
    await until(lambda: not any(map(alive, found)))


async def test_a_worker_that_is_killed_leaves_no_command(opened: World) -> None:
    """The gateway ends the group by its own handle; the run is in doubt, since nobody saw its end."""
    task, found = await started(opened)
    os.kill(found[0], signal.SIGKILL)
    with pytest.raises(EffectError) as lost:
        await task
    assert (lost.value.code, lost.value.in_doubt) == ("effect.command_lost", True)
    await gone(found)
    await served(opened)


async def test_a_zygote_that_is_killed_leaves_no_command(opened: World) -> None:
    """Its workers hear of it, end what they run, and are gone; the next command gets another zygote."""
    task, found = await started(opened)
    os.kill(opened.zygote.pid, signal.SIGKILL)
    with pytest.raises(EffectError) as lost:
        await task
    assert (lost.value.code, lost.value.in_doubt) == ("effect.command_lost", True)
    await gone(found)
    await served(opened)


async def test_a_program_that_is_killed_from_outside_is_an_outcome(opened: World) -> None:
    """What is known is told: a signal ended it, and its child went with it."""
    task, found = await started(opened)
    os.kill(found[1], signal.SIGKILL)
    outcome = await task
    assert (outcome["ended"], outcome["signal"]) == ("signalled", "SIGKILL")
    await gone(found)
    await served(opened)


async def test_a_worker_that_is_stopped_is_ended_with_its_command(
    opened: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says nothing within its time and the grace is not waited for."""
    monkeypatch.setattr(opened.runner, "_grace_seconds", 0.2)
    task = asyncio.create_task(opened.script(LONG, "forking", timeout_ms=1_500))
    await until(lambda: begun(opened))
    found = family(opened)
    os.kill(found[0], signal.SIGSTOP)
    with pytest.raises(EffectError) as lost:
        await task
    assert (lost.value.code, lost.value.in_doubt) == ("effect.command_lost", True)
    await gone(found)


@pytest.mark.parametrize("turns", [*range(12), None])
async def test_a_cancel_leaves_nothing_wherever_it_comes(opened: World, turns: int | None) -> None:
    """Before the fork, during it, while the program runs: no process stays, no place, no lock."""
    task = asyncio.create_task(opened.script(LONG, "forking"))
    if turns is None:
        await until(lambda: begun(opened))
    else:
        for _ in range(turns):
            await asyncio.sleep(0.003 * (turns > 5))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await opened.runner.close()
    await until(lambda: family(opened) == [])
    assert not opened.workspace.commanding.locked()
    await served(opened)


async def test_a_second_cancel_does_not_stop_the_cleaning(opened: World) -> None:
    """Whoever is cancelled again while the command is being ended has it ended all the same."""
    task, found = await started(opened)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await opened.runner.close()
    await gone(found)


async def test_descriptors_are_all_given_back(opened: World) -> None:
    """Thirty runs of every ending leave as many open as the first."""
    before = 0
    for n in range(30):
        await opened.script("print(1)")
        await opened.script("raise SystemExit(3)")
        await opened.script("import os\nos.kill(os.getpid(), 9)")
        with pytest.raises(EffectError):
            await opened.perform("none")
        before = before or len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
        assert n == 0 or len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - a count


async def test_no_descriptor_is_a_typed_error(opened: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no socket can be made, nothing was begun and nothing is in doubt."""

    def none_left(*_: object) -> None:
        raise OSError(24, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.effects.commands.runner.socket.socketpair", none_left)
        with pytest.raises(EffectError) as refused:
            await opened.script("print(1)")
    assert (refused.value.code, refused.value.in_doubt) == ("effect.unavailable", False)
    await served(opened)


@pytest.mark.parametrize(("part", "answer"), [("landlock.abi", 5), ("landlock.abi", 0), ("seccomp.available", False)])
async def test_a_kernel_that_lacks_something_is_refused(
    opened: World, monkeypatch: pytest.MonkeyPatch, part: str, answer: object
) -> None:
    """Nothing is started, and there is nothing to configure that would."""
    monkeypatch.setattr(f"gateway.effects.commands.kernel.{part}", lambda: answer)
    assert kernel.missing()
    with pytest.raises(EffectError) as refused:
        await opened.script("print(1)")
    assert (refused.value.code, refused.value.in_doubt) == ("effect.command_unavailable", False)


async def test_one_command_at_a_time_has_a_workspace(opened: World) -> None:
    """The second waits, and gives up within its own time; it has done nothing."""
    task, _ = await started(opened)
    with pytest.raises(EffectError) as refused:
        await opened.script("print(1)", seconds=0.2)
    assert (refused.value.code, refused.value.in_doubt) == ("effect.overloaded", False)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_time_of_the_step_is_the_shorter_one(tmp_path: Path) -> None:
    """A step may ask for less time than the entry gives, never for more."""
    async with world(tmp_path, {"python": python(wall_ms=1_000)}) as opened:
        for asked in ({}, {"timeout_ms": 50_000}, {"timeout_ms": 100}):
            outcome = await opened.script("import time\ntime.sleep(600)", **asked)
            assert outcome["ended"] == "timeout"
            assert int(str(outcome["duration_ms"])) >= min(1_000, int(asked.get("timeout_ms", 1_000)))
