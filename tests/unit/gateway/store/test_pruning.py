"""What was kept long enough goes, whole trees at a time; what has not ended never does."""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConflictError, NotFoundError, SanitizationError
from gateway.store import pruning
from gateway.store.approval_records import ApprovalState
from gateway.store.effect_records import EffectState
from gateway.store.pruning import MISSIONS_MAX, ROWS_MAX, mark_some, sweep_some
from gateway.store.store import PRUNE_MAX, Store
from tests.unit.gateway.store.store_worlds import (
    START,
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "missions.db"


async def ended(store: Store, *names: str, after: int = 0) -> None:
    """Make missions that ended a second after one another."""
    for second, name in enumerate(names, start=after):
        await store.create_mission(mission(name))
        await store.finish_mission(ending(name, START + timedelta(seconds=second)))


async def tree(store: Store) -> None:
    """Make root ← a ← leaf, root ← b, each with two rows of each kind; none has ended."""
    for new in (
        mission("root"),
        part("a", "root", "root"),
        part("leaf", "a", "root", depth=2),
        part("b", "root", "root"),
    ):
        await store.create_mission(new)
        await fill(store, new.id)


async def end(store: Store, *names: str) -> None:
    for name in names:
        await store.finish_mission(ending(name))


async def listed(store: Store) -> list[str]:
    return [m.id for m in (await store.list_missions()).missions]


async def test_a_tree_goes_whole(store: Store, path: Path) -> None:
    """With all missions below it, and everything of each; its neighbour keeps all it has."""
    await tree(store)
    await store.create_mission(mission("other"))
    await fill(store, "other")
    before = rows_of(path, "other")
    await end(store, "root", "a", "leaf", "b", "other")
    await store.reopen_mission("other")
    assert await store.prunable(LATER, 10) == ("root",)
    assert await store.prune(LATER, 10) == ("root",)
    assert counts(path) == before == rows_of(path, "other")
    assert await store.prune(LATER, 10) == ()


@pytest.mark.parametrize("open_one", ["root", "a", "leaf", "b"])
@pytest.mark.parametrize("again", [False, True])
async def test_a_tree_of_which_one_has_not_ended_stays_whole(
    store: Store, path: Path, open_one: str, again: bool
) -> None:
    """Wherever it is in the tree, and whether it never ended or began anew; nor does a part go without its root."""
    await tree(store)
    await end(store, *({"root", "a", "leaf", "b"} - (set() if again else {open_one})))
    if again:
        await store.reopen_mission(open_one)
    before = counts(path)
    assert await store.prunable(LATER, 10) == await store.prune(LATER, 10) == ()
    assert await store.prune(LATER, 10, among=["root", "a", "leaf", "b"]) == ()
    assert counts(path) == before
    assert len(await listed(store)) == 4


async def test_the_oldest_go_first_and_the_newer_stay(store: Store) -> None:
    """By their end, not by their admission; `before` itself is not before."""
    await ended(store, "e", "d", "c", after=2)
    await ended(store, "b", "a")
    before = START + timedelta(seconds=4)
    assert await store.prunable(before, 10) == ("b", "a", "e", "d")
    assert await store.prune(before, 3) == ("b", "a", "e")
    assert await listed(store) == ["c", "d"]
    assert await store.prune(START, 10) == ()


async def test_only_what_was_told_is_pruned(store: Store) -> None:
    """Among those that the log has heard of, the first so many are looked at, and those that may not go stay."""
    await ended(store, "a", "b", "c", "new")
    await store.create_mission(mission("open"))
    before = START + timedelta(seconds=3)
    assert await store.prune(before, 4, among=["open", "new", "c", "no", "b"]) == ("c",)
    assert await store.prune(LATER, 10, among=[]) == ()
    assert await listed(store) == ["open", "new", "b", "a"]


@pytest.mark.parametrize("limit", [-1, 0, 1])
async def test_one_call_is_bounded(store: Store, limit: int) -> None:
    """A limit is brought into range: -1 is not everything, as SQLite would have it."""
    await ended(store, "a", "b")
    assert len(await store.prunable(LATER, limit)) == 1
    assert len(await store.prune(LATER, limit)) == 1
    assert len(await store.prunable(LATER, PRUNE_MAX + 1)) == 1


async def test_what_is_being_deleted_is_gone_for_everybody(store: Store, path: Path) -> None:
    """From the mark on no query finds it and nothing begins it anew, though its rows are there still."""
    await tree(store)
    await end(store, "root", "a", "leaf", "b")
    (approved,) = [a for a in await store.list_approvals("t", "a", pending_only=True) if a.id == "a-a0"]
    marked, rest = await store._writer.submit(partial(mark_some, roots=["root"], before=LATER))
    assert (marked, rest) == (("root",), ())
    assert rows_of(path, "a") == {**dict.fromkeys(rows_of(path, "a"), 2), "missions": 1, "mission_documents": 1}

    assert await listed(store) == []
    assert await store.children("root") == await store.unfinished() == ()
    assert await store.find_request("t", "alice", "r-root") is None
    read = (await store.step_results("a"), await store.events("a", 0), await store.effects("a", "s", None))
    assert read == ((), (), ())
    assert await store.mission_effects("a") == ()
    assert await store.list_approvals("t", None, pending_only=False) == ()
    for refused in (
        store.get_mission("a"),
        store.get_document("a"),
        store.get_approval(approved.id),
        store.reopen_mission("a"),
        store.set_paused("a", True),
        store.create_mission(part("late", "a", "root", depth=2)),
    ):
        with pytest.raises(NotFoundError):
            await refused
    for refused_too in (store.mark_executing("a"), store.intend_effects("a", [effect(9)])):
        with pytest.raises(ConflictError):
            await refused_too
    assert await store.prunable(LATER, 10) == ()


async def test_its_request_id_is_free(store: Store) -> None:
    """From the mark on an equal request makes a new mission, and a list does not stumble over the old one."""
    await ended(store, "a")
    await ended(store, "b")
    page = await store.list_missions(page_size=1)
    await store._writer.submit(partial(mark_some, roots=["a", "b"], before=LATER))
    assert (await store.create_mission(mission("c", request_id="r-a"))).created
    assert await store.prune(LATER, 10) == ()
    assert await listed(store) == ["c"]
    with pytest.raises(SanitizationError):  # the mission that the token names is gone: start again
        await store.list_missions(page_size=1, page_token=page.next_page_token)


async def test_the_next_call_finishes_what_one_began(store: Store, path: Path) -> None:
    """Whatever was cut off; it is not told twice. What comes to it since is refused: its key is gone."""
    await tree(store)
    await end(store, "root", "a", "leaf", "b")
    await store._writer.submit(partial(mark_some, roots=["root"], before=LATER))
    for late in (
        store.append_events("leaf", 2, [b"late"]),
        store.settle_effect("leaf", "s", None, 0, EffectState.PERFORMED, b"{}"),
        store.decide_approval("leaf-a0", ApprovalState.WITHDRAWN, None, ""),
        store.create_approval(approval("late", "leaf")),
    ):
        with pytest.raises(NotFoundError):
            await late
    await ended(store, "next")
    assert await store.prune(LATER, 10) == ("next",)
    assert set(counts(path).values()) == {0}


async def test_a_cancelled_call_is_finished_by_the_next(store: Store, path: Path) -> None:
    """At whichever await it was: what is left is nothing, or whole trees that can be read."""
    for cut in range(12):
        await tree(store)
        await fill_more(store, "a", ROWS_MAX)
        await end(store, "root", "a", "leaf", "b")
        call = asyncio.ensure_future(store.prune(LATER, 10))
        for _ in range(cut):
            await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.wait([call])
        await store._writer.submit(lambda _connection: None)  # what the call had begun has ended
        if await listed(store):
            assert len(await store.step_results("a")) == ROWS_MAX + 2
        await store.prune(LATER, 10)
        assert set(counts(path).values()) == {0}


async def test_no_transaction_deletes_more_than_its_share(store: Store, path: Path) -> None:
    """A mission with more rows than one may delete takes several, and its own row goes last."""
    await store.create_mission(mission("m"))
    await fill_more(store, "m", 2 * ROWS_MAX)
    await end(store, "m")
    await store._writer.submit(partial(mark_some, roots=["m"], before=LATER))
    left = sum(counts(path).values())
    calls = 0
    while left:
        more = await store._writer.submit(sweep_some)
        calls += 1
        now = counts(path)
        assert 0 < left - sum(now.values()) <= ROWS_MAX
        assert now["missions"] == (1 if sum(now.values()) else 0)
        left = sum(now.values())
        assert more or not left
    assert calls == 5  # 2 ROWS_MAX results and as many events, a document and the mission


async def test_others_are_served_in_between(store: Store) -> None:
    """While much is deleted, a mission is admitted after one share of it at most, not after all."""
    await store.create_mission(mission("m"))
    await fill_more(store, "m", 20 * ROWS_MAX)
    await end(store, "m")
    call = asyncio.ensure_future(store.prune(LATER, 1))
    served = 0
    while not call.done():
        await store.create_mission(mission(f"n{served}"))
        served += 1
    assert await call == ("m",)
    assert served > 10


async def test_no_transaction_marks_every_tree(store: Store) -> None:
    """More missions than one may mark take several."""
    root = mission("root")
    await store.create_mission(root)
    await asyncio.gather(*(store.create_mission(part(f"p{n}", "root", "root")) for n in range(MISSIONS_MAX)))
    await asyncio.gather(*(store.finish_mission(ending(f"p{n}")) for n in range(MISSIONS_MAX)))
    await end(store, "root")
    await ended(store, "a", "b", after=1)
    marked, rest = await store._writer.submit(partial(mark_some, roots=["root", "a", "b"], before=LATER))
    assert (marked, list(rest)) == (("root",), ["a", "b"])
    assert await store.prune(LATER, 10) == ("a", "b")
    assert await listed(store) == []


@pytest.mark.parametrize(
    ("sql", "values"),
    [(pruning._PRUNABLE, ("x", 1)), (pruning._MARK, {"root": "x", "before": "x"}), (pruning._NEXT, ())],
)
async def test_pruning_asks_an_index(store: Store, sql: str, values: Any) -> None:
    """Neither the search for what is old, nor a mark, nor the search for marked rows reads every mission."""
    plan = await store._reader.run(lambda c: c.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())
    looks = [row["detail"] for row in plan if row["detail"].startswith(("SCAN", "SEARCH"))]
    assert looks
    assert [look for look in looks if " INDEX " not in look] == []
    assert "TEMP B-TREE" not in str([row["detail"] for row in plan])


async def fill_more(store: Store, mission_id: str, rows: int) -> None:
    """Give a mission so many more results and events."""
    known = len(await store.events(mission_id, 0))
    await store.save_step_results(mission_id, [step(f"more{n}") for n in range(rows)])
    await store.append_events(mission_id, known, [b"{}"] * rows)
