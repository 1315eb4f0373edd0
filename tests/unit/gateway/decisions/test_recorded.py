"""Recording policy: every answer is recorded, whoever leaves; and where it cannot be, the answer is no."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.decisions.opening import DecisionRecords
from gateway.errors import StoreError
from gateway.policy.cache import CachedPolicy
from tests.decision_records import DIGEST, NO, Answers, Home, eventually
from tests.policy_documents import step

DOCUMENT = step("transform", {})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class Disk:
    """Stands before the writer of records: holds what it is given, or refuses it."""

    def __init__(self, records: DecisionRecords) -> None:
        self.writer = records.recorder._writer
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.tried = 0
        records.recorder._writer = self  # type: ignore[assignment]

    async def submit(self, operation: Any) -> Any:
        self.tried += 1
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return await self.writer.submit(operation)

    def close(self) -> None:
        self.writer.close()


async def test_every_decision_has_an_id_of_its_own(home: Home) -> None:
    """Also one that came from the cache; the answer itself is the engine's."""
    engine = Answers(lambda _: NO)
    async with home.open() as records:
        cached = CachedPolicy(engine, entries_max=10, deterministic=True)
        policy = records.around(cached)
        told = [await policy.decide("step", DOCUMENT) for _ in range(3)]
    assert (len(engine.asked), cached.hits, policy.digest) == (1, 2, DIGEST)
    assert [each.id for each in home.opened()] == [each.id for each in told]
    assert len({each.id for each in told}) == 3
    assert told == [NO] * 3


async def test_an_engine_that_is_cancelled_or_fails_leaves_its_place(home: Home) -> None:
    """There is no decision, and nothing is recorded."""

    def fail(document: bytes) -> Any:
        raise RuntimeError(document)

    async with home.open() as records:
        policy = records.around(Answers(fail))
        for _ in range(5):
            with pytest.raises(RuntimeError):
                await policy.decide("step", DOCUMENT)
        assert (records.recorder._taken, records.recorder._taken_bytes) == (0, 0)
    assert home.opened() == []


async def test_who_asks_waits_while_the_queue_is_full(home: Home) -> None:
    """A slow disk slows decisions down; it loses none. Places are taken before policy is asked."""
    engine = Answers()
    async with home.open() as records:
        records.recorder._waiting_max = 8
        disk = Disk(records)
        disk.open.clear()
        policy = records.around(engine)
        tasks = [asyncio.create_task(policy.decide("step", DOCUMENT)) for _ in range(30)]
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert len(engine.asked) == 8
        tasks[20].cancel()
        disk.open.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, asyncio.CancelledError) for each in answers) == 1
    assert len(home.opened()) == len(engine.asked) == 29


async def test_large_documents_take_more_room(home: Home) -> None:
    """The queue is bounded in bytes too; one that is larger than all of it still gets its turn."""
    engine = Answers()
    async with home.open() as records:
        records.recorder._waiting_bytes_max = 10_000
        disk = Disk(records)
        disk.open.clear()
        policy = records.around(engine)
        large = step("transform", {"text": "x" * 4_000})
        tasks = [asyncio.create_task(policy.decide("step", large)) for _ in range(3)]
        tasks.append(asyncio.create_task(policy.decide("step", step("transform", {"text": "x" * 40_000}))))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert len(engine.asked) == 1
        disk.open.set()
        await asyncio.gather(*tasks)
    assert len(home.opened()) == 4


