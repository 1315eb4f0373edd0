"""One export: in order, at least once, from where the cursor says, past gaps that are told, and never a wrong log's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import StoreError
from gateway.exporting import batches
from gateway.exporting.cursors import Cursor
from gateway.exporting.export import Export
from gateway.exporting.sinks import TooLargeError
from gateway.exporting.type_filter import TypeFilter
from tests.decision_records import eventually
from tests.exports import MemoryLog, MemorySink, cursor_file, export


@asynccontextmanager
async def running(made: Export, drain_seconds: float = 0.0) -> AsyncIterator[Export]:
    made.start()
    try:
        yield made
    finally:
        await made.close(drain_seconds)


async def test_events_are_delivered_in_order_and_the_cursor_follows(tmp_path: Path) -> None:
    """Those that are there, in batches, and then each as it comes."""
    log, sink = MemoryLog(10), MemorySink()
    async with running(export(log, sink, tmp_path)) as made:
        await eventually(lambda: made.next_seq == 10)
        await log.grow(2)
        await eventually(lambda: made.next_seq == 12)
        assert (made.state.lag_events, made.state.delivered, made.state.last_error) == (0, 12, "")
    assert sink.seqs == list(range(12))
    assert max(sink.sizes) == 4
    assert sink.closed
    assert cursor_file(tmp_path).read() == Cursor(11, orjson.loads(log.lines[11])["hash"])


async def test_a_restart_goes_on_behind_the_cursor(tmp_path: Path) -> None:
    """Nothing twice where nothing was cut short; what came meanwhile is caught up from the log."""
    log, sink = MemoryLog(3), MemorySink()
    async with running(export(log, sink, tmp_path), 5.0):
        pass
    await log.grow(5)
    async with running(export(log, sink, tmp_path), 5.0):
        pass
    assert sink.seqs == list(range(8))


async def test_only_what_a_checkpoint_covers_is_told(tmp_path: Path) -> None:
    """A line that no checkpoint covers yet may still vanish in a crash."""
    log, sink = MemoryLog(2), MemorySink()
    log.append("step.ended", actor="a", target="m", details={})
    async with running(export(log, sink, tmp_path)) as made:
        await eventually(lambda: made.next_seq == 2)
        assert sink.seqs == [0, 1]
        await log.durable(2)
        await eventually(lambda: made.next_seq == 3)
    assert sink.seqs == [0, 1, 2]


async def test_a_sink_that_fails_gets_the_same_again(tmp_path: Path) -> None:
    """The cursor never passes what was not acknowledged, and the error is there to be asked for."""
    log = MemoryLog(6)
    failures = [OSError("gone")] * 3

    def answer(_: list[int]) -> None:
        if failures:
            raise failures.pop()

    sink = MemorySink(answer=answer)
    made = export(log, sink, tmp_path)
    async with running(made):
        await eventually(lambda: made.next_seq == 6)
        assert made.state.last_error == ""
    assert sink.sizes[:4] == [4, 4, 4, 4]
    assert sink.seqs == list(range(6))


async def test_a_sink_that_hangs_holds_up_nobody_and_no_memory(tmp_path: Path) -> None:
    """The log goes on, is not even read meanwhile, and the stop is as long as it may be, and no longer."""
    log = MemoryLog(4)
    never = asyncio.Event()
    sink = MemorySink(answer=lambda _: never.wait())
    async with running(export(log, sink, tmp_path), 0.01) as made:
        await eventually(lambda: sink.sizes)
        read = log.reads
        await log.grow(500)
        assert (log.reads, log.size) == (read, 504)
        assert made.state.lag_events == 504
    assert cursor_file(tmp_path).read() is None
    assert sink.closed


async def test_a_stop_delivers_what_there_is(tmp_path: Path) -> None:
    """The last events of a gateway are those of its stop."""
    log, sink = MemoryLog(1), MemorySink()
    async with running(export(log, sink, tmp_path), 60.0) as made:
        await eventually(lambda: made.next_seq == 1)
        await log.grow(20)
    assert sink.seqs == list(range(21))


async def test_a_filter_takes_and_leaves(tmp_path: Path) -> None:
    """What it leaves is not told, and the cursor passes it."""
    log, sink = MemoryLog(2), MemorySink()
    await log.grow(1, "rpc.denied")
    await log.grow(1, "step.refused")
    wanted = TypeFilter(include=("step.*", "rpc.denied"), exclude=("step.ended",))
    async with running(export(log, sink, tmp_path, wanted=wanted)) as made:
        await eventually(lambda: made.next_seq == 4)
    assert sink.seqs == [2, 3]


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        ((), (), True),
        (("step.ended",), (), True),
        (("step.*",), (), True),
        (("step",), (), False),
        (("*",), (), True),
        (("rpc.*",), (), False),
        (("step.*",), ("step.e*",), False),
    ],
)
def test_patterns_are_names_or_beginnings(include: tuple[str, ...], exclude: tuple[str, ...], *, taken: bool) -> None:
    """`exclude` goes before `include`."""
    assert TypeFilter(include=include, exclude=exclude).takes("step.ended") is taken


async def test_what_was_pruned_is_a_gap_that_the_log_is_told_of(tmp_path: Path) -> None:
    """Once: the range is in the log before the cursor passes it, and then it goes on with the oldest that is there."""
    log, sink = MemoryLog(3), MemorySink()
    async with running(export(log, sink, tmp_path), 5.0):
        pass
    await log.grow(7)
    log.prune_before(8)
    for _ in range(2):
        async with running(export(log, sink, tmp_path), 5.0):
            pass
    assert log.told("audit.export_gap") == [{"export": "siem", "first": 3, "last": 7, "reason": "pruned"}]
    assert sink.seqs == [0, 1, 2, 8, 9, 10]


async def test_a_new_export_begins_with_the_oldest_that_is_there(tmp_path: Path) -> None:
    """What was pruned before it was configured was never meant for it."""
    log, sink = MemoryLog(9), MemorySink()
    log.prune_before(4)
    async with running(export(log, sink, tmp_path), 5.0):
        pass
    assert sink.seqs == [4, 5, 6, 7, 8]
    assert log.told("audit.export_gap") == []


async def test_a_batch_that_is_too_large_is_halved_and_an_event_that_is_becomes_a_gap(tmp_path: Path) -> None:
    """Nothing else is lost by it, and batches grow again."""
    log = MemoryLog(9)

    def answer(seqs: list[int]) -> None:
        if len(seqs) > 2 or 5 in seqs:
            raise TooLargeError

    sink = MemorySink(answer=answer)
    async with running(export(log, sink, tmp_path)) as made:
        await eventually(lambda: made.next_seq == log.size)
    assert sink.seqs == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert log.told("audit.export_gap") == [{"export": "siem", "first": 5, "last": 5, "reason": "too_large"}]


def _other(tmp_path: Path, _: MemoryLog) -> None:
    cursor_file(tmp_path).write(Cursor(2, "f" * 64))


def _ahead(tmp_path: Path, log: MemoryLog) -> None:
    cursor_file(tmp_path).write(Cursor(99, orjson.loads(log.lines[2])["hash"]))


def _pruned(tmp_path: Path, log: MemoryLog) -> None:
    cursor_file(tmp_path).write(Cursor(2, "f" * 64))
    log.prune_before(3)


def _garbage(tmp_path: Path, _: MemoryLog) -> None:
    cursor_file(tmp_path).write(Cursor(2, "f" * 64))
    (tmp_path / "cursors" / "siem.cursor").write_bytes(b"missiongate audit cursor v1\nseq 02\n")


def _link(tmp_path: Path, _: MemoryLog) -> None:
    (tmp_path / "cursors").mkdir()
    (tmp_path / "cursors" / "siem.cursor").symlink_to(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("tampering", "code"),
    [
        (_other, "audit.cursor_mismatch"),
        (_ahead, "audit.cursor_mismatch"),
        (_pruned, "audit.cursor_mismatch"),
        (_garbage, "audit.cursor_unreadable"),
        (_link, "audit.cursor_unreadable"),
    ],
)
async def test_a_cursor_that_is_not_of_this_log_stops_the_export(
    tmp_path: Path, tampering: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An alarm, once: nothing is delivered, the log says so and goes on, and the cursor stays as evidence."""
    log, sink = MemoryLog(6), MemorySink()
    tampering(tmp_path, log)
    made = export(log, sink, tmp_path)
    async with running(made):
        await eventually(lambda: made.state.stopped)
        await log.grow(3)
    assert log.told("audit.export_stopped") == [{"export": "siem", "code": code}]
    assert sink.seqs == []
    assert made.state.last_error.startswith(code)
    assert "stops" in caplog.text


