"""Fail the n-th system call, pull the plug at the n-th, kill the process at any moment; then check the promises.

The promises: what was acknowledged is there, in order and signed; the log opens again and verifies; after a failure
nothing is acknowledged, nothing is retried, nothing is signed.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from engine.audit.checkpoint import open_checkpoint
from engine.audit.errors import AuditUnavailableError
from engine.audit.files import SystemFiles
from engine.audit.keys import VerifierKey
from engine.audit.verify import verify_log
from tests.audit_logs import VKEY, append, lines, open_log

KEY = VerifierKey.parse(VKEY)
EVENTS = 6


class InjectedError(OSError):
    """EIO, as far as the log can tell."""


class FailingFiles(SystemFiles):
    """Fails the n-th call that changes the disk, after half of a write; and counts the calls.

    It does not sync: what would be lost without is `UnpluggedFiles`' to say, and the tests run in seconds.
    """

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at = fail_at
        self.calls = 0
        self.log: list[str] = []

    def _step(self, name: str) -> bool:
        self.log.append(name)
        self.calls += 1
        return self.calls - 1 == self.fail_at

    def _call(self, name: str) -> None:
        if self._step(name):
            raise InjectedError(5, name)

    def open_append(self, path: Path) -> int:
        self._call("open_append")
        return super().open_append(path)

    def create(self, path: Path) -> int:
        self._call("create")
        return super().create(path)

    def open_directory(self, path: Path) -> int:
        self._call("open_directory")
        return super().open_directory(path)

    def write(self, fd: int, data: bytes) -> None:
        if self._step("write"):
            os.write(fd, data[: len(data) // 2])
            raise InjectedError(28, "write")
        super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        del fd
        self._call("fdatasync")

    def fsync(self, fd: int) -> None:
        del fd
        self._call("fsync")

    def truncate(self, fd: int, size: int) -> None:
        self._call("truncate")
        super().truncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        self._call("replace")
        super().replace(source, target)

    def make_directory(self, path: Path) -> None:
        self._call("make_directory")
        super().make_directory(path)


Loss = Callable[[bytes, int], bytes]  # what is left of a file of which so many bytes were synced

LOSSES: dict[str, Loss] = {
    "all unsynced bytes": lambda content, synced: content[:synced],
    "half of them": lambda content, synced: content[: (synced + len(content)) // 2],
    "the bytes, not the size": lambda content, synced: content[:synced] + bytes(len(content) - synced),
    "nothing": lambda content, _: content,
}


class UnpluggedFiles(FailingFiles):
    """A disk whose power goes at the n-th call: what was not synced, names included, may be lost."""

    def __init__(self, fail_at: int, loss: Loss, *, names_last: bool) -> None:
        super().__init__(fail_at)
        self._loss = loss
        self._names_last = names_last
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}  # bytes that are safe
        self._cut: dict[Path, bytes] = {}  # truncated since their fdatasync: what was there before
        self._unsafe_names: dict[Path, bytes | None] = {}  # changed since their folder's fsync: what was there before

    def open_append(self, path: Path) -> int:
        if not path.exists():
            self._unsafe_names.setdefault(path, None)
        self._synced.setdefault(path, path.stat().st_size if path.exists() else 0)
        fd = super().open_append(path)
        self._paths[fd] = path
        return fd

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._paths[fd] = path
        self._synced[path] = 0
        return fd

    def open_directory(self, path: Path) -> int:
        fd = super().open_directory(path)
        self._paths[fd] = path
        return fd

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        path = self._paths[fd]
        self._synced[path] = path.stat().st_size
        self._cut.pop(path, None)

    def truncate(self, fd: int, size: int) -> None:
        path = self._paths[fd]
        before = path.read_bytes()
        super().truncate(fd, size)
        self._cut[path] = before
        self._synced[path] = size

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        for path in [path for path in self._unsafe_names if path.parent == self._paths[fd]]:
            del self._unsafe_names[path]

    def replace(self, source: Path, target: Path) -> None:
        before = target.read_bytes() if target.exists() else None
        super().replace(source, target)
        self._unsafe_names.setdefault(target, before)
        self._synced[target] = self._synced.pop(source)

    def make_directory(self, path: Path) -> None:
        missing = not path.exists()
        super().make_directory(path)
        if missing:
            self._unsafe_names[path] = None

    def close(self, fd: int) -> None:
        super().close(fd)
        self._paths.pop(fd, None)

    def pull_the_plug(self) -> None:
        """Leave on the disk what a power cut may leave."""
        for path, synced in self._synced.items():
            if path.exists():
                path.write_bytes(self._loss(path.read_bytes(), synced))
        if self._names_last:
            return
        for path, content in self._cut.items():
            path.write_bytes(content)
        for path, before in self._unsafe_names.items():
            if path.is_dir():
                shutil.rmtree(path)
            elif before is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(before)


async def use(directory: Path, files: FailingFiles) -> list[int]:
    """Open, append, wait; return the acknowledged numbers. Stops at the first fault, and checks that it is final."""
    acknowledged: list[int] = []
    try:
        log = open_log(directory, files=files)
    except AuditUnavailableError:
        return acknowledged
    try:
        for number in range(EVENTS):
            seq = append(log, number)
            if number % 2:
                await log.durable(seq)
                acknowledged += [number - 1, number]
        await log.close()
    except AuditUnavailableError:
        calls = files.calls
        with pytest.raises(AuditUnavailableError):
            append(log, 99)
        with pytest.raises(AuditUnavailableError):
            await log.durable(log.size)
        with pytest.raises(AuditUnavailableError):
            await log.close()
        assert files.calls == calls, "nothing is tried again after a failure"
        assert open_checkpoint(log.checkpoint(), KEY).size == log.size
    return acknowledged


def recorded(directory: Path) -> list[int]:
    """Return the numbers that are on the disk, in order."""
    events = [orjson.loads(line) for line in lines(directory)]
    return [event["details"]["n"] for event in events if event["event_type"] == "step.completed"]


async def check_promises(directory: Path, acknowledged: list[int]) -> None:
    """Open the log on a sound disk, go on with it, and compare."""
    log = open_log(directory, files=FailingFiles())
    await log.durable(append(log, 1_000))
    await log.close()
    found = recorded(directory)
    assert found[: len(acknowledged)] == acknowledged
    assert found == [*range(len(found) - 1), 1_000]
    report = verify_log(directory, VKEY)
    assert report.ok, report


async def prepared(directory: Path) -> None:
    """Leave a log with a torn tail, so that the next opening has to recover."""
    log = open_log(directory)
    await log.close()
    with (directory / "segments" / f"{0:020d}.jsonl").open("ab") as file:
        file.write(b'{"seq":1,"torn')


@pytest.mark.parametrize("recovering", [False, True])
async def test_every_failing_call_stops_the_log_and_loses_nothing(tmp_path: Path, recovering: bool) -> None:
    """For each n, the n-th call fails: the log stops for good, and all that it acknowledged is there afterwards."""
    template = tmp_path / "template"
    if recovering:
        await prepared(template)
    for fail_at in range(1_000):
        directory = tmp_path / str(fail_at)
        if recovering:
            shutil.copytree(template, directory)
        files = FailingFiles(fail_at)
        acknowledged = await use(directory, files)
        await check_promises(directory, acknowledged)
        if files.calls <= fail_at:
            break
    assert fail_at > 30
    assert acknowledged == list(range(EVENTS))
    assert {"write", "fdatasync", "fsync", "replace", "open_append", "create"} <= set(files.log)
    assert recovering is ("truncate" in files.log)


@pytest.mark.parametrize("names_last", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_a_power_cut_at_every_call_loses_nothing(tmp_path: Path, loss: Loss, names_last: bool) -> None:
    """For each n, the power goes at the n-th call, with what was not synced: all that was acknowledged survives."""
    template = tmp_path / "template"
    await prepared(template)
    for fail_at in range(1_000):
        for recovering in (False, True):
            directory = tmp_path / f"{fail_at}-{recovering}"
            if recovering:
                shutil.copytree(template, directory)
            files = UnpluggedFiles(fail_at, loss, names_last=names_last)
            acknowledged = await use(directory, files)
            files.pull_the_plug()
            await check_promises(directory, acknowledged)
        if files.calls <= fail_at:
            break
    assert fail_at > 30


async def test_a_second_failure_during_recovery_loses_no_quarantine(tmp_path: Path) -> None:
    """However often an opening fails on its way, the torn bytes are kept, and told of by the first that succeeds."""
    template = tmp_path / "template"
    await prepared(template)
    for fail_at in range(40):
        directory = tmp_path / str(fail_at)
        shutil.copytree(template, directory)
        files = FailingFiles(fail_at)
        try:
            await open_log(directory, files=files).close()
        except AuditUnavailableError:
            await open_log(directory, files=FailingFiles()).close()
        event = next(e for e in map(orjson.loads, lines(directory)) if e["event_type"] == "audit.recovered")
        kept = [(directory / item["file"]).read_bytes() for item in event["details"]["dropped"]]
        assert b'{"seq":1,"torn' in kept


CHILD = """
import asyncio, sys
from pathlib import Path
from tests.audit_logs import SIGNER
from engine.audit.log import AuditLog
from engine.clock import SystemClock

