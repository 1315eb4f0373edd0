"""Commands for tests: entries of policy data over real programs, and a world in which they run without a gateway."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.values import JsonObject
from gateway.effects.blocking import BlockingPool
from gateway.effects.commands import kernel
from gateway.effects.commands.data import commands_from
from gateway.effects.commands.run import CommandRun
from gateway.effects.commands.runner import PRELOAD, CommandRunner
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.workspace import Workspace, WorkspaceLimits, Workspaces
from gateway.workers.supervisor import Zygote
from tests.payload_keys import KEY

PYTHON = os.path.realpath(sys.executable)
_SCRIPT = ("-I", "-S", "-c", "import sys; exec(sys.stdin.read())")


def python(**limits: int) -> dict[str, Any]:
    """Return the entry of an interpreter that does what its standard input says: an attacker's dream."""
    return {
        "executable": PYTHON,
        "fixed": list(_SCRIPT),
        "reads": [sys.base_prefix],
        "rest": ".*",
        "stdin": True,
        "limits": limits,
    }


def program(name: str, **fields: Any) -> dict[str, Any]:
    """Return the entry of a program of this machine."""
    found = shutil.which(name)
    if found is None:
        absent(f"{name} is not installed")
    return {"executable": os.path.realpath(str(found)), **fields}


def absent(reason: str) -> None:
    """Skip the test for want of something real; where everything has to be there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def need_kernel() -> None:
    """Skip the test where the kernel cannot hold a command."""
    if lacking := kernel.missing():
        absent(f"commands need {lacking}")


@dataclass
class World:
    """One workspace, and what performs commands in it."""

    run: CommandRun
    runner: CommandRunner
    zygote: Zygote
    workspace: Workspace
    workspaces: Workspaces
    disk: BlockingPool

    async def perform(self, *argv: str, seconds: float = 30.0, **args: Any) -> JsonObject:
        """Perform one command.run, as the pipeline would."""
        request = EffectRequest(op="command.run", args={"argv": argv, **args}, key="k", timeout_seconds=seconds)
        scope = EffectScope(workspace=self.workspace, mission_id="m1", step_id="s1")
        return await self.run.perform(request, scope)

    async def script(self, text: str, command: str = "python", **args: Any) -> JsonObject:
        """Perform what `text` says, in Python."""
        return await self.perform(command, stdin=text, **args)


@asynccontextmanager
async def world(
    home: Path,
    commands: Mapping[str, Any] | None = None,
    limits: WorkspaceLimits | None = None,
    *,
    shared: Zygote | None = None,
) -> AsyncIterator[World]:
    """Open a world; by default there is Python with one process, and with sixteen, and a zygote of its own."""
    need_kernel()
    entries = commands or {"python": python(), "forking": python(processes_max=16, wall_ms=20_000)}
    zygote = shared or await Zygote.start(PRELOAD)
    disk = BlockingPool("test-disk", threads=2, waiting_max=64)
    workspaces = Workspaces.open(home, limits=limits)
    runner = CommandRunner(zygote)
    workspace = workspaces.create("m1", KEY)
    try:
        yield World(
            CommandRun(commands_from({"commands": entries}), runner, disk), runner, zygote, workspace, workspaces, disk
        )
    finally:
        await runner.close()
        workspace.close()
        workspaces.close()
        disk.close()
        if shared is None:
            await zygote.close()
