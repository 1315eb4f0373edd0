"""Fail the n-th system call, pull the plug at the n-th, kill the process at any moment; then check the promises.

The promises: what was acknowledged is there, in order and signed; the log opens again and verifies; after a failure
nothing is acknowledged, nothing is retried, nothing is signed.
"""

import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from engine.audit.checkpoint import open_checkpoint
from engine.audit.errors import AuditUnavailableError
from engine.audit.keys import VerifierKey
from engine.audit.verify import verify_log
from engine.audit.writer import AuditLimits
from tests.audit_logs import VKEY, append, lines, open_log
from tests.depth import times
from tests.disks import LOSSES, FailingFiles, Loss, UnpluggedFiles

KEY = VerifierKey.parse(VKEY)
EVENTS = 6
ROTATING = AuditLimits(segment_bytes_max=800)  # a batch or two end a segment


async def use(directory: Path, files: FailingFiles, limits: AuditLimits) -> list[int]:
    """Open, append, wait; return the acknowledged numbers. Stops at the first fault, and checks that it is final."""
    acknowledged: list[int] = []
    try:
        log = open_log(directory, files=files, limits=limits)
    except AuditUnavailableError:
        return acknowledged
    closing = False
    try:
        for number in range(EVENTS):
            seq = append(log, number)
            if number % 2:
                await log.durable(seq)
                acknowledged += [number - 1, number]
        closing = True
        await log.close()
    except AuditUnavailableError:
        calls = files.calls
        with pytest.raises(AuditUnavailableError):
            append(log, 99)
        with pytest.raises(AuditUnavailableError):
            await log.durable(log.size)
        if not closing:  # a second call does nothing
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


@pytest.mark.parametrize("rotating", [False, True])
@pytest.mark.parametrize("recovering", [False, True])
async def test_every_failing_call_stops_the_log_and_loses_nothing(
    tmp_path: Path, recovering: bool, rotating: bool
) -> None:
    """For each n, the n-th call fails: the log stops for good, and all that it acknowledged is there afterwards."""
    template = tmp_path / "template"
    if recovering:
        await prepared(template)
    for fail_at in range(1_000):
        directory = tmp_path / str(fail_at)
        if recovering:
            shutil.copytree(template, directory)
        files = FailingFiles(fail_at)
        acknowledged = await use(directory, files, ROTATING if rotating else AuditLimits())
        await check_promises(directory, acknowledged)
        if files.calls <= fail_at:
            break
    assert fail_at > 30
    assert acknowledged == list(range(EVENTS))
    assert {"write", "fdatasync", "fsync", "replace", "open_append", "create"} <= set(files.log)
    assert recovering is ("truncate" in files.log)
    assert rotating is (len(list((directory / "seals").glob("*.seal"))) > 1)


@pytest.mark.parametrize("rotating", [False, True])
@pytest.mark.parametrize("names_last", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_a_power_cut_at_every_call_loses_nothing(
    tmp_path: Path, loss: Loss, names_last: bool, rotating: bool
) -> None:
    """For each n, the power goes at the n-th call, with what was not synced: all that was acknowledged survives."""
    template = tmp_path / "template"
    await prepared(template)
    # Each call is met by some of the eight ways to lose, and in fuzz by all; a log that rotates has thrice the calls.
    step = times(8 if rotating else 3, 1)
    first = (2 * list(LOSSES.values()).index(loss) + names_last) % step
    for fail_at in range(first, 1_000, step):
        for recovering in (True,) if rotating else (False, True):
            directory = tmp_path / f"{fail_at}-{recovering}"
            if recovering:
                shutil.copytree(template, directory)
            files = UnpluggedFiles(fail_at, loss, names_last=names_last)
            acknowledged = await use(directory, files, ROTATING if rotating else AuditLimits())
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
from engine.audit.writer import AuditLimits
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
    limits = AuditLimits(segment_bytes_max=100_000)
    log = AuditLog.open(Path(sys.argv[1]), signer=SIGNER, clock=SystemClock(), limits=limits)
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
            # Sometimes while it opens, too.
            first = b"".join(child.stdout.readline() for _ in range(10 if round_ % 5 else 0))
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
    assert len(list((directory / "seals").iterdir())) > 1
