"""What is kept of each principal's missions: the database counts it, and is right whatever is done to what is kept."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from engine.result import StepState
from gateway.limits.quotas import StoredBytes
from gateway.store.approval_records import ApprovalState
from gateway.store.conversion import lend_functions
from gateway.store.effect_records import EffectState
from gateway.store.schema import MIGRATIONS, migrate
from gateway.store.sealing import Sealer
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import START, TickingClock, approval, effect, ending, fill, mission, step

ALICE, BOB = ("t", "alice"), ("t", "bob")


def accounts(path: Path) -> Mapping[tuple[str, str], int]:
    """Return the accounts, after a check that counting anew comes to the same."""
    with closing(sqlite3.connect(path)) as connection:
        kept = {(tenant, who): count for tenant, who, count in connection.execute("SELECT * FROM stored_bytes")}
        anew = connection.execute("SELECT tenant, submitter, sum(bytes) FROM mission_bytes GROUP BY 1, 2").fetchall()
    assert kept == {(tenant, who): count for tenant, who, count in anew}
    return kept


async def test_every_row_is_counted_for_who_has_submitted_the_mission(store: Store, tmp_path: Path) -> None:
    """Documents, results, events, effects and approvals, as they come, change and are answered."""
    path = tmp_path / "missions.db"
    before = 0
    await store.create_mission(mission("m", document=b"x" * 10_000))
    await store.create_mission(mission("other", submitter="bob"))
    for change in (
        store.save_step_results("m", [step("a", output="x" * 5_000), step("b", StepState.FAILED)]),
        store.append_events("m", 0, [b"x" * 300, b"{}"]),
        store.intend_effects("m", [effect(0), effect(1)]),
        store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, b"x" * 2_000),
        store.create_approval(approval("p", "m")),
        store.decide_approval("p", ApprovalState.APPROVED, "bob", "x" * 700),
    ):
        await change
        now = accounts(path)[ALICE]
        assert now > before
        before = now
    assert before > 10_000 + 5_000 + 300 + 2_000 + 700
    assert accounts(path)[BOB] < 2_000
    await store.intend_effects("m", [effect(1, key="again")])
    assert accounts(path)[ALICE] == before
    assert await store.stored_bytes(BOB) == StoredBytes(tenant=before + accounts(path)[BOB], principal=1_024 + 128 + 30)
    assert await store.stored_bytes(("u", "alice")) == StoredBytes()


async def test_what_is_begun_anew_gives_back_what_it_drops(store: Store, tmp_path: Path) -> None:
    """Results that do not stand, and effects in doubt."""
    path = tmp_path / "missions.db"
    await store.create_mission(mission("m"))
    await store.mark_executing("m")
    await store.save_step_results("m", [step("a"), step("b", StepState.FAILED)])
    await store.intend_effects("m", [effect(0)])
    await store.finish_mission(ending("m"))
    ended = accounts(path)[ALICE]
    await store.forget_doubt("m")
    await store.reopen_mission("m")
    assert accounts(path)[ALICE] < ended - 2 * 128


async def test_what_is_erased_or_pruned_is_counted_no_longer(store: Store, tmp_path: Path) -> None:
    """An erased mission is still in the list, with its row; a pruned one is nowhere, and neither is its account."""
    path = tmp_path / "missions.db"
    for name in ("erased", "pruned"):
        await store.create_mission(mission(name, document=b"x" * 5_000))
        await fill(store, name, rows=20)
        await store.finish_mission(ending(name, START), files_bytes=70_000)
    assert accounts(path)[ALICE] > 2 * (5_000 + 70_000)
    erasing = await store.erasures.begin("erased", "t/ann", "")
    await store.erasures.mission(erasing)
    await store.erasures.end(erasing)
    assert 75_000 < accounts(path)[ALICE] < 5_000 + 70_000 + 200 * 128
    await store.prune(START + timedelta(seconds=1), 10, among=["pruned"])
    assert accounts(path) == {ALICE: 1_024}
    await store.prune(START + timedelta(seconds=1), 10)
    assert accounts(path) == {}


async def test_files_are_counted_while_nobody_runs_the_mission(store: Store, tmp_path: Path) -> None:
    """Who runs it knows what they hold; what it has left is counted when it ends, or is suspended."""
    path = tmp_path / "missions.db"
    await store.create_mission(mission("m"))
    await store.mark_executing("m")
    running = accounts(path)[ALICE]
    await store.set_files_bytes("m", 9_000)
    assert accounts(path)[ALICE] == running + 9_000
    await store.mark_executing("m")
    assert accounts(path)[ALICE] == running
    await store.finish_mission(ending("m"), files_bytes=4_000)
    assert accounts(path)[ALICE] > running + 4_000 - 1


async def test_a_name_that_is_forgotten_takes_its_account_with_it(store: Store, tmp_path: Path) -> None:
    """The table would else keep the name that everything else has lost."""
    path = tmp_path / "missions.db"
    await store.create_mission(mission("m"))
    await store.finish_mission(ending("m"))
    erasing = await store.erasures.begin("m", "t/ann", "")
    await store.erasures.mission(erasing)
    await store.erasures.end(erasing)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE missions SET submitter = 'subject-77' WHERE id = 'm'")
    assert accounts(path) == {("t", "subject-77"): 1_024}


async def test_a_store_of_before_is_counted_when_it_is_opened(store: Store, tmp_path: Path) -> None:
    """By the migration, once."""
    await store.create_mission(mission("m", document=b"x" * 5_000))
    await fill(store, "m")
    await store.close()
    path = tmp_path / "missions.db"
    counted = accounts(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
        for name in triggers:
            if "counted" in name or name in {"missions_files", "missions_renamed"}:
                connection.execute(f"DROP TRIGGER {name}")
        connection.executescript(
            "DROP VIEW mission_bytes; DROP TABLE stored_bytes; ALTER TABLE missions DROP COLUMN files_bytes;"
            f"PRAGMA user_version = {len(MIGRATIONS) - 1}"
        )
        lend_functions(connection, Sealer(MASTERS))
        migrate(connection)
    assert accounts(path) == counted
    again = Store.open(path, clock=TickingClock(), masters=MASTERS)
    assert (await again.stored_bytes(ALICE)).principal == counted[ALICE]
    await again.close()
