"""A store read beside the gateway that has it, or without one: nothing is locked, and nothing is written."""

from pathlib import Path
from typing import Final, Self

from engine.result import StepResult
from gateway.store import effects, hooks, queries
from gateway.store.effect_records import EffectRecord
from gateway.store.master_keys import MasterKeys
from gateway.store.opening import open_beside
from gateway.store.reader import Reader
from gateway.store.records import MissionRecord
from gateway.store.sealing import Sealer

_PAGE_MAX: Final = 1_000


class StoreReading:
    """What a replay asks of a store. Every method may raise StoreError."""

    def __init__(self, reader: Reader, sealer: Sealer) -> None:
        self._reader = reader
        self._sealer = sealer

    @classmethod
    def open(cls, path: Path, masters: MasterKeys) -> Self:
        """Open the file at `path` for reading; `masters` have wrapped the keys of its missions.

        Raises:
            StoreError: it is missing or damaged, another program's (`store.foreign`), or of another version
                (`store.schema_newer`, `store.schema_older`).
        """
        return cls(Reader(open_beside(path)), Sealer(masters))

    def close(self) -> None:
        """Let go of the file; blocks while a query is under way."""
        self._reader.stop()
        self._reader.close()

    async def get_mission(self, mission_id: str) -> MissionRecord:
        """Return one mission.

        Raises:
            NotFoundError: `mission.not_found`.
        """
        return await self._reader.run(lambda c: queries.get_mission(c, self._sealer, mission_id))

    async def get_document(self, mission_id: str) -> bytes:
        """Return the mission's document, JSON.

        Raises:
            NotFoundError: `mission.not_found`.
        """
        return await self._reader.run(lambda c: queries.get_document(c, self._sealer, mission_id))

    async def mission_key(self, mission_id: str) -> bytes:
        """Return the key of a mission.

        Raises:
            NotFoundError: `mission.not_found`.
            ErasedError: `mission.erased`.
        """
        return await self._reader.run(lambda c: self._sealer.key(c, mission_id))

    async def step_results(self, mission_id: str, *, offset: int = 0) -> tuple[StepResult, ...]:
        """Return a page of results in the order in which they were saved; an empty one is the end."""
        return await self._reader.run(lambda c: queries.step_results(c, self._sealer, mission_id, offset, _PAGE_MAX))

    async def effects(self, mission_id: str, step_id: str, item: int | None) -> tuple[EffectRecord, ...]:
        """Return the effects of a step, or of one item of it, by index."""
        return await self._reader.run(lambda c: effects.effects(c, self._sealer, mission_id, step_id, item))

    async def hook_module(self, sha256: str) -> bytes:
        """Return what is kept under a SHA-256.

        Raises:
            NotFoundError: `hook.module_not_found`.
        """
        return await self._reader.run(lambda c: hooks.module(c, sha256))