async def test_a_disk_that_refuses_is_a_no_until_it_takes_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was decided before is kept and written later; meanwhile policy is not even asked."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.01)
    engine = Answers()
    async with home.open() as records:
        disk = Disk(records)
        disk.fault = StoreError("the disk is full", code="store.full")
        policy = records.around(engine)
        first = await policy.decide("step", DOCUMENT)
        await records.recorder.settled()
        refused = await policy.decide("step", DOCUMENT)
        assert (refused.allow, refused.bundle, refused.id) == (False, DIGEST, "")
        (reason,) = refused.reasons
        assert (reason.code, reason.rule) == ("policy.unrecorded", "host")
        assert "store.full" in reason.message
        assert len(engine.asked) == 1
        disk.fault = None
        await eventually(lambda: not records.recorder.broken)
        second = await policy.decide("step", DOCUMENT)
    assert [each.id for each in home.opened()] == [first.id, second.id]
    assert caplog.text.count("cannot be recorded") == 1
    assert "recorded again" in caplog.text


async def test_who_waits_for_room_hears_that_there_is_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue before a broken disk denies those who wait, and lets nobody hang."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.01)
    async with home.open() as records:
        records.recorder._waiting_max = 2
        disk = Disk(records)
        disk.open.clear()
        disk.fault = StoreError("the disk is full", code="store.full")
        policy = records.around(Answers())
        tasks = [asyncio.create_task(policy.decide("step", DOCUMENT)) for _ in range(6)]
        await asyncio.sleep(0.05)
        disk.open.set()
        answers = await asyncio.gather(*tasks)
        assert [each.allow for each in answers] == [True, True, False, False, False, False]
        disk.fault = None
    assert len(home.opened()) == 2


async def test_a_line_is_told_once_though_its_transaction_is_repeated(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has it already when the commit fails: the second try is for the database alone."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.01)
    log = home.path / "log.ndjson"
    async with home.open(log_file=log) as records:
        writer = records.recorder._writer
        real, failing = writer._connection, [True, True]

        class Connection:
            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def execute(self, statement: str, *values: Any) -> Any:
                if statement == "COMMIT" and failing and failing.pop():
                    full = sqlite3.OperationalError("full")
                    full.sqlite_errorcode = sqlite3.SQLITE_FULL  # type: ignore[misc]
                    raise full
                return real.execute(statement, *values)

        await records.recorder.prune()
        writer._connection = Connection()  # type: ignore[assignment]
        told = await records.around(Answers()).decide("step", DOCUMENT)
        await eventually(home.read)
    assert [each.id for each in home.opened()] == [told.id]
    assert len(log.read_bytes().splitlines()) == 1


async def test_a_log_file_that_cannot_be_written_is_a_no(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the local disk does not take is decided by nobody; it is taken up again by itself."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.01)
    log = home.path / "log.ndjson"
    async with home.open(log_file=log) as records:
        policy = records.around(Answers())
        ledger: Any = records.recorder._ledger
        real = ledger._log_file

        class Refusing:
            def append(self, _: list[bytes]) -> None:
                raise StoreError("no", code="decisions.log_file")

        ledger._log_file = Refusing()
        await policy.decide("step", DOCUMENT)
        await records.recorder.settled()
        assert "decisions.log_file" in (await policy.decide("step", DOCUMENT)).reasons[0].message
        ledger._log_file = real
        await eventually(lambda: not records.recorder.broken)
    assert len(log.read_bytes().splitlines()) == len(home.opened()) == 1


async def test_a_bug_in_the_queue_is_a_no(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its own task has ended nobody records, so nobody decides."""
    async with home.open() as records:

        async def fail(_: Any) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(records.recorder, "_write", fail)
        policy = records.around(Answers())
        await policy.decide("step", DOCUMENT)
        await records.recorder.settled()
        assert (await policy.decide("step", DOCUMENT)).reasons[0].code == "policy.unrecorded"


async def test_a_gateway_that_stops_before_a_broken_disk_says_what_it_lost(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not hang."""
    monkeypatch.setattr("gateway.decisions.recorder._RETRY_SECONDS", 0.01)
    async with home.open() as records:
        Disk(records).fault = StoreError("the disk is full", code="store.full")
        await records.around(Answers()).decide("step", DOCUMENT)
    assert "1 decisions were not recorded" in caplog.text
