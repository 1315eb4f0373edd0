"""A store read beside its gateway."""

import sqlite3
from pathlib import Path

import pytest

from engine.clock import SystemClock
from gateway.errors import NotFoundError, StoreError
from gateway.store.reading import StoreReading
from gateway.store.schema import MIGRATIONS
from gateway.store.store import Store
from tests.payload_keys import MASTERS


async def test_it_reads_while_a_gateway_has_the_store_and_cannot_write(tmp_path: Path) -> None:
    """No lock is asked for, what was committed is seen, and SQLite itself refuses to write."""
    store = Store.open(tmp_path / "missions.db", clock=SystemClock(), masters=MASTERS)
    await store.hooks.use_modules({"a" * 64: b"module"})
    reading = StoreReading.open(tmp_path / "missions.db", MASTERS)
    assert await reading.hook_module("a" * 64) == b"module"
    with pytest.raises(NotFoundError):
        await reading.get_mission("m")
    with pytest.raises(StoreError):
        await reading._reader.run(lambda c: c.execute("DELETE FROM hook_modules"))
    reading.close()
    await store.close()
    reading = StoreReading.open(tmp_path / "missions.db", MASTERS)  # nobody has it open now
    assert await reading.hook_module("a" * 64) == b"module"
    reading.close()


@pytest.mark.parametrize(
    ("pragma", "code"),
    [
        ("application_id = 7", "store.foreign"),
        (f"user_version = {len(MIGRATIONS) + 1}", "store.schema_newer"),
        (f"user_version = {len(MIGRATIONS) - 1}", "store.schema_older"),
    ],
)
async def test_a_file_of_another_kind_or_version_is_refused(tmp_path: Path, pragma: str, code: str) -> None:
    """It is not migrated: that is for a gateway to do."""
    await Store.open(tmp_path / "missions.db", clock=SystemClock(), masters=MASTERS).close()
    with sqlite3.connect(tmp_path / "missions.db") as connection:
        connection.execute(f"PRAGMA {pragma}")
    connection.close()
    with pytest.raises(StoreError) as refused:
        StoreReading.open(tmp_path / "missions.db", MASTERS)
    assert refused.value.code == code


def test_a_file_that_is_missing_or_no_database_is_refused_and_not_made(tmp_path: Path) -> None:
    """Reading leaves nothing behind."""
    with pytest.raises(StoreError):
        StoreReading.open(tmp_path / "missions.db", MASTERS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "missions.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError):
        StoreReading.open(tmp_path / "missions.db", MASTERS)
