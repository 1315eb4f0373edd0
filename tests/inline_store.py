"""The real store without its threads: the same SQL on a database in memory, so that it can live in virtual time.

Each call passes a point of `Faults`: one that raises there has done nothing. As with the store's own writer, whatever
was submitted stands, also where the caller is cancelled before it hears of it.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from engine.clock import Clock
from engine.result import StepResult
from gateway.errors import StoreError
from gateway.missions.views import MissionEvent
from gateway.store.conversion import lend_functions
from gateway.store.failures import store_error
from gateway.store.queries import event_body, opened
from gateway.store.records import MissionRecord, StoredEvent, step_of
from gateway.store.schema import migrate
from gateway.store.sealing import Sealer
from gateway.store.store import Store
from tests.payload_keys import MASTERS, lend_seals

POINTS = {
    "create_mission": "store.create",
    "find_request": "store.find",
    "get_mission": "store.get",
    "mark_executing": "store.mark",
    "set_paused": "store.pause",
    "reopen_mission": "store.reopen",
    "save_step_results": "store.results",
    "append_events": "store.events",
    "finish_mission": "store.finish",
    "interrupt_mission": "store.interrupt",
    "unfinished": "store.unfinished",
    "intend_effects": "store.intend",
    "settle_effect": "store.settle",
    "effects": "store.effects",
}


class Inline:
    """Both the writer and the reader of a store: runs every operation at once, in a savepoint."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def submit(self, operation: Callable[[sqlite3.Connection], Any]) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.connection.execute("SAVEPOINT operation")
        try:
            future.set_result(operation(self.connection))
        except sqlite3.Error as error:
            self.connection.execute("ROLLBACK TO operation")
            future.set_exception(store_error(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            self.connection.execute("ROLLBACK TO operation")
            future.set_exception(error)
        self.connection.execute("RELEASE operation")
        return future

    between = submit

    async def run(self, query: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self.submit(query)


class InlineStore(Store):
    """A store for tests; a page of events holds two, so that pages are turned."""

    def __init__(self, faults: Any, clock: Clock) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.row_factory = sqlite3.Row
        self._own = Sealer(MASTERS)
        lend_functions(connection, self._own)
        migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        lend_seals(connection)
        self.connection = connection
        inline: Any = Inline(connection)
        super().__init__(inline, inline, -1, clock, MASTERS)
        for name, point in POINTS.items():
            setattr(self, name, _faulty(getattr(self, name), faults, point))

    async def events(self, mission_id: str, from_index: int, limit: int = 2) -> tuple[StoredEvent, ...]:
        return await super().events(mission_id, from_index, limit)

    @property
    def missions(self) -> Mapping[str, MissionRecord]:
        rows = self.connection.execute("SELECT * FROM missions ORDER BY seq")
        return {row["id"]: opened(self.connection, self._own, row) for row in rows}

    def results_of(self, mission_id: str) -> list[StepResult]:
        rows = self.connection.execute("SELECT * FROM step_results WHERE mission_id = ? ORDER BY seq", (mission_id,))
        return [step_of(row, self._own.box(self.connection, mission_id)) for row in rows]

    def events_of(self, mission_id: str) -> list[MissionEvent]:
        rows = self.connection.execute(
            "SELECT idx, body FROM mission_events WHERE mission_id = ? ORDER BY idx", (mission_id,)
        )
        box = self._own.box(self.connection, mission_id)
        return [MissionEvent.from_bytes(event_body(box, row)) for row in rows]

    def effects_of(self, mission_id: str) -> list[tuple[str, int, str]]:
        """Return step, place and state of each effect."""
        rows = self.connection.execute(
            "SELECT step_id, idx, state FROM effects WHERE mission_id = ? ORDER BY step_id, item, idx", (mission_id,)
        )
        return [tuple(row) for row in rows]


def _faulty(method: Callable[..., Any], faults: Any, point: str) -> Callable[..., Any]:
    async def called(*args: Any, **kwargs: Any) -> Any:
        later = faults.hit(point)
        try:
            answer = await method(*args, **kwargs)
        except StoreError:
            await asyncio.sleep(0)
            raise
        await asyncio.sleep(0)
        if later is not None:
            await later
        return answer

    return called
