"""One store for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import TickingClock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(tmp_path / "missions.db", clock=TickingClock(), masters=MASTERS)
    yield store
    await store.close()
