"""What a durable row costs in group commit, beside one transaction for each row in the same run.

Run it: `python -m benchmarks.bench_store`. It writes to the temporary directory, or to the one of TMPDIR: put that on
the disk that is meant.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, lap
from engine.clock import SystemClock
from gateway.store.master_keys import MasterKeys
from gateway.store.opening import open_writer
from gateway.store.records import NewMission
from gateway.store.sealing import Sealer
from gateway.store.store import Store

TITLE: Final = "store: SQLite, WAL, synchronous=FULL"
SINGLES = 1_000
ROWS = 20_000
CALLERS = (1, 16, 256, 1_024)
EVENT = b'{"type":"step.completed","step":"fetch","at":"2026-01-31T12:00:00.000000Z","status":"Completed"}'
ADMITTING = 256
ADMITTED_EACH = 20
MASTERS = MasterKeys(b"m" * 32)
INSERT = "INSERT INTO mission_events VALUES ('m', ?, ?)"


def mission(name: str) -> NewMission:
    return NewMission(
        id=name,
        tenant="t",
        submitter="s",
        request_id=name,
        request_digest="sha256:" + "0" * 64,
        mission_digest="sha256:" + "0" * 64,
        name="bench",
        document=b'{"name":"bench"}',
        steps_total=1,
    )


async def prepared(path: Path, names: list[str]) -> Store:
    store = Store.open(path, clock=SystemClock(), masters=MASTERS)
    await asyncio.gather(*(store.create_mission(mission(name)) for name in names))
    return store


async def bare(path: Path) -> sqlite3.Connection:
    """Return a connection to a store with one mission, without any queue before it."""
    await (await prepared(path, ["m"])).close()
    return open_writer(path, Sealer(MASTERS))


async def one_transaction_each(path: Path) -> float:
    """Return the seconds of SINGLES rows the plain way, in one thread: BEGIN, INSERT, COMMIT, for each row."""
    connection = await bare(path)
    with lap() as this:
        for index in range(SINGLES):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(INSERT, (index, EVENT))
            connection.execute("COMMIT")
    connection.close()
    return this.wall


async def one_transaction_for_all(path: Path) -> float:
    """Return the seconds of ROWS rows in a single transaction: what SQLite can do where nobody waits for an answer."""
    connection = await bare(path)
    with lap() as this:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, ((n, EVENT) for n in range(ROWS)))
        connection.execute("COMMIT")
    connection.close()
    return this.wall


async def group_commit(path: Path, callers: int) -> float:
    """Return the seconds a row: each caller appends one event, waits until it is durable, and appends the next."""
    names = [f"m{n}" for n in range(callers)]
    store = await prepared(path, names)
    each = ROWS // callers if callers > 1 else SINGLES

    async def caller(name: str) -> None:
        for index in range(each):
            await store.append_events(name, index, [EVENT])

    with lap() as this:
        await asyncio.gather(*(caller(name) for name in names))
    await store.close()
    return this.wall / (each * callers)


async def admissions(path: Path) -> float:
    """Return the seconds a mission: two rows and a request id each, of many callers."""
    store = await prepared(path, [])

    async def caller(first: int) -> None:
        for n in range(ADMITTED_EACH):
            await store.create_mission(mission(f"m{first}-{n}"))

    with lap() as this:
        await asyncio.gather(*(caller(n) for n in range(ADMITTING)))
    await store.close()
    return this.wall / (ADMITTING * ADMITTED_EACH)


async def sealing(path: Path) -> float:
    """Return the seconds a value: the key is looked up, and one event sealed, as the writer does for each row."""
    await (await prepared(path, ["m"])).close()
    sealer = Sealer(MASTERS)
    connection = open_writer(path, sealer)
    connection.execute("BEGIN")
    with lap() as this:
        for index in range(ROWS):
            sealer.box(connection, "m").seal(EVENT, "mission_events.body", str(index))
    connection.close()
    return this.wall / ROWS


async def measured(folder: Path, effort: Effort) -> AsyncIterator[Row]:
    """Measure on a fresh database each round."""
    plain, whole, admitted, sealed = [], [], [], []
    grouped: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    for n in range(effort.rounds):
        plain.append(await one_transaction_each(folder / f"plain-{n}.db"))
        for callers, taken in grouped.items():
            taken.append(await group_commit(folder / f"group-{callers}-{n}.db", callers))
        admitted.append(await admissions(folder / f"missions-{n}.db"))
        sealed.append(await sealing(folder / f"sealed-{n}.db"))
        whole.append(await one_transaction_for_all(folder / f"whole-{n}.db"))
    floor, against = Timing.of(plain, SINGLES), "one transaction per row"
    for callers, taken in grouped.items():
        what = f"group commit, {callers:,} caller{'s' if callers > 1 else ''}"
        yield timed_row(what, "rows/s", Timing.of(taken), against=against, peer=floor)
    ceiling, against = Timing.of(whole, ROWS), "one transaction for all rows"
    most = max(CALLERS)
    yield timed_row(
        f"the same {most:,} callers, beside a ceiling",
        "rows/s",
        Timing.of(grouped[most]),
        against=against,
        peer=ceiling,
    )
    yield timed_row("values sealed, key looked up", "values/s", Timing.of(sealed), against=against, peer=ceiling)
    yield timed_row(f"missions admitted, {ADMITTING} callers", "missions/s", Timing.of(admitted))


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure, in a temporary directory."""
    with tempfile.TemporaryDirectory() as name:
        async for row in measured(Path(name), effort):
            yield row


if __name__ == "__main__":
    raise SystemExit(main(only="store"))
