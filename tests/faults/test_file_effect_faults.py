"""file.write when the gateway is killed: a name holds a whole content or is not there."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from gateway.effects.workspace import Workspaces

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 500_000

# Replaces one file and creates others as fast as it can; each content is one letter many times over.
WORKLOAD = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from gateway.effects.blocking import BlockingPool
    from gateway.effects.files import FileLimits, FileWrite
    from gateway.effects.performer import EffectRequest, EffectScope
    from gateway.effects.workspace import WorkspaceLimits, Workspaces

    async def main(home, run, size):
        limits = WorkspaceLimits(entries_max=10**6, bytes_max=10**12)
        scope = EffectScope(workspace=Workspaces.open(Path(home), limits=limits).create(f"run{run}", bytes(32)),
                            mission_id="m", step_id="s")
        write = FileWrite(BlockingPool("files", threads=4, waiting_max=64), FileLimits())

        async def put(path, content, mode):
            args = {"path": path, "content": content, "mode": mode}
            await write.perform(EffectRequest(op="file.write", args=args, key="k", timeout_seconds=60.0), scope)
            os.write(1, path.encode() + b"\\n")

        for n in range(1_000_000):
            letter = "ab"[n % 2] * int(size)
            await asyncio.gather(put("same", letter, "replace"), put(f"d{n}/new", letter, "create"))

    asyncio.run(main(*sys.argv[1:]))
    """
)


async def test_no_part_of_a_file_is_ever_seen(tmp_path: Path) -> None:
    """Killed at any moment: every file is whole, every acknowledged one is there, half-written ones go at the start."""
    for run in range(6):
        acknowledged = await asyncio.to_thread(killed_workload, tmp_path, run)
        assert_whole(tmp_path / f"workspaces/run{run}", acknowledged)
        Workspaces.open(tmp_path).close()
        assert_staging_is_empty(tmp_path)


def assert_whole(workspace: Path, acknowledged: set[str]) -> None:
    files = [entry for entry in workspace.rglob("*") if entry.is_file()]
    for file in files:
        content = file.read_bytes()
        assert content in (b"a" * SIZE, b"b" * SIZE), file
    assert acknowledged
    assert acknowledged <= {str(file.relative_to(workspace)) for file in files}


def assert_staging_is_empty(home: Path) -> None:
    assert list((home / "workspaces/.staging").iterdir()) == []


def killed_workload(home: Path, run: int) -> set[str]:
    """Run the workload, kill it some time after its first acknowledgement, and return what it had acknowledged."""
    command = [sys.executable, "-c", WORKLOAD, str(home), str(run), str(SIZE)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:  # noqa: TID251 - a test kills it
        if process.stdout is None:
            raise RuntimeError
        head = process.stdout.readline()
        time.sleep(0.011 * run)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
    lines = (head + rest).split(b"\n")[:-1]  # what follows the last line feed was not said whole
    return {line.decode() for line in lines}
