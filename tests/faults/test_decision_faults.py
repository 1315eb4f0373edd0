"""Records of decisions when the machine fails: killed while it writes, a full disk, a damaged file."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from gateway.errors import StoreError
from tests.decision_records import Answers, Home, eventually
from tests.policy_documents import step

ROOT = Path(__file__).resolve().parents[2]

# Decides as fast as it can, and says the id of each decision that is recorded.
WORKLOAD = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from engine.clock import SystemClock
    from gateway.decisions.opening import DecisionSettings, decision_records
    from gateway.vault.master import MasterSource
    from tests.decision_records import Answers
    from tests.policy_documents import step

    async def main(home):
        settings = DecisionSettings(log_file=home / "log.ndjson", log_url="http://127.0.0.1:9")
        async with decision_records(home, settings, source=MasterSource(home), audit=None, clock=SystemClock()) as r:
            policy = r.around(Answers())
            for n in range(1_000_000):
                ids = [(await policy.decide("step", step("transform", {"n": n * 50 + k}))).id for k in range(50)]
                await r.recorder.settled()
                os.write(1, "".join(i + "\\n" for i in ids).encode())

    asyncio.run(main(Path(sys.argv[1])))
    """
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def killed_workload(home: Home, seconds: float) -> list[str]:
    """Run the workload, kill it so long after its first decision, and return the ids that it has said."""
    process = subprocess.Popen(  # noqa: TID251 - a gateway's part that is killed
        [sys.executable, "-c", WORKLOAD, str(home.path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    with process.stdout as output:
        first = output.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        said = first + output.read()
    process.wait()
    return [line for line in said.decode().split("\n")[:-1] if len(line) == 32]


async def test_what_is_recorded_survives_kill_9(home: Home) -> None:
    """Five times: every decision that was recorded opens, the rest is whole or not there, no line is torn."""
    said: list[str] = []
    for run in range(5):
        said += await asyncio.to_thread(killed_workload, home, 0.05 * run + 0.01)
        async with home.open(log_file=home.path / "log.ndjson", log_url="http://127.0.0.1:9") as records:
            said.append((await records.around(Answers()).decide("step", step("transform", {"run": run}))).id)
    found = [each.id for each in home.opened()]
    assert set(said) <= set(found)
    assert len(found) == len(set(found))
    lines = [orjson.loads(line)["decision_id"] for line in (home.path / "log.ndjson").read_bytes().split(b"\n")[:-1]]
    assert set(said) <= set(lines)
    with closing(sqlite3.connect(home.database)) as connection:
        waiting = [row[0] for row in connection.execute("SELECT id FROM outbox ORDER BY seq")]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert waiting == found
    assert len(said) > 200


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, for which it needs root")
async def test_a_full_disk_is_a_no_and_room_makes_it_a_yes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tmpfs of two megabytes: nothing that was decided is lost, and decisions go on once there is room."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.02)
    small = tmp_path / "small"
    small.mkdir()
    if not await asyncio.to_thread(mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)):
        pytest.skip("this machine mounts nothing")
    try:
        home = Home(small / "home")
        told = []
        async with home.open(log_file=home.path / "log.ndjson") as records:
            policy = records.around(Answers())
            for number in range(3_000):
                decision = await policy.decide("step", step("transform", {"n": number, "text": os.urandom(700).hex()}))
                if not decision.allow:
                    break
                told.append(decision.id)
                await records.recorder.settled()
            assert records.recorder.broken in {"store.full", "decisions.log_file", "store.unavailable"}
            assert [reason.code for reason in decision.reasons] == ["policy.unrecorded"]
            assert await asyncio.to_thread(mount, "-o", "remount,size=64m", str(small))
            await eventually(lambda: not records.recorder.broken)
            told.append((await policy.decide("step", step("transform", {}))).id)
        assert [each.id for each in home.opened()] == told
        lines = (home.path / "log.ndjson").read_bytes().splitlines()
        assert [orjson.loads(line)["decision_id"] for line in lines] == told
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(small)], check=False, capture_output=True)


async def test_a_file_that_may_not_grow_is_a_full_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself says so (SQLITE_FULL): the decision is kept, others are denied, and room is found again."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.02)
    async with home.open() as records:
        policy = records.around(Answers())
        await policy.decide("step", step("transform", {}))
        await records.recorder.settled()
        await records.recorder.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
        large = step("transform", {"text": os.urandom(50_000).hex()})
        kept = await policy.decide("step", large)
        await records.recorder.settled()
        assert records.recorder.broken == "store.full"
        assert not (await policy.decide("step", large)).allow
        await records.recorder.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        await eventually(lambda: not records.recorder.broken)
    assert [each.id for each in home.opened()][1:] == [kept.id]


async def test_a_damaged_page_is_never_read_as_something_else(home: Home) -> None:
    """Bytes of the file turned over, one at a time: rows open as they were, or are told, or the file is refused."""
    async with home.open() as records:
        policy = records.around(Answers())
        for number in range(3):
            await policy.decide("step", step("transform", {"n": number}))
    whole = home.database.read_bytes()
    good = {each.id: each for each in home.opened()}
    said = {"opened": 0, "told": 0, "refused": 0}
    for at in range(0, len(whole), 97):
        home.database.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = home.read()
        except StoreError:  # anything else fails the test
            said["refused"] += 1
            continue
        for each in found:
            if each in good.values():
                said["opened"] += 1
            else:
                assert hasattr(each, "why"), f"byte {at}"
                said["told"] += 1
    assert all(said.values()), said
