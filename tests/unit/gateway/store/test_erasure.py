"""Erasure in the store: in acts, each of which may be the last of a process."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from engine.errors import EngineError
from gateway.errors import ConflictError, ErasedError, NotFoundError
from gateway.store import erasure
from gateway.store.pruning import ROWS_MAX
from gateway.store.sealing import Sealer
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import (
    START,
    TickingClock,
    approval,
    ending,
    fill,
    mission,
    part,
    rows_of,
    step,
)

CANARY = "canary-77"


async def tree(store: Store) -> None:
    """Make an ended mission with a part that has a part; all have rows of each kind, and a text."""
    await store.create_mission(mission("root", name=CANARY))
    await store.create_mission(part("a", "root", "root", name=CANARY))
    await store.create_mission(part("leaf", "a", "root", 2, name=CANARY))
    for name in ("root", "a", "leaf"):
        await fill(store, name)
        await store.set_decision_labels(name, {"x": CANARY})
    for name in ("leaf", "a", "root"):
        await store.finish_mission(ending(name))


async def code_of(call: object) -> str:
    with pytest.raises(EngineError) as refused:
        await call  # type: ignore[misc]
    return refused.value.code


def keys(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT mission_id FROM mission_keys ORDER BY mission_id")]


async def test_a_tree_is_erased_whole(store: Store, tmp_path: Path) -> None:
    """Ids, times and counts stay; the rows, the keys and every text are gone, from the database's log too."""
    await tree(store)
    await store.create_mission(mission("other"))
    before = await store.get_mission("root")
    erasing = await store.erasures.begin("root", "t/ann", "asked for")
    assert erasing.missions == ("root", "a", "leaf")
    await store.erasures.mission(erasing)
    await store.erasures.end(erasing)
    record = await store.get_mission("root")
    assert record.erased_at is not None
    kept = ("id", "tenant", "state", "overall_status", "created_at", "ended_at", "steps_total", "steps_failed", "run")
    assert [getattr(record, name) for name in kept] == [getattr(before, name) for name in kept]
    assert (record.name, record.request_id, record.mission_digest, record.request_digest) == ("", None, "", "")
    assert (record.decision_labels, record.taint) == ({}, frozenset())
    assert record.error is not None
    assert (record.error.code, record.error.message) == ("mission.timeout", "")
    for name in erasing.missions:
        assert sum(rows_of(tmp_path / "missions.db", name).values()) == 1
    assert keys(tmp_path / "missions.db") == ["", "other"]
    assert (tmp_path / "missions.db-wal").stat().st_size < 64 * 1024
    listed = (await store.list_missions()).missions
    assert {m.id: m.erased_at is not None for m in listed} == {"other": False, "leaf": True, "a": True, "root": True}
    assert await store.erasures.unfinished() == ()


async def test_the_database_log_is_cut_to_nothing(store: Store, tmp_path: Path) -> None:
    """It had older pages, with rows that are deleted since."""
    await tree(store)
    erasing = await store.erasures.begin("root", "t/ann", "")
    assert (tmp_path / "missions.db-wal").stat().st_size > 0
    await store.erasures.mission(erasing)
    assert (tmp_path / "missions.db-wal").stat().st_size == 0


async def test_what_was_sealed_is_in_no_page_any_more(store: Store, tmp_path: Path) -> None:
    """Byte for byte: the ciphertexts are overwritten where they stood."""
    await tree(store)
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection:
        sealed = [row[0] for row in connection.execute("SELECT head FROM missions")]
        sealed += [row[0] for row in connection.execute("SELECT output FROM step_results")]
        sealed += [row[0] for row in connection.execute("SELECT wrapped FROM mission_keys WHERE mission_id <> ''")]
    await store.erasures.scrub()
    files = [tmp_path / "missions.db", tmp_path / "missions.db-wal"]
    assert all(any(each in path.read_bytes() for path in files) for each in sealed)
    await store.erasures.mission(await store.erasures.begin("root", "t/ann", ""))
    assert not [each for each in sealed if any(each in path.read_bytes() for path in files)]


async def test_only_what_has_ended_whole_is_erased(store: Store) -> None:
    """Not while a part runs; a part never by itself; nothing that is not there; and nothing twice."""
    await store.create_mission(mission("root"))
    await store.create_mission(part("a", "root", "root"))
    begin = partial(store.erasures.begin, by="t/ann", reason="")
    assert await code_of(begin("root")) == "mission.not_ended"
    assert await code_of(begin("a")) == "mission.part"
    assert await code_of(begin("none")) == "mission.not_found"
    for name in ("a", "root"):
        await store.finish_mission(ending(name))
    assert await code_of(begin("a")) == "mission.part"
    erasing = await begin("root")
    assert await begin("root") == erasing
    await store.erasures.mission(erasing)
    await store.erasures.end(erasing)
    assert await code_of(begin("root")) == "mission.erased"


