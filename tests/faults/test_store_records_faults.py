"""The store when a statement fails in the middle of a record that consists of several, and in the middle of pruning."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from engine.result import StepState
from gateway.errors import NotFoundError, StoreError
from gateway.store.approval_records import ApprovalState
from gateway.store.effect_records import EffectState
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import (
    START,
    TABLES,
    TickingClock,
    approval,
    counts,
    effect,
    ending,
    fill,
    mission,
    part,
    rows_of,
    step,
)

LATER = START + timedelta(days=1)
CODES = [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL]


class NthFails:
    """A connection of which the n-th statement fails, counted from 1, and before it does anything."""

    def __init__(self, connection: sqlite3.Connection, nth: int, code: int) -> None:
        self._connection = connection
        self._left = nth
        self._code = code

    @property
    def failed(self) -> bool:
        return self._left <= 0

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self._code
            raise error

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        self._count()
        return self._connection.execute(sql, *args)  # type: ignore[arg-type]

    def executemany(self, sql: str, *args: object) -> sqlite3.Cursor:
        self._count()
        return self._connection.executemany(sql, *args)  # type: ignore[arg-type]

    def close(self) -> None:
        self._connection.close()


def fail(store: Store, nth: int, code: int) -> NthFails:
    failing = NthFails(store._writer._connection, nth, code)
    store._writer._connection = failing  # type: ignore[assignment]
    return failing


def content(path: Path) -> Mapping[str, list[tuple[object, ...]]]:
    counts(path)
    with closing(sqlite3.connect(path)) as connection:
        return {t: connection.execute(f"SELECT * FROM {t}").fetchall() for t in TABLES}  # noqa: S608 - our own names


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a tree that ended, one mission that ended, and one that runs, each with rows of all kinds."""
    path = tmp_path_factory.mktemp("prepared") / "s.db"

    async def prepare() -> None:
        store = Store.open(path, clock=TickingClock(), masters=MASTERS)
        for new in (mission("root"), part("a", "root", "root"), part("leaf", "a", "root", depth=2)):
            await store.create_mission(new)
            await fill(store, new.id)
        for new in (mission("ended"), mission("open")):
            await store.create_mission(new)
            await fill(store, new.id, 3)
        for name in ("root", "a", "leaf", "ended"):
            await store.finish_mission(ending(name), step_results=[step("last", StepState.FAILED)])
        await store.settle_effect("open", "s", None, 0, EffectState.PERFORMED, b"{}")
        await store.mark_executing("open")
        await store.close()

    asyncio.run(prepare())
    return path


RECORDS: Mapping[str, Callable[[Store], Awaitable[object]]] = {
    "part": lambda s: s.create_mission(part("new", "open", "open")),
    "pause": lambda s: s.set_paused("open", True),
    "reopen": lambda s: s.reopen_mission("ended"),
    "intend": lambda s: s.intend_effects("open", [effect(n, key="again") for n in (1, 2, 3)]),
    "settle": lambda s: s.settle_effect("open", "s", None, 1, EffectState.PERFORMED, b"{}"),
    "forget": lambda s: s.forget_doubt("ended"),
    "ask": lambda s: s.create_approval(approval("new", "open")),
    "decide": lambda s: s.decide_approval("open-a0", ApprovalState.APPROVED, "bob", "fine"),
}


@pytest.mark.parametrize("code", CODES, ids=["io", "full"])
@pytest.mark.parametrize("name", RECORDS)
async def test_a_record_is_written_whole_or_not_at_all(prepared: Path, tmp_path: Path, name: str, code: int) -> None:
    """Whichever statement of it fails: the caller hears of it, and after a restart all is as it was before."""
    before = content(prepared)
    nth, failed = 0, True
    while failed:
        nth += 1
        path = Path(shutil.copy(prepared, tmp_path / f"{nth}.db"))
        store = Store.open(path, clock=TickingClock(), masters=MASTERS)
        failing = fail(store, nth, code)
        (answer,) = await asyncio.gather(RECORDS[name](store), return_exceptions=True)
        failed = failing.failed
        await store.close()
        assert isinstance(answer, StoreError) == failed
        assert (content(path) == before) == failed
    assert nth > 5  # BEGIN, SAVEPOINT, at least one of its own, RELEASE, COMMIT


async def whole(store: Store, *names: str) -> bool:
    """Return whether these missions are there; each is whole or is not there, and all or none of them are."""
    there = []
    for name in names:
        try:
            await store.get_document(name)
        except NotFoundError:
            there.append(False)
        else:
            there.append(True)
        read = (
            await store.step_results(name),
            await store.events(name, 0),
            await store.effects(name, "s", None),
            await store.list_approvals("t", name, pending_only=False),
        )
        assert [len(rows) for rows in read] == ([3, 2, 2, 2] if there[-1] else [0, 0, 0, 0])
    assert len(set(there)) == 1
    return there[0]


@pytest.mark.parametrize("code", CODES, ids=["io", "full"])
async def test_pruning_that_fails_anywhere_leaves_whole_trees(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """At whichever statement: a tree is whole or gone for everybody, what runs is untouched, the next call finishes."""
    monkeypatch.setattr("gateway.store.pruning.ROWS_MAX", 5)
    running = rows_of(prepared, "open")
    nth, failed, seen = 0, True, set()
    while failed:
        nth += 1
        path = Path(shutil.copy(prepared, tmp_path / f"{nth}.db"))
        store = Store.open(path, clock=TickingClock(), masters=MASTERS)
        failing = fail(store, nth, code)
        (answer,) = await asyncio.gather(store.prune(LATER, 10), return_exceptions=True)
        failed = failing.failed
        assert isinstance(answer, StoreError) == failed
        await store.close()

        store = Store.open(path, clock=TickingClock(), masters=MASTERS)
        seen.add(await whole(store, "root", "a", "leaf"))
        assert rows_of(path, "open") == running
        again = await store.prune(LATER, 10)
        assert not failed or again in {(), ("root", "ended")}
        assert [m.id for m in (await store.list_missions()).missions] == ["open"]
        await store.close()
        assert counts(path) == running
    assert seen == {True, False}
    assert nth > 100