async def test_a_line_that_does_not_follow_stops_the_export(tmp_path: Path) -> None:
    """Somebody has put another line into the log's files while the gateway ran."""
    log, sink = MemoryLog(4), MemorySink()
    async with running(export(log, sink, tmp_path)) as made:
        await eventually(lambda: made.next_seq == 4)
        other = MemoryLog(1)
        await log.grow(2)
        log.lines[5] = other.lines[0]
        await log.grow(1)
        await eventually(lambda: made.state.stopped)
    assert sink.seqs[:4] == [0, 1, 2, 3]
    assert 5 not in sink.seqs


async def test_a_log_that_is_dead_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked again and again, and the operator's log has one line of it."""
    log, sink = MemoryLog(1), MemorySink()
    made = export(log, sink, tmp_path)
    log.dead = True
    async with running(made):
        await eventually(lambda: made.state.last_error)
        reads = log.reads
        await eventually(lambda: log.reads > reads + 3)
        assert "AuditUnavailableError" in made.state.last_error
    assert caplog.text.count("nothing is taken") == 1


async def test_a_batch_is_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event may be larger than the bound, and goes alone."""
    monkeypatch.setattr(batches, "BYTES_MAX", 10)
    log, sink = MemoryLog(3), MemorySink()
    async with running(export(log, sink, tmp_path, events_max=100), 5.0):
        pass
    assert sink.sizes == [1, 1, 1]


def test_a_cursor_is_read_strictly(tmp_path: Path) -> None:
    """What is written is read; nothing else is."""
    file = cursor_file(tmp_path)
    assert file.read() is None
    file.write(Cursor(7, "a" * 64))
    assert file.read() == Cursor(7, "a" * 64)
    path = tmp_path / "cursors" / "siem.cursor"
    assert path.stat().st_mode & 0o777 == 0o600
    for content in (b"", path.read_bytes() + b"\n", path.read_bytes().replace(b"seq 7", b"seq 07")):
        path.write_bytes(content)
        with pytest.raises(StoreError) as refused:
            file.read()
        assert refused.value.code == "audit.cursor_unreadable"
