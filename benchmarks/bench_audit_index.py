"""How fast the index of the log is built anew, and what a query of it takes beside a scan of the lines.

Run it: `python -m benchmarks.bench_audit_index`. It writes to the temporary directory, or to the one of TMPDIR.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, in_turn
from engine.audit.record import seal
from engine.values import JsonObject
from gateway.auditing.facts import facts_of
from gateway.auditing.filters import EventFilter
from gateway.auditing.index import LogIndex
from gateway.auditing.index_reader import IndexReader
from gateway.auditing.segments import SegmentFiles

TITLE: Final = "audit index: built anew, and asked"
EVENTS = 100_000
STEPS = 20  # events of a mission
ROUNDS_MAX = 3  # of some seconds each
BEGAN: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
TYPES: Final = ("step.allowed", "effect.allowed", "effect.intended", "effect.performed", "step.ended")
DETAILS: Final[JsonObject] = {"document": "sha256:" + "ab" * 32, "bundle": "sha256:" + "cd" * 32}


def write_log(directory: Path) -> None:
    """Write lines as a gateway does, in one segment; nothing is signed, since nobody verifies here."""
    folder = directory / "segments"
    folder.mkdir(parents=True)
    previous = "0" * 64
    with (folder / f"{0:020d}.jsonl").open("wb") as file:
        for seq in range(EVENTS):
            mission = f"0198c0de-5eed-7a11-b0b5-{seq // STEPS:012d}"
            first = seq % STEPS == 0
            told: JsonObject = {"tenant": "default"} if first else {**DETAILS, "decision_id": f"{seq:032x}"}
            line, previous = seal(
                seq=seq,
                event_id=hashlib.sha256(b"%d" % seq).hexdigest()[:32],
                timestamp=(BEGAN + timedelta(milliseconds=seq)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                event_type="mission.admitted" if first else TYPES[seq % len(TYPES)],
                actor="default/ann",
                target=mission if first else f"{mission}/step-{seq % STEPS}",
                details=told,
                previous_hash=previous,
            )
            file.write(line + b"\n")


def rebuild(directory: Path) -> None:
    """Build the index anew."""
    with closing(LogIndex.open(directory)) as index:
        index.empty()
        index.catch_up(EVENTS)


def parse(directory: Path) -> None:
    """Do what no index can do without: parse each line."""
    for _, line in SegmentFiles(directory).lines(0, EVENTS):
        orjson.loads(line)


def asked(directory: Path, wanted: EventFilter) -> int:
    """Return how many events the index finds."""
    with closing(IndexReader.open(directory)) as reader:
        page = reader.page(wanted, 0, EVENTS, EVENTS)
        return len(SegmentFiles(directory).lines_at(page.places))


def scanned(directory: Path, wanted: EventFilter) -> int:
    """Return how many events a scan finds."""
    return sum(wanted.matches(facts_of(line)) for _, line in SegmentFiles(directory).lines(0, EVENTS))


def rows(effort: Effort = FULL) -> Iterator[Row]:
    """Measure every figure."""
    fewer = replace(effort, rounds=min(effort.rounds, ROUNDS_MAX))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_log(directory)
        ours, floor = in_turn(fewer, Work(partial(rebuild, directory), EVENTS), Work(partial(parse, directory), EVENTS))
        yield timed_row("rebuild", "events/s", ours, against="parsing the lines alone", peer=floor)
        wanted = EventFilter(mission_id=f"0198c0de-5eed-7a11-b0b5-{7:012d}")
        assert asked(directory, wanted) == scanned(directory, wanted) == STEPS
        ours, floor = in_turn(
            fewer, Work(partial(asked, directory, wanted), 1), Work(partial(scanned, directory, wanted), 1)
        )
        yield timed_row(f"a mission among {EVENTS:,} events", "ms", ours, against="a scan", peer=floor)
        size = sum(path.stat().st_size for path in directory.glob("index.db*"))
        yield Row(what="the index on the disk, an event", ours=size / EVENTS, unit="bytes")


if __name__ == "__main__":
    raise SystemExit(main(only="audit_index"))
