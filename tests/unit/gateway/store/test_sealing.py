"""Payloads in the store: nothing of them in the clear, and none where it does not belong."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.result import StepFailure, StepResult, StepState
from gateway.errors import ConflictError, ErasedError, StoreError
from gateway.store.approval_records import ApprovalState
from gateway.store.effect_records import EffectState
from gateway.store.master_keys import MasterKeys
from gateway.store.reading import StoreReading
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import START, TickingClock, approval, effect, ending, mission

CANARY = "canary-5f2e"
SEALED = (
    ("missions", "head", "id"),
    ("missions", "ending", "id"),
    ("missions", "labels", "id"),
    ("mission_documents", "document", "mission_id"),
    ("step_results", "output", "mission_id"),
    ("step_results", "error_message", "mission_id"),
    ("mission_events", "body", "mission_id"),
    ("effects", "entry", "mission_id"),
    ("approvals", "message", "mission_id"),
    ("approvals", "comment", "mission_id"),
)


async def speaking(store: Store, name: str) -> None:
    """Make a mission that has the canary wherever a mission can have a text."""
    texts: dict[str, Any] = {"name": CANARY, "request_id": f"{CANARY}-{name}", "document": b'"%s"' % CANARY.encode()}
    texts |= {"request_digest": f"sha256:{CANARY}", "mission_digest": f"sha256:{CANARY}"}
    await store.create_mission(mission(name, **texts))
    await store.set_decision_labels(name, {"for": CANARY})
    failed = StepFailure(code="step.failed", message=CANARY)
    result = StepResult(
        step_id="s", status=StepState.FAILED, output={"o": CANARY}, error=failed, duration_ms=1.0, timestamp=START
    )
    await store.save_step_results(name, [result])
    await store.append_events(name, 0, [b'{"why":"%s"}' % CANARY.encode()])
    await store.intend_effects(name, [effect(0)])
    await store.settle_effect(name, "s", None, 0, EffectState.PERFORMED, b'{"ok":"%s"}' % CANARY.encode())
    await store.create_approval(approval(f"{name}-a", name, message=CANARY))
    await store.decide_approval(f"{name}-a", ApprovalState.APPROVED, "bob", CANARY)
    await store.finish_mission(replace(ending(name), error=StepFailure(code="mission.failed", message=CANARY)))


def files_with(folder: Path, text: str = CANARY) -> list[str]:
    return [path.name for path in folder.iterdir() if text.encode() in path.read_bytes()]


async def everything(store: Store, name: str) -> str:
    """Return all that the store tells of a mission."""
    record = await store.get_mission(name)
    found: list[object] = [record, await store.get_document(name), await store.step_results(name)]
    found += [await store.events(name, 0), await store.mission_effects(name), await store.get_approval(f"{name}-a")]
    return repr(found)


async def test_no_file_has_a_payload_in_the_clear(store: Store, tmp_path: Path) -> None:
    """Neither the database nor its log, while it is open and after; who asks the store hears all of it."""
    await speaking(store, "m")
    assert (tmp_path / "missions.db-wal").stat().st_size > 0
    assert files_with(tmp_path) == []
    assert (await everything(store, "m")).count(CANARY) == 13
    known = await store.find_request("t", "alice", f"{CANARY}-m")
    assert known is not None
    assert known.request_id == f"{CANARY}-m"
    await store.close()
    assert files_with(tmp_path) == []


def test_the_canary_is_found_where_it_is(tmp_path: Path) -> None:
    """The look that the others trust can find it."""
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (?)", (CANARY,))
        connection.commit()
    assert files_with(tmp_path) == ["s.db"]


async def test_an_earlier_schemas_payloads_are_sealed_where_they_stand(tmp_path: Path) -> None:
    """Opening the store is enough; what the migration has read is in no page of it any more."""
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("schema_1.sql").read_text())
    assert files_with(tmp_path, "too long") == ["s.db"]
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    error = (await store.get_mission("m1")).error
    assert error is not None
    assert error.message == "too long"
    await store.close()
    for text in ("too long", '"steps":[{"id"', '{"index":1}'):
        assert files_with(tmp_path, text) == []


@pytest.mark.parametrize(("table", "column", "key"), SEALED)
async def test_a_payload_opens_in_its_own_place_only(
    store: Store, tmp_path: Path, table: str, column: str, key: str
) -> None:
    """Put into another mission's row it is refused, and the other mission's own rows are not told in its stead."""
    for name in ("a", "b"):
        await speaking(store, name)
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection:
        moved = f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE {key} = 'a') WHERE {key} = 'b'"  # noqa: S608
        assert connection.execute(moved).rowcount == 1
        connection.commit()
    with pytest.raises(ConflictError) as refused:
        await everything(store, "b")
    assert refused.value.code == "mission.damaged"
    assert CANARY in await everything(store, "a")


@pytest.mark.parametrize("what", ["steps", "events", "effects"])
async def test_a_payload_opens_in_its_own_row_only(store: Store, tmp_path: Path, what: str) -> None:
    """Two rows of one mission cannot change places either."""
    await store.create_mission(mission("m"))
    await store.append_events("m", 0, [b"0", b"1"])
    done = [
        StepResult(step_id=name, status=StepState.COMPLETED, output=name, duration_ms=1.0, timestamp=START)
        for name in ("s0", "s1")
    ]
    await store.save_step_results("m", done)
    await store.intend_effects("m", [effect(0), effect(1)])
    for index in (0, 1):
        await store.settle_effect("m", "s", None, index, EffectState.PERFORMED, b"%d" % index)
    table, column, place, ask = {
        "steps": ("step_results", "output", "step_id = 's{}'", lambda: store.step_results("m")),
        "events": ("mission_events", "body", "idx = {}", lambda: store.events("m", 0)),
        "effects": ("effects", "entry", "idx = {}", lambda: store.mission_effects("m")),
    }[what]
    assert len(await ask()) == 2
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection:
        source = f"(SELECT {column} FROM {table} WHERE {place.format(0)})"  # noqa: S608
        connection.execute(f"UPDATE {table} SET {column} = {source} WHERE {place.format(1)}")  # noqa: S608
        connection.commit()
    with pytest.raises(ConflictError):
        await ask()


async def test_a_wrapped_key_is_its_missions(store: Store, tmp_path: Path) -> None:
    """The key of one mission, put in another's place, unwraps for neither."""
    for name in ("a", "b"):
        await store.create_mission(mission(name))
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection:
        connection.execute(
            "UPDATE mission_keys SET wrapped = (SELECT wrapped FROM mission_keys WHERE mission_id = 'a')"
            " WHERE mission_id = 'b'"
        )
        connection.commit()
    with pytest.raises(StoreError) as refused:
        await store.get_mission("b")
    assert refused.value.code == "store.unreadable"


