"""A workspace and the file effects over it."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from engine.values import JsonObject
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.timer import TimerSleep
from gateway.effects.workspace import Workspace, WorkspaceLimits, Workspaces
from tests.payload_keys import KEY

Perform = Callable[[str, JsonObject], Awaitable[JsonObject]]

FILE_BYTES_MAX = 1_000
LIMITS = WorkspaceLimits(entries_max=10, bytes_max=4_000)


@pytest.fixture
def pool() -> Iterator[BlockingPool]:
    pool = BlockingPool("test-files", threads=4, waiting_max=64)
    yield pool
    pool.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspaces = Workspaces.open(tmp_path, limits=LIMITS)
    workspace = workspaces.create("m1", KEY)
    yield workspace
    workspace.close()
    workspaces.close()


@pytest.fixture
def effects(pool: BlockingPool) -> Effects:
    limits = FileLimits(write_bytes_max=FILE_BYTES_MAX, read_bytes_max=FILE_BYTES_MAX)
    return Effects(
        {"file.write": FileWrite(pool, limits), "file.read": FileRead(pool, limits), "timer.sleep": TimerSleep()}
    )


@pytest.fixture
def perform(effects: Effects, workspace: Workspace) -> Perform:
    async def perform(op: str, args: JsonObject) -> JsonObject:
        scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s1")
        return await effects.perform(EffectRequest(op=op, args=args, key="k", timeout_seconds=10.0), scope)

    return perform
