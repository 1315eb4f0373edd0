"""The store when the machine fails: killed, full, unwritable."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.result import StepFailure
from gateway.errors import StoreError
from gateway.store.records import NewMission
from gateway.store.store import Store
from gateway.store.writer import GroupCommitWriter
from tests.payload_keys import MASTERS

ROOT = Path(__file__).resolve().parent.parent.parent

# Admits missions with two events each as fast as it can, and says the id of each once the store has answered.
WORKLOAD = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from engine.clock import SystemClock
    from gateway.store.master_keys import MasterKeys
    from gateway.store.records import NewMission
    from gateway.store.store import Store

    async def admit(store, name):
        mission = NewMission(id=name, tenant="t", submitter="s", request_id=name, request_digest="d",
                             mission_digest="d", name="n", document=b"{}" * 500, steps_total=1)
        await store.create_mission(mission)
        await store.append_events(name, 0, [b"0", b"1"])
        os.write(1, name.encode() + b"\\n")

    async def main(path, run):
        store = Store.open(Path(path), clock=SystemClock(), masters=MasterKeys(b"m" * 32))
        for n in range(1_000_000):
            await asyncio.gather(*(admit(store, f"{run}-{n}-{k}") for k in range(20)))

    asyncio.run(main(sys.argv[1], sys.argv[2]))
    """
)


def mission(name: str, size_bytes: int = 100) -> NewMission:
    return NewMission(
        id=name,
        tenant="t",
        submitter="s",
        request_id=name,
        request_digest="d",
        mission_digest="d",
        name="n",
        document=b"x" * size_bytes,
        steps_total=1,
    )