async def test_another_master_key_opens_nothing(store: Store, tmp_path: Path) -> None:
    """And it is said that it is another, before anything is changed."""
    await speaking(store, "m")
    await store.close()
    reading = StoreReading.open(tmp_path / "missions.db", MasterKeys(b"o" * 32))
    with pytest.raises(StoreError) as refused:
        await reading.get_document("m")
    assert refused.value.code == "store.other_key"
    reading.close()


async def test_the_key_of_a_mission_is_the_one_it_came_with(store: Store) -> None:
    """Each has its own, a part of another as well; it is told until the mission is erased."""
    one, other = mission("a"), mission("b")
    for new in (one, other):
        await store.create_mission(new)
    assert one.key != other.key
    assert "key" not in repr(one)
    assert [await store.mission_key(name) for name in ("a", "b")] == [one.key, other.key]
    await store.finish_mission(ending("a"))
    await store.erasures.mission(await store.erasures.begin("a", "t/ann", ""))
    with pytest.raises(ErasedError):
        await store.mission_key("a")


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "missions.db")) as connection:
        yield connection


async def test_rows_that_outlive_their_key_tell_nothing(store: Store, rows: sqlite3.Connection) -> None:
    """A copy of the rows from before, put back behind the gateway's back: without the key they stay shut."""
    await speaking(store, "m")
    tables = ("mission_documents", "step_results", "mission_events", "effects", "approvals")
    copies = {table: rows.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608
    await store.erasures.mission(await store.erasures.begin("m", "t/ann", ""))
    for table, found in copies.items():
        assert found
        marks = ", ".join("?" * len(found[0]))
        rows.executemany(f"INSERT INTO {table} VALUES ({marks})", found)  # noqa: S608
    rows.commit()
    for ask in (store.get_document("m"), store.step_results("m"), store.events("m", 0), store.mission_effects("m")):
        with pytest.raises(ErasedError):
            await ask
    with pytest.raises(ErasedError):
        await store.get_approval("m-a")


async def test_pruning_deletes_the_key(store: Store, rows: sqlite3.Connection) -> None:
    """With the mark, before the rows."""
    await speaking(store, "m")
    assert await store.prune(START + timedelta(days=1), 10) == ("m",)
    assert [name for (name,) in rows.execute("SELECT mission_id FROM mission_keys")] == [""]


async def test_damage_is_a_refusal_and_names_the_mission(store: Store, rows: sqlite3.Connection) -> None:
    """One flipped bit, and it is not read: recovery ends such a mission, and goes on."""
    await speaking(store, "m")
    rows.execute("UPDATE mission_documents SET document = CAST(substr(document, 1, 20) || x'00' AS BLOB)")
    rows.commit()
    with pytest.raises(EngineError) as refused:
        await store.get_document("m")
    assert (refused.value.code, "mission m" in refused.value.message) == ("mission.damaged", True)
