"""What an audited event costs, beside one fsync for each event in the same run, and how fast a million verify.

Run it: `python -m benchmarks.bench_audit`. It writes to the temporary directory, or to the one of TMPDIR: put that on
the disk that is meant.
"""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

import orjson

from engine.audit.files import SystemFiles
from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.audit.verify import verify_log
from engine.clock import SystemClock
from engine.values import JsonObject

BATCH = 64
BATCHES = 400
SINGLES = 2_000
PRODUCERS = 8
ROUNDS = 3  # of each; the best counts: the machine may be busy with other things
VERIFIED_EVENTS = 1_000_000
DETAILS: JsonObject = {
    "mission_id": "0198c0de5eed7a11b0b5cafef00dd00d",
    "attempt": 1,
    "decision": {"allow": True, "bundle": "sha256:" + "ab" * 32, "reasons": []},
}


class Seconds:
    """Elapsed wall time of a `timed` block."""

    value = 0.0


@contextmanager
def timed() -> Iterator[Seconds]:
    """Measure the block."""
    seconds = Seconds()
    start = time.perf_counter()
    yield seconds
    seconds.value = time.perf_counter() - start


class NoSync(SystemFiles):
    """Leaves syncing to the kernel: only for making a large log to verify."""

    def fdatasync(self, fd: int) -> None:
        """Do nothing."""

    def fsync(self, fd: int) -> None:
        """Do nothing."""


def append(log: AuditLog) -> int:
    return log.append("step.completed", actor="subject-7f3a", target="mission/step-17", details=DETAILS)


async def batched(log: AuditLog) -> float:
    """Return events a second: append a batch, wait until it is signed and durable, and again."""
    with timed() as seconds:
        for _ in range(BATCHES):
            for _ in range(BATCH - 1):
                append(log)
            await log.durable(append(log))
    return BATCH * BATCHES / seconds.value


async def concurrent(log: AuditLog) -> float:
    """Return events a second with several producers, each waiting for its own batches."""
    with timed() as seconds:
        await asyncio.gather(*(batched(log) for _ in range(PRODUCERS)))
    return PRODUCERS * BATCH * BATCHES / seconds.value


async def single(log: AuditLog) -> list[float]:
    """Return the seconds that one event takes to be signed and durable, when nothing shares its commit."""
    moments = [time.perf_counter()]
    for _ in range(SINGLES):
        await log.durable(append(log))
        moments.append(time.perf_counter())
    return [after - before for before, after in pairwise(moments)]


async def append_only(log: AuditLog) -> float:
    """Return the seconds that `append` takes of its caller's thread."""
    count = 1_000
    with timed() as seconds:
        for _ in range(count):
            append(log)
    await log.durable(log.size)
    return seconds.value / count


def one_fsync_each(path: Path) -> float:
    """Return events a second of the plain way: a chained line, a write and an fdatasync for each, and no signature."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    previous = "0" * 64
    with timed() as seconds:
        for seq in range(SINGLES):
            line = orjson.dumps({"seq": seq, "details": DETAILS, "previous_hash": previous})
            previous = hashlib.sha256(line).hexdigest()
            os.write(fd, line + b"\n")
            os.fdatasync(fd)
    os.close(fd)
    return SINGLES / seconds.value


async def write_large(directory: Path, signer: Ed25519Signer) -> None:
    log = AuditLog.open(directory, signer=signer, clock=SystemClock(), files=NoSync())
    for number in range(1, VERIFIED_EVENTS):
        seq = append(log)
        if number % 10_000 == 0:
            await log.durable(seq)
    await log.close()


async def measure(folder: Path, signer: Ed25519Signer) -> None:
    log = AuditLog.open(folder / "log", signer=signer, clock=SystemClock())
    floor = max([one_fsync_each(folder / f"floor-{round_}") for round_ in range(ROUNDS)])
    together = max([await batched(log) for _ in range(ROUNDS)])
    crowd = await concurrent(log)
    alone = await single(log)
    call = min([await append_only(log) for _ in range(ROUNDS)])
    await log.close()
    print("audit append, signed and durable")
    print(f"  one fsync per event, unsigned (floor)  {floor:>9,.0f} events/s")
    print(f"  batch of {BATCH}, one producer            {together:>9,.0f} events/s   {together / floor:.1f} x")
    print(f"  batch of {BATCH}, {PRODUCERS} producers             {crowd:>9,.0f} events/s   {crowd / floor:.1f} x")
    print(f"  a single event: median {median(alone) * 1e3:.2f} ms, 99% {quantiles(alone, n=100)[98] * 1e3:.2f} ms")
    print(f"  append(), of the caller's thread: {call * 1e6:.1f} µs")


def main() -> None:
    """Print the table."""
    signer = Ed25519Signer.generate("bench.example/audit")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(measure(folder, signer))
        asyncio.run(write_large(folder / "large", signer))
        best = float("inf")
        for _ in range(ROUNDS):
            with timed() as seconds:
                report = verify_log(folder / "large", signer.verifier_key())
            assert report.ok, report
            assert report.events == VERIFIED_EVENTS
            best = min(best, seconds.value)
        with timed() as hashing:  # what no verifier can do without: three SHA-256 of each line, over the same bytes
            for path in sorted((folder / "large" / "segments").iterdir()):
                with path.open("rb") as file:
                    for line in file:
                        hashlib.sha256(line).digest()
                        hashlib.sha256(line).digest()
                        hashlib.sha256(line[:65]).digest()
    print(f"verification of {VERIFIED_EVENTS:,} events: {best:.2f} s, {best / VERIFIED_EVENTS * 1e6:.2f} µs an event")
    print(f"  its three hashes alone (floor): {hashing.value:.2f} s   {best / hashing.value:.1f} x the floor")


if __name__ == "__main__":
    main()