async def test_what_was_answered_is_there_after_kill_9(tmp_path: Path) -> None:
    """Eight times: run, kill -9 at some moment, open again. No answer is lost, and nothing is half there."""
    path = tmp_path / "s.db"
    answered: set[str] = set()
    for run in range(8):
        answered |= await asyncio.to_thread(killed_workload, path, run)
        store = Store.open(path, clock=SystemClock(), masters=MASTERS)
        interrupted = {record.id for record in await store.unfinished()}
        for name in interrupted:
            await store.interrupt_mission(name, StepFailure(code="site.no", message="no"))
        assert {name for name in answered if name.startswith(f"{run}-")} <= interrupted
        for name in interrupted:  # payload before event: whoever is there has a document; events are all or none
            assert await store.get_document(name) == b"{}" * 500
            assert [e.index for e in await store.events(name, 0)] in ([0], [0, 1, 2])  # the last is of the interruption
        for name in answered & interrupted:
            assert len(await store.events(name, 0)) == 3
        await store.close()
    assert len(answered) > 8
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def killed_workload(path: Path, run: int) -> set[str]:
    """Run the workload, kill it some time after its first answers, and return what it had said whole."""
    command = [sys.executable, "-c", WORKLOAD, str(path), str(run)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:  # noqa: TID251 - a test kills it
        if process.stdout is None:
            raise RuntimeError
        head = process.stdout.readline()
        time.sleep(0.013 * run)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
    lines = (head + rest).split(b"\n")[:-1]  # what follows the last line feed was not said whole
    return {line.decode() for line in lines}


async def fill(store: Store) -> StoreError:
    for n in range(200):
        try:
            await store.create_mission(mission(f"f{n}", 100_000))
        except StoreError as err:
            return err
    raise AssertionError


async def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """The write that no longer fits is an error, so are its neighbours; what was answered stays; room heals it."""
    store = Store.open(tmp_path / "s.db", clock=SystemClock(), masters=MASTERS)
    connection = store._writer._connection
    await store.create_mission(mission("kept"))
    connection.execute("PRAGMA max_page_count = 200")
    error = await fill(store)
    assert error.code == "store.full"
    answers = await asyncio.gather(
        *(store.create_mission(mission(f"n{n}", 100_000)) for n in range(5)), return_exceptions=True
    )
    assert {a.code for a in answers if isinstance(a, StoreError)} == {"store.full"}
    assert (await store.get_mission("kept")).id == "kept"
    connection.execute("PRAGMA max_page_count = 100000")
    assert (await store.create_mission(mission("later"))).created
    await store.close()


def unwritable(_: sqlite3.Connection) -> None:
    """Let every file of this process end where it is: SQLite gets EFBIG and reports an I/O error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


async def test_after_an_io_error_nothing_is_written_until_reopened(tmp_path: Path) -> None:
    """A failed write may have dropped pages that SQLite takes for written: the store is dead, and says so."""
    store = Store.open(tmp_path / "s.db", clock=SystemClock(), masters=MASTERS)
    await store.create_mission(mission("kept"))
    handler = signal.getsignal(signal.SIGXFSZ)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        unwritable(store._writer._connection)
        with pytest.raises(StoreError) as failed:
            await store.create_mission(mission("lost", 50_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert failed.value.code == "store.unavailable"
    with pytest.raises(StoreError):
        await store.create_mission(mission("refused"))
    await store.close()
    store = Store.open(tmp_path / "s.db", clock=SystemClock(), masters=MASTERS)
    assert [m.id for m in (await store.list_missions()).missions] == ["kept"]
    await store.close()


class FailingConnection:
    """A connection that fails at a chosen statement."""

    def __init__(self, connection: sqlite3.Connection, fails: Callable[[str], bool], code: int) -> None:
        self._connection = connection
        self._fails = fails
        self._code = code

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if self._fails(sql):
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(sql, *args)  # type: ignore[arg-type]

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "SAVEPOINT operation", "RELEASE operation", "COMMIT"])
async def test_a_failure_anywhere_in_the_transaction_fails_every_caller(tmp_path: Path, statement: str) -> None:
    """Whichever statement fails: all of the batch hear it, nothing is there, and an I/O error ends the store."""
    raw = sqlite3.connect(tmp_path / "s.db", isolation_level=None, check_same_thread=False)
    raw.execute("CREATE TABLE a (x INTEGER)")
    failing = FailingConnection(raw, lambda sql: sql == statement, sqlite3.SQLITE_IOERR)
    writer = GroupCommitWriter(failing)  # type: ignore[arg-type]
    futures = [writer.submit(lambda c: c.execute("INSERT INTO a VALUES (1)")) for _ in range(5)]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert {getattr(a, "code", None) for a in answers} == {"store.unavailable"}
    failing._fails = lambda _: False
    with pytest.raises(StoreError):
        await writer.submit(lambda _: None)
    await asyncio.to_thread(writer.close)
    check = sqlite3.connect(tmp_path / "s.db")
    assert check.execute("SELECT count(*) FROM a").fetchone() == (0,)
    check.close()


@pytest.mark.parametrize(
    "bug",
    [
        lambda _: 1 / 0,
        lambda c: c.execute("INSERT INTO a VALUES (?)", (object(),)),
        lambda c: c.execute("INSERT INTO a VALUES (?)", (1 << 63,)),
        lambda c: c.execute("INSERT INTO a VALUES (?)", ("\ud800",)),
    ],
    ids=["exception", "type", "integer", "surrogate"],
)
async def test_a_bug_in_one_operation_takes_only_itself_back(
    tmp_path: Path, bug: Callable[[sqlite3.Connection], object]
) -> None:
    """Its neighbours in the same transaction are committed, and the thread goes on."""
    raw = sqlite3.connect(tmp_path / "s.db", isolation_level=None, check_same_thread=False)
    raw.execute("CREATE TABLE a (x INTEGER)")
    writer = GroupCommitWriter(raw)

    def buggy(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO a VALUES (666)")
        bug(connection)

    futures: list[asyncio.Future[object]] = [
        writer.submit(lambda c: c.execute("INSERT INTO a VALUES (1)").rowcount),
        writer.submit(buggy),
        writer.submit(lambda c: c.execute("INSERT INTO a VALUES (2)").rowcount),
    ]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [answers[0], answers[2]] == [1, 1]
    assert isinstance(answers[1], StoreError)
    assert await writer.submit(lambda c: c.execute("SELECT x FROM a").fetchall()) == [(1,), (2,)]
    await asyncio.to_thread(writer.close)


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    """While the disk hangs, a bounded number waits, and the next is refused."""
    raw = sqlite3.connect(tmp_path / "s.db", isolation_level=None, check_same_thread=False)
    writer = GroupCommitWriter(raw, pending_max=4)
    futures: list[asyncio.Future[object]] = [writer.submit(lambda _: time.sleep(0.2))]
    await asyncio.sleep(0.05)
    futures += [writer.submit(lambda _: None) for _ in range(4)]
    with pytest.raises(StoreError) as refused:
        writer.submit(lambda _: None)
    assert refused.value.code == "store.overloaded"
    await asyncio.gather(*futures)
    await asyncio.to_thread(writer.close)
