"""Limits of files: from policy's data, never widened, named where they are broken, and kept over a restart."""

import asyncio
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.values import JsonObject
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.limits import DEFAULT_LIMITS, EffectLimits, limit_table
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.workspace import Workspace, WorkspaceLimits, Workspaces
from gateway.errors import EffectError, PolicyInvalidError
from tests.payload_keys import KEY

NAMES = [f.name for f in fields(EffectLimits)]
FIGURES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2**26), max_size=4)


async def perform(pool: BlockingPool, workspace: Workspace, op: str, limits: EffectLimits, **args: Any) -> JsonObject:
    effects = Effects({"file.write": FileWrite(pool, FileLimits()), "file.read": FileRead(pool, FileLimits())})
    scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s", limits=limits)
    return await effects.perform(EffectRequest(op=op, args=args, key="k", timeout_seconds=10), scope)


async def refusal(*args: Any, **named: Any) -> tuple[str, str]:
    with pytest.raises(EffectError) as refused:
        await perform(*args, **named)
    return refused.value.code, refused.value.message


@given(default=FIGURES, kinds=FIGURES, roles=st.lists(FIGURES, max_size=3), tenant=FIGURES)
def test_no_entry_widens(
    default: dict[str, int], kinds: dict[str, int], roles: list[dict[str, int]], tenant: dict[str, int]
) -> None:
    """What a kind, a role or a tenant says, however many roles there are: each figure is at most the default's."""
    names = [f"r{at}" for at in range(len(roles))]
    sections = {"kinds": {"k": kinds}, "roles": dict(zip(names, roles, strict=True)), "tenants": {"red": tenant}}
    table = limit_table({"limits": {"default": default, **sections}})  # type: ignore[dict-item]
    got = table.of("k", names, "red")
    for name in NAMES:
        said = [entry[name] for entry in (kinds, *roles, tenant) if name in entry]
        assert getattr(got, name) == min([getattr(table.default, name), *said])
    assert table.of("other", ["nobody"], "blue") == table.default


@pytest.mark.parametrize(
    "limits",
    [
        [],
        {"default": {"blobs": 1}},
        {"default": {"blobs_max": -1}},
        {"default": {"blobs_max": 1.5}},
        {"default": {"blobs_max": True}},
        {"default": {"blob_bytes_max": 2**40}},
        {"kinds": {"http": 1}},
        {"roles": []},
        {"tenants": []},
        {"tenants": {"red": {"blobs": 1}}},
        {"tenant": {}},
    ],
)
def test_what_is_no_limit_is_refused_at_the_start(limits: Any) -> None:
    """A bundle with a figure that nobody would look at is not loaded."""
    with pytest.raises(PolicyInvalidError) as refused:
        limit_table({"limits": limits})
    assert refused.value.code == "policy.limits"


async def test_each_limit_of_a_file_is_named(pool: BlockingPool, tmp_path: Path) -> None:
    """Size of one file, depth, number of entries, of directories, and all bytes: each by its own name."""
    workspace = Workspaces.open(tmp_path).create("m1", KEY)
    write = ("file.write",)

    async def said(limits: EffectLimits, path: str, content: str = "12345") -> tuple[str, str]:
        return await refusal(pool, workspace, *write, limits, path=path, content=content)

    cases = [
        (EffectLimits(file_write_bytes_max=4), "a", "effect.too_large", "file_write_bytes_max"),
        (EffectLimits(workspace_depth_max=2), "a/b/c", "effect.workspace_full", "workspace_depth_max"),
        (EffectLimits(workspace_entries_max=0), "a", "effect.workspace_full", "workspace_entries_max"),
        (EffectLimits(workspace_directories_max=1), "x/y/c", "effect.workspace_full", "workspace_directories_max"),
        (EffectLimits(workspace_bytes_max=4), "a", "effect.workspace_full", "workspace_bytes_max"),
    ]
    for limits, path, code, name in cases:
        got, message = await said(limits, path)
        assert (got, name in message) == (code, True), message
    await perform(pool, workspace, "file.write", DEFAULT_LIMITS, path="a", content="12345")
    got, message = await refusal(pool, workspace, "file.read", EffectLimits(file_read_bytes_max=4), path="a")
    assert (got, "file_read_bytes_max" in message) == ("effect.too_large", True)
    assert workspace.usage.bytes == 5


async def test_writers_at_the_limit_share_what_is_left(pool: BlockingPool, tmp_path: Path) -> None:
    """Of many at once as many succeed as fit, by number and by bytes, and what the disk has is what is counted."""
    workspace = Workspaces.open(tmp_path).create("m1", KEY)
    limits = EffectLimits(workspace_entries_max=5, workspace_bytes_max=40)
    outcomes = await asyncio.gather(
        *(perform(pool, workspace, "file.write", limits, path=f"f{at}", content="0123456789") for at in range(20)),
        return_exceptions=True,
    )
    done = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    codes = {outcome.code for outcome in outcomes if isinstance(outcome, EffectError)}
    assert len(done) == len(list(workspace.path.iterdir())) == workspace.usage.entries == 4
    assert codes == {"effect.workspace_full"}
    assert workspace.usage.bytes == 40


async def test_a_restart_counts_files_directories_and_bytes(pool: BlockingPool, tmp_path: Path) -> None:
    """What an earlier process left stands against the limits of the next."""
    workspaces = Workspaces.open(tmp_path, limits=WorkspaceLimits(entries_max=4, directories_max=2, bytes_max=100))
    first = workspaces.create("m1", KEY)
    await perform(pool, first, "file.write", DEFAULT_LIMITS, path="a/b/c", content="x" * 60)
    first.close()
    again = workspaces.reopen("m1", KEY)
    assert (again.usage.entries, again.usage.directories, again.usage.bytes) == (3, 2, 60)
    assert (await refusal(pool, again, "file.write", DEFAULT_LIMITS, path="d/e", content=""))[
        0
    ] == "effect.workspace_full"
    assert (
        "workspace_bytes_max"
        in (await refusal(pool, again, "file.write", DEFAULT_LIMITS, path="f", content="x" * 41))[1]
    )
    await perform(pool, again, "file.write", DEFAULT_LIMITS, path="f", content="x" * 40)


async def test_a_large_file_is_read_as_a_blob_and_written_from_one(pool: BlockingPool, tmp_path: Path) -> None:
    """The outcome holds the reference; what is written from it is the same content."""
    workspace = Workspaces.open(tmp_path).create("m1", KEY)
    content = "é" * 50_000
    await perform(pool, workspace, "file.write", DEFAULT_LIMITS, path="a", content=content)
    read = await perform(pool, workspace, "file.read", DEFAULT_LIMITS, path="a")
    assert read["content"] == {"$blob": f"sha256:{read['sha256']}", "size": 100_000}
    written = await perform(pool, workspace, "file.write", DEFAULT_LIMITS, path="b", content=read["content"])
    assert written == {"path": "b", "bytes": 100_000, "sha256": read["sha256"]}
    assert (workspace.path / "b").read_text() == content
