"""What a durable row costs in group commit, beside one transaction for each row in the same run.

Run it: `python -m benchmarks.bench_store`. It writes to the temporary directory, or to the one of TMPDIR: put that on
the disk that is meant.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from engine.clock import SystemClock
from gateway.store.opening import open_writer
from gateway.store.records import NewMission
from gateway.store.store import Store

SINGLES = 1_000
ROWS = 20_000
CALLERS = (1, 16, 256, 1_024)
EVENT = b'{"type":"step.completed","step":"fetch","at":"2026-01-31T12:00:00.000000Z","status":"Completed"}'
ROUNDS = 3  # of each; the best counts: the machine may be busy with other things


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
    store = Store.open(path, clock=SystemClock())
    await asyncio.gather(*(store.create_mission(mission(name)) for name in names))
    return store


async def one_transaction_each(path: Path) -> float:
    """Return rows a second of the plain way, in one thread without any queue: BEGIN, INSERT, COMMIT, for each row."""
    await (await prepared(path, ["m"])).close()
    connection = open_writer(path)
    start = time.perf_counter()
    for index in range(SINGLES):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO mission_events VALUES ('m', ?, ?)", (index, EVENT))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()
    return SINGLES / seconds


async def one_transaction_for_all(path: Path) -> float:
    """Return rows a second of a single transaction: what SQLite can do where nobody waits for an answer."""
    await (await prepared(path, ["m"])).close()
    connection = open_writer(path)
    start = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO mission_events VALUES ('m', ?, ?)", ((n, EVENT) for n in range(ROWS)))
    connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()
    return ROWS / seconds


async def group_commit(path: Path, callers: int) -> float:
    """Return rows a second: each caller appends one event, waits until it is durable, and appends the next."""
    names = [f"m{n}" for n in range(callers)]
    store = await prepared(path, names)
    each = max(ROWS // callers, 1) if callers > 1 else SINGLES

    async def caller(name: str) -> None:
        for index in range(each):
            await store.append_events(name, index, [EVENT])

    start = time.perf_counter()
    await asyncio.gather(*(caller(name) for name in names))
    seconds = time.perf_counter() - start
    await store.close()
    return each * callers / seconds


async def admissions(path: Path) -> float:
    """Return missions a second, two rows and a request id each, 256 callers."""
    store = await prepared(path, [])

    async def caller(first: int) -> None:
        for n in range(20):
            await store.create_mission(mission(f"m{first}-{n}"))

    start = time.perf_counter()
    await asyncio.gather(*(caller(n) for n in range(256)))
    seconds = time.perf_counter() - start
    await store.close()
    return 256 * 20 / seconds


async def measure(folder: Path) -> None:
    """Print the table."""
    floor = max([await one_transaction_each(folder / f"floor-{n}.db") for n in range(ROUNDS)])
    ceiling = max([await one_transaction_for_all(folder / f"ceiling-{n}.db") for n in range(ROUNDS)])
    print("store: durable rows a second (SQLite, WAL, synchronous=FULL)")
    print(f"  one transaction per row (floor)      {floor:>9,.0f}")
    for callers in CALLERS:
        rate = max([await group_commit(folder / f"group-{callers}-{n}.db", callers) for n in range(ROUNDS)])
        label = f"group commit, {callers:,} caller{'s' if callers > 1 else ''}"
        print(f"  {label:<36} {rate:>9,.0f}   {rate / floor:.1f} x")
    print(f"  one transaction for all (ceiling)    {ceiling:>9,.0f}   {ceiling / floor:.1f} x")
    print(f"  missions admitted, 256 callers       {await admissions(folder / 'missions.db'):>9,.0f}")


def main() -> None:
    """Measure in a temporary directory."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name)))


if __name__ == "__main__":
    main()