async def test_nothing_begins_it_anew_once_it_is_marked(store: Store) -> None:
    """Neither while the log is being told, nor afterwards; nor does anything come to it."""
    await tree(store)
    erasing = await store.erasures.begin("root", "t/ann", "")
    for name in ("root", "a"):
        with pytest.raises(ErasedError):
            await store.reopen_mission(name)
    assert await store.get_document("root") == b"{}"  # it is not erased yet
    await store.erasures.mission(erasing)
    for call in (store.reopen_mission("root"), store.save_step_results("root", [step("z")]),
                 store.append_events("root", 2, [b"{}"]), store.set_decision_labels("root", {})):  # fmt: skip
        with pytest.raises(ErasedError):
            await call
    with pytest.raises(ConflictError):
        await store.create_mission(part("late", "root", "root"))


async def test_a_request_id_is_free_again(store: Store) -> None:
    """A tag of it would tell whether a guess is right."""
    await tree(store)
    await store.erasures.mission(await store.erasures.begin("root", "t/ann", ""))
    assert await store.find_request("t", "alice", "r-root") is None
    assert (await store.create_mission(mission("new", request_id="r-root"))).created


@pytest.mark.parametrize("acts", range(5))
async def test_the_next_process_goes_on(tmp_path: Path, acts: int) -> None:
    """Stopped after any act: who asked is known until the keys are gone, and then that is not asked any more."""
    path = tmp_path / "s.db"
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    await tree(store)
    erasing = await store.erasures.begin("root", "t/ann", "asked for")
    now = TickingClock().now()
    steps = [
        lambda c: erasure.cut(c, store._sealer, "root", now),
        lambda c: erasure.sweep_some(c, erasing.missions),
        lambda c: erasure.sweep_some(c, erasing.missions),
        lambda c: erasure.end(c, "root"),
    ]
    for act in steps[:acts]:
        await store._writer.submit(act)
    await store.close()
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    begun = await store.erasures.unfinished()
    if acts < 4:
        [found] = begun
        expected = ("t/ann", "asked for", False) if acts == 0 else ("", "", True)
        assert (found.missions, (found.by, found.reason, found.cut)) == (("root", "a", "leaf"), expected)
        await store.erasures.mission(found)
        await store.erasures.end(found)
    assert await store.erasures.unfinished() == ()
    assert [sum(rows_of(path, name).values()) for name in ("root", "a", "leaf")] == [1, 1, 1]
    assert keys(path) == [""]
    with pytest.raises(ErasedError):
        await store.get_document("leaf")
    await store.close()


async def test_many_rows_go_in_small_transactions(store: Store, tmp_path: Path) -> None:
    """So that other writers get their turn."""
    await store.create_mission(mission("m"))
    await fill(store, "m", ROWS_MAX)
    await store.finish_mission(ending("m"))
    erasing = await store.erasures.begin("m", "t/ann", "")
    counts = []
    while await store._writer.submit(partial(erasure.sweep_some, missions=erasing.missions)):
        counts.append(sum(rows_of(tmp_path / "missions.db", "m").values()))
    assert len(counts) >= 4
    assert all(before - after <= ROWS_MAX for before, after in pairwise(counts))


async def test_what_is_erased_is_pruned_in_its_time(store: Store) -> None:
    """Retention takes the row that is left."""
    await tree(store)
    erasing = await store.erasures.begin("root", "t/ann", "")
    await store.erasures.mission(erasing)
    await store.erasures.end(erasing)
    assert await store.prune(START + timedelta(days=1), 10) == ("root",)
    with pytest.raises(NotFoundError):
        await store.get_mission("root")
    assert await store.erasures.unfinished() == ()


async def test_what_does_not_open_is_erased_as_well(store: Store, tmp_path: Path) -> None:
    """Neither a damaged mission nor a damaged mark keeps an erasure, or the next start, from going on."""
    await tree(store)
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection, connection:
        connection.execute("UPDATE missions SET head = x'00'")
    assert (await store.bare_mission("root")).tenant == "t"
    await store.erasures.begin("root", "t/ann", "asked for")
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection, connection:
        connection.execute("UPDATE missions SET erasing = x'00'")
    (erasing,) = await store.erasures.unfinished()
    assert (erasing.by, erasing.reason, erasing.cut) == ("gateway", "", False)
    await store.erasures.mission(erasing)
    await store.erasures.end(erasing)
    assert (await store.get_mission("root")).erased_at is not None


async def test_approvals_of_others_are_listed_while_a_mission_is_erased(store: Store, tmp_path: Path) -> None:
    """Its own are still there for a moment, and no key opens them."""
    await tree(store)
    await store.create_mission(mission("other"))
    await store.create_approval(approval("asked", "other"))
    await store.erasures.begin("root", "t/ann", "")
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection, connection:
        erasure.cut(connection, Sealer(MASTERS), "root", START)
        assert connection.execute("SELECT count(*) FROM approvals").fetchone() == (7,)
    assert [each.id for each in await store.list_approvals("t", None, pending_only=False)] == ["asked"]