async def work(log, worker):
    number = 0
    while True:
        seq = log.append("step.completed", actor="child", target="t", details={"worker": worker, "n": number})
        if number % 3 == 0:
            await log.durable(seq)
            sys.stdout.write(f"{seq} {worker} {number}\\n")
            sys.stdout.flush()
        number += 1

async def main():
    log = AuditLog.open(Path(sys.argv[1]), signer=SIGNER, clock=SystemClock())
    await asyncio.gather(*(work(log, worker) for worker in range(8)))

asyncio.run(main())
"""


async def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """A process that is killed while it writes, fifteen times over the same log: each acknowledged event is there."""
    directory = tmp_path / "log"
    acknowledged: dict[int, tuple[int, int]] = {}
    for round_ in range(15):
        with subprocess.Popen(  # noqa: TID251, ASYNC220 - the very thing under test is a process that dies
            [sys.executable, "-c", CHILD, str(directory)], stdout=subprocess.PIPE, cwd=Path.cwd()
        ) as child:
            assert child.stdout is not None
            first = child.stdout.readline() if round_ % 5 else b""  # sometimes while it opens, too
            time.sleep(secrets.randbelow(40 if round_ % 5 else 400) / 1_000)  # noqa: ASYNC251 - nothing else runs in this test
            child.send_signal(signal.SIGKILL)
            said = first + child.stdout.read()
        for line in said.split(b"\n")[:-1]:  # the last may be cut
            seq, worker, number = map(int, line.split())
            acknowledged[seq] = (worker, number)
        log = open_log(directory)
        await log.close()
        report = verify_log(directory, VKEY)
        assert report.ok, report
        events = [orjson.loads(line) for line in lines(directory)]
        for seq, (worker, number) in acknowledged.items():
            assert events[seq]["details"]["worker"] == worker
            assert events[seq]["details"]["n"] == number
    assert len(acknowledged) > 100
