"""Opening the file: privacy, locking, migrations, damage."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engine.clock import SystemClock
from gateway.errors import StoreError
from gateway.store.opening import open_reader, open_writer
from gateway.store.schema import APPLICATION_ID, MIGRATIONS, migrate
from gateway.store.sealing import Sealer
from gateway.store.store import Store
from tests.payload_keys import MASTERS


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as refused:
        Store.open(path, clock=SystemClock(), masters=MASTERS)
    return refused.value.code


def modes(folder: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}


async def test_the_files_are_private(tmp_path: Path) -> None:
    """Database, log, index and lock are for their owner alone."""
    store = Store.open(tmp_path / "s.db", clock=SystemClock(), masters=MASTERS)
    await store.unfinished()
    assert modes(tmp_path) == dict.fromkeys(["s.db", "s.db-wal", "s.db-shm", "s.db.lock"], 0o600)
    await store.close()


async def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    """Two gateways on one store would fail each other's missions; after a close the next may have it."""
    store = Store.open(tmp_path / "s.db", clock=SystemClock(), masters=MASTERS)
    assert refusal(tmp_path / "s.db") == "store.locked"
    await store.close()
    await Store.open(tmp_path / "s.db", clock=SystemClock(), masters=MASTERS).close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """The writer has a write-ahead log and synchronous=FULL, and overwrites what it deletes; the reader reads."""
    with (
        closing(open_writer(tmp_path / "s.db", Sealer(MASTERS))) as writer,
        closing(open_reader(tmp_path / "s.db")) as reader,
    ):
        asked = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "secure_delete")
        assert [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in asked] == ["wal", 2, 1, 0, 1]
        with pytest.raises(sqlite3.OperationalError):
            reader.execute("DELETE FROM missions")


def test_an_empty_database_is_migrated_from_version_0(tmp_path: Path) -> None:
    """Version 0 with nothing in it gets every migration, and the mark of this program."""
    with database(tmp_path / "s.db") as fresh:
        assert fresh.execute("PRAGMA user_version").fetchone() == (0,)
    with closing(open_writer(tmp_path / "s.db", Sealer(MASTERS))) as writer:
        assert writer.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert writer.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        assert writer.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_later_migration_finds_the_rows_of_the_earlier(tmp_path: Path) -> None:
    """Only what is missing is applied, and data stay."""
    first = "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);"
    with database(tmp_path / "s.db") as connection:
        migrate(connection, (first,))
        migrate(connection, (first, "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 2;"))
        assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, 2)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    """Its statements and its version are one transaction."""
    with database(tmp_path / "s.db") as connection:
        with pytest.raises(sqlite3.Error):
            migrate(connection, ("CREATE TABLE a (x INTEGER) STRICT; INSERT INTO missing VALUES (1);",))
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """An older gateway does not guess what a newer one wrote."""
    with database(tmp_path / "s.db") as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    assert refusal(tmp_path / "s.db") == "store.schema_newer"


def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    """No table and no journal mode of it is changed."""
    with database(tmp_path / "s.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = (tmp_path / "s.db").read_bytes()
    assert refusal(tmp_path / "s.db") == "store.foreign"
    assert (tmp_path / "s.db").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be read as one" * 100, b"SQLite format 3\0" * 64]
)
def test_a_damaged_file_is_a_store_error(tmp_path: Path, content: bytes) -> None:
    """Rubbish in place of the database, and a damaged header."""
    (tmp_path / "s.db").write_bytes(content)
    assert refusal(tmp_path / "s.db") in {"store.corrupt", "store.foreign"}


async def opened_and_listed(path: Path) -> None:
    store = Store.open(path, clock=SystemClock(), masters=MASTERS)
    try:
        await store.list_missions()
    finally:
        await store.close()


async def test_damage_inside_is_a_store_error(tmp_path: Path) -> None:
    """Pages that were overwritten after the header are found when they are read, at the latest."""
    path = tmp_path / "s.db"
    await Store.open(path, clock=SystemClock(), masters=MASTERS).close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(StoreError) as refused:
        await opened_and_listed(path)
    assert refused.value.code == "store.corrupt"


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    """A missing directory, and a directory in place of the file, are typed errors, and the lock is let go."""
    assert refusal(tmp_path / "no/s.db") == "store.unavailable"
    (tmp_path / "s.db").mkdir()
    for _ in range(2):
        assert refusal(tmp_path / "s.db") == "store.unavailable"
