"""What an audited event costs, beside one fsync for each event in the same run, and how fast a million verify.

Run it: `python -m benchmarks.bench_audit`. It writes to the temporary directory, or to the one of TMPDIR: put that on
the disk that is meant.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Final

import orjson

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, Work, in_turn, in_turn_async, lap
from engine.audit.files import SystemFiles
from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.audit.verify import verify_log
from engine.clock import SystemClock
from engine.values import JsonObject

TITLE: Final = "audit: events that are signed and durable"
BATCH = 64
BATCHES = 200
SINGLES = 1_000
APPENDS = 1_000
PRODUCERS = 8
VERIFIED_EVENTS = 1_000_000
VERIFY_ROUNDS_MAX = 3  # of six seconds each
DETAILS: JsonObject = {
    "mission_id": "0198c0de5eed7a11b0b5cafef00dd00d",
    "attempt": 1,
    "decision": {"allow": True, "bundle": "sha256:" + "ab" * 32, "reasons": []},
}


class NoSync(SystemFiles):
    """Leaves syncing to the kernel: only for making a large log to verify."""

    def fdatasync(self, fd: int) -> None:
        """Do nothing."""

    def fsync(self, fd: int) -> None:
        """Do nothing."""


def append(log: AuditLog) -> int:
    return log.append("step.completed", actor="subject-7f3a", target="mission/step-17", details=DETAILS)


async def batched(log: AuditLog) -> None:
    """Append a batch, wait until it is signed and durable, and again."""
    for _ in range(BATCHES):
        for _ in range(BATCH - 1):
            append(log)
        await log.durable(append(log))


async def concurrent(log: AuditLog) -> None:
    """Let several producers wait for their own batches."""
    await asyncio.gather(*(batched(log) for _ in range(PRODUCERS)))


async def singles(log: AuditLog) -> list[float]:
    """Return the seconds that each event takes to be signed and durable, when nothing shares its commit."""
    taken = []
    for _ in range(SINGLES):
        with lap() as this:
            await log.durable(append(log))
        taken.append(this.wall)
    return taken


async def append_only(log: AuditLog, effort: Effort) -> Timing:
    """Return what `append` takes of its caller's thread."""
    taken = []
    for _ in range(effort.rounds):
        with lap() as this:
            for _ in range(APPENDS):
                append(log)
        await log.durable(log.size)
        taken.append(this.wall)
    return Timing.of(taken, APPENDS)


def one_fsync_each(path: Path) -> None:
    """Write events the plain way: a chained line, a write and an fdatasync for each, and no signature."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    previous = "0" * 64
    for seq in range(SINGLES):
        line = orjson.dumps({"seq": seq, "details": DETAILS, "previous_hash": previous})
        previous = hashlib.sha256(line).hexdigest()
        os.write(fd, line + b"\n")
        os.fdatasync(fd)
    os.close(fd)


async def append_rows(folder: Path, signer: Ed25519Signer, effort: Effort) -> AsyncIterator[Row]:
    """Measure the writer."""
    log = AuditLog.open(folder / "log", signer=signer, clock=SystemClock())
    numbers = count()

    async def plain() -> None:
        one_fsync_each(folder / f"plain-{next(numbers)}")

    floor, one, crowd = await in_turn_async(
        effort,
        Work(plain, SINGLES),
        Work(partial(batched, log), BATCH * BATCHES),
        Work(partial(concurrent, log), PRODUCERS * BATCH * BATCHES),
    )
    each = "one fsync per event, unsigned"
    yield timed_row(
        f"append, batches of {BATCH}, one producer", "events/s", one, against=each, peer=floor, target=20_000
    )
    yield timed_row(f"append, batches of {BATCH}, {PRODUCERS} producers", "events/s", crowd, against=each, peer=floor)
    alone = await singles(log)
    yield timed_row("a single event, until durable", "ms", Timing.of(alone), against=each, peer=floor)
    yield Row(what="a single event, until durable, 99 of 100", ours=quantiles(alone, n=100)[98] * 1e3, unit="ms")
    yield timed_row("append, of the caller's thread", "µs", await append_only(log, effort))
    await log.close()


async def write_large(directory: Path, signer: Ed25519Signer) -> None:
    log = AuditLog.open(directory, signer=signer, clock=SystemClock(), files=NoSync())
    for number in range(1, VERIFIED_EVENTS):
        seq = append(log)
        if number % 10_000 == 0:
            await log.durable(seq)
    await log.close()


def verify(directory: Path, vkey: str) -> None:
    report = verify_log(directory, vkey)
    assert report.ok, report
    assert report.events == VERIFIED_EVENTS


def hash_lines(directory: Path) -> None:
    """Do what no verifier can do without: three SHA-256 of each line, over the same bytes."""
    for path in sorted((directory / "segments").iterdir()):
        with path.open("rb") as file:
            for line in file:
                hashlib.sha256(line).digest()
                hashlib.sha256(line).digest()
                hashlib.sha256(line[:65]).digest()


def verify_rows(directory: Path, vkey: str, effort: Effort) -> Iterator[Row]:
    """Measure the verifier on a large log."""
    fewer = replace(effort, rounds=min(effort.rounds, VERIFY_ROUNDS_MAX))
    ours, floor = in_turn(fewer, Work(partial(verify, directory, vkey), 1), Work(partial(hash_lines, directory), 1))
    yield timed_row(
        f"verify {VERIFIED_EVENTS:,} events", "s", ours, against="its three hashes a line alone", peer=floor, target=5
    )


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    signer = Ed25519Signer.generate("bench.example/audit")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async for row in append_rows(folder, signer, effort):
            yield row
        await write_large(folder / "large", signer)
        for row in verify_rows(folder / "large", signer.verifier_key(), effort):
            yield row


if __name__ == "__main__":
    raise SystemExit(main(only="audit"))
