"""What a replay needs, as protocols: records, modules that run, and handles of secrets."""

from collections.abc import Collection
from typing import Protocol

from engine.constraints import ExecutionConstraints
from engine.result import StepResult
from gateway.sandbox.port import RunGiven, RunReport
from gateway.store.effect_records import EffectRecord
from gateway.store.records import MissionRecord
from gateway.vault.reader import Attempt


class Records(Protocol):
    """Where missions are; `gateway.store.store.Store` is one, and `gateway.store.reading.StoreReading` beside it."""

    async def get_mission(self, mission_id: str) -> MissionRecord:
        """Return one mission.

        Raises:
            NotFoundError: there is none.
        """

    async def get_document(self, mission_id: str) -> bytes:
        """Return the mission's document, JSON."""

    async def mission_key(self, mission_id: str) -> bytes:
        """Return the key of a mission, of which what the log says of it is made.

        Raises:
            NotFoundError: there is no such mission.
            ErasedError: it is erased, and nobody can tell any more of what the log speaks.
        """

    async def step_results(self, mission_id: str, *, offset: int = 0) -> tuple[StepResult, ...]:
        """Return a page of a mission's results; an empty one is the end."""

    async def effects(self, mission_id: str, step_id: str, item: int | None) -> tuple[EffectRecord, ...]:
        """Return the effects of a step, or of one item of it, by index."""

    async def hook_module(self, sha256: str) -> bytes:
        """Return what is kept under a SHA-256: a module, or the settings of a hook.

        Raises:
            NotFoundError: nothing is.
        """


class Modules(Protocol):
    """Runs modules that are known by their SHA-256; `gateway.replay.modules.KeptModules` is one."""

    async def run(self, sha256: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven) -> RunReport:
        """Run the module on `document`.

        Raises:
            DifferenceFound: `module`, it is not here, or what is here is another.
            SandboxError: as `gateway.sandbox.port.Sandbox.run`.
        """


class Handles(Protocol):
    """Makes handles of secrets; `gateway.vault.reader.VaultReader` is one. May block."""

    def handles(self, attempt: Attempt, names: Collection[str]) -> dict[str, str]:
        """Return a handle by name.

        Raises:
            SecretError: it cannot.
        """
