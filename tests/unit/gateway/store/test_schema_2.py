"""From schema 1 to schema 2: a store of the gateway before opens with all that it held."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from engine.result import MissionState, OverallStatus, StepFailure, StepState
from gateway.store.conversion import lend_functions
from gateway.store.records import StoredEvent
from gateway.store.schema import MIGRATIONS, migrate
from gateway.store.sealing import Sealer
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import START, TickingClock, effect, part

DUMP = Path(__file__).with_name("schema_1.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store that schema 1 wrote, with a mission that ended, one that waits, and one that runs."""
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.executescript(DUMP.read_text())
    return tmp_path / "s.db"


def content(path: Path) -> Mapping[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables}  # noqa: S608


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        number: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return number


def test_the_dump_is_of_the_first_migration(path: Path) -> None:
    """Its tables are those that migration 1 makes: whoever edits that one has edited what is in the field."""
    fresh = path.with_name("fresh.db")
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:1])
    schemas = []
    for file in (path, fresh):
        with closing(sqlite3.connect(file)) as connection:
            schemas.append(sorted(connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()))
    assert schemas[0] == schemas[1]


def test_every_old_value_stays(path: Path) -> None:
    """Migrating adds columns behind the old ones and tables beside them, and changes nothing that is there."""
    before = content(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:2])
    after = content(path)
    assert version(path) == 2
    for table, rows in before.items():
        assert [row[: len(old)] for row, old in zip(after[table], rows, strict=True)] == rows
    assert [after[table] for table in sorted(after.keys() - before.keys())] == [[], []]


async def test_old_missions_are_read_as_new_ones(path: Path) -> None:
    """Each is its own root, in its first run, of nobody's roles; its results, events and document are the old ones."""
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    records = {m.id: m for m in (await store.list_missions()).missions}
    assert list(records) == ["m3", "m2", "m1"]
    for name, record in records.items():
        assert (record.run, record.parent_id, record.root_id, record.depth) == (1, None, name, 0)
        assert (record.paused, record.roles, record.anonymous) == (False, (), False)
        assert await store.get_document(name) == b'{"name":"x","steps":[{"id":"a"},{"id":"b"}]}'
    ended = records["m1"]
    assert (ended.state, ended.overall_status) == (MissionState.FAILED, OverallStatus.PARTIAL)
    assert ended.error == StepFailure(code="mission.timeout", message="too long")
    first, second = await store.step_results("m1")
    assert (first.output, first.attempts) == ({"n": 2**53 + 1, "t": "ü"}, 0)
    assert (second.step_id, second.status) == ("b", StepState.FAILED)
    assert await store.events("m1", 1) == (StoredEvent(1, b'{"index":1}'),)
    await store.close()


async def test_old_missions_do_what_new_ones_do(path: Path) -> None:
    """What ran goes on, with parts and effects; what had ended begins anew, or is pruned."""
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    assert [m.id for m in await store.unfinished()] == ["m2", "m3"]
    await store.create_mission(part("child", "m3", "m3"))
    await store.intend_effects("m3", [effect(0)])
    assert (await store.reopen_mission("m1")).run == 2
    assert [r.step_id for r in await store.step_results("m1")] == ["a"]
    assert await store.prune(START + timedelta(days=1), 10) == ()
    await store.close()


def test_a_migration_that_fails_leaves_schema_1(path: Path) -> None:
    """At whichever statement of it: tables, rows and version are as before, and the next start can try again."""
    statements = MIGRATIONS[1].split(";\n")
    before = content(path)
    for cut in range(1, len(statements)):
        broken = ";\n".join([*statements[:cut], "INSERT INTO missing VALUES (1)", *statements[cut:]])
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            with pytest.raises(sqlite3.OperationalError, match="missing"):
                migrate(connection, (MIGRATIONS[0], broken))
            names = {row[1] for row in connection.execute("PRAGMA table_info(missions)")}
        assert "run" not in names
        assert (version(path), content(path)) == (1, before)
    assert len(statements) > 15
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        lend_functions(connection, Sealer(MASTERS))
        migrate(connection)
    assert version(path) == len(MIGRATIONS)
