"""What an audited event costs, beside one fsync for each event in the same run, and how fast a million verify.

Run it: `python -m benchmarks.bench_audit`. It writes to the temporary directory, or to the one of TMPDIR: put that on
the disk that is meant.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
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
from benchmarks.timing import FULL, Effort, Timing, Work, costs_in_turn, in_turn, in_turn_async, lap
from engine.audit.errors import AuditUnavailableError
from engine.audit.files import SystemFiles
from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.audit.stored import StoredLog
from engine.audit.verify import verify_log
from engine.clock import SystemClock
from engine.values import JsonObject

TITLE: Final = "audit: events that are signed and durable"
BATCH = 64
BATCHES = 200
BATCH_SIZES = (1, 8, 512)  # beside BATCH
SIZED_EVENTS = 4_096
PROOFS = 200
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


async def batched(log: AuditLog, size: int = BATCH, batches: int = BATCHES) -> None:
    """Append a batch, wait until it is acknowledged, and again."""
    for _ in range(batches):
        for _ in range(size - 1):
            append(log)
        await log.durable(append(log))


async def cosign(log: AuditLog) -> None:
    """Take each checkpoint for witnessed at once: what the level costs without the network that it waits for."""
    with contextlib.suppress(AuditUnavailableError):  # the log was closed
        covered = await log.covered(-1)
        while True:
            log.accept_witnessed(covered.size, covered.note)
            covered = await log.covered(covered.size)


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

    floor, one, crowd = await costs_in_turn(
        effort,
        Work(plain, SINGLES),
        Work(partial(batched, log), BATCH * BATCHES),
        Work(partial(concurrent, log), PRODUCERS * BATCH * BATCHES),
    )
    each = "one fsync per event, unsigned"
    against = partial(timed_row, against=each, peer=floor.wall)
    yield against(f"append, batches of {BATCH}, one producer", "events/s", one.wall, target=20_000)
    yield against(f"append, batches of {BATCH}, {PRODUCERS} producers", "events/s", crowd.wall)
    yield timed_row(
        f"CPU of an event, batches of {BATCH}", "µs", one.cpu, against="the same without signature", peer=floor.cpu
    )
    for size in BATCH_SIZES:
        batches = min(SIZED_EVENTS // size, SINGLES)
        (sized,) = await in_turn_async(effort, Work(partial(batched, log, size, batches), size * batches))
        yield against(f"append, batches of {size}, one producer", "events/s", sized)
    yield against(f"append, batches of {BATCH}, level witnessed", "events/s", await witnessed(folder, signer, effort))
    alone = await singles(log)
    yield against("a single event, until durable", "ms", Timing.of(alone))
    yield Row(what="a single event, until durable, 99 of 100", ours=quantiles(alone, n=100)[98] * 1e3, unit="ms")
    yield timed_row("append, of the caller's thread", "µs", await append_only(log, effort))
    await log.close()


async def witnessed(folder: Path, signer: Ed25519Signer, effort: Effort) -> Timing:
    """Return what an event takes where acknowledgements wait for a cosigned checkpoint on the disk as well."""
    log = AuditLog.open(folder / "witnessed", signer=signer, clock=SystemClock(), level="witnessed")
    witness = asyncio.create_task(cosign(log))
    (timing,) = await in_turn_async(effort, Work(partial(batched, log), BATCH * BATCHES))
    await log.close()
    await witness
    return timing


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


async def open_and_close(directory: Path, signer: Ed25519Signer) -> None:
    await AuditLog.open(directory, signer=signer, clock=SystemClock()).close()


async def reading_rows(directory: Path, signer: Ed25519Signer, effort: Effort) -> AsyncIterator[Row]:
    """Measure a start of a large log, and proofs of it."""
    (start,) = await in_turn_async(effort, Work(partial(open_and_close, directory, signer), 1))
    unsealed = directory.with_name("unsealed")
    shutil.copytree(directory, unsealed)
    shutil.rmtree(unsealed / "seals")
    one_segment(unsealed)
    (whole,) = await in_turn_async(replace(effort, rounds=1), Work(partial(open_and_close, unsealed, signer), 1))
    yield timed_row(
        f"start of a log of {VERIFIED_EVENTS:,} events", "s", start, against="reading all of its lines", peer=whole
    )
    stored = StoredLog.open(directory)
    seqs = range(0, stored.size, stored.size // PROOFS)
    (proof,) = in_turn(effort, Work(lambda: [stored.prove_inclusion(seq) for seq in seqs], len(seqs)))
    yield timed_row(f"inclusion proof, one of {VERIFIED_EVENTS:,}", "ms", proof)


def one_segment(directory: Path) -> None:
    """Put all lines into one segment, as they would be without rotation."""
    first, *others = sorted((directory / "segments").iterdir())
    with first.open("ab") as file:
        for path in others:
            with path.open("rb") as other:
                shutil.copyfileobj(other, file)
            path.unlink()


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
        async for row in reading_rows(folder / "large", signer, effort):
            yield row


if __name__ == "__main__":
    raise SystemExit(main(only="audit"))
