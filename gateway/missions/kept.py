"""What an earlier process has done for a mission, told to the log again: its last moments may be lost there.

The log drops what no checkpoint covers; the store, which had the outcomes first, has them still. Without this, an
auditor would find an intent that nobody ended, though the gateway knows how it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

import orjson

from engine.result import StepResult
from gateway.commitments import Evidence, Hidden
from gateway.events import EventType, Trail
from gateway.store.effect_records import EffectRecord, EffectState

_OF_ONE_EVENT: Final = 128  # entries: an id has 128 characters at most, and a line 64 KiB


class KeptStore(Protocol):
    """Where it is; `gateway.store.store.Store` is one."""

    async def mission_effects(self, mission_id: str, *, offset: int = 0) -> tuple[EffectRecord, ...]:
        """Return a page of a mission's effects, by step, item and index; an empty one is the end."""


async def record_kept(trail: Trail, store: KeptStore, mission_id: str, results: Mapping[str, StepResult]) -> int:
    """Append an event for every so many outcomes that stand, and return the seq of the last; -1: there are none.

    Raises:
        EngineError: as `Trail.record`; StoreError.
    """
    seq, effects = -1, _Effects()
    for batch in _batches(_steps(results)):
        seq = trail.record(EventType.STEPS_KEPT, mission_id, {"steps": batch})
    offset = 0
    while page := await store.mission_effects(mission_id, offset=offset):
        offset += len(page)
        for batch in _batches(effects.told(page)):
            seq = trail.record(EventType.EFFECTS_KEPT, mission_id, {"effects": batch})
    return seq


class _Effects:
    """One pass over a mission's effects: those that were performed, and of each step the one that is in doubt.

    Effects of a step come one after the other: what follows one without an outcome was never begun.
    """

    def __init__(self) -> None:
        self._doubted: tuple[str, int | None] | None = None

    def told(self, records: Sequence[EffectRecord]) -> Iterator[Evidence]:
        for record in records:
            place = record.step_id, record.item
            if record.state is EffectState.PERFORMED:
                yield {**_effect(record), "outcome": Hidden(orjson.loads(record.entry or b"null")["ok"])}
            elif record.state is not EffectState.FAILED and self._doubted != place:
                self._doubted = place
                yield {**_effect(record), "code": "effect.in_doubt"}


def _effect(record: EffectRecord) -> Evidence:
    step = record.step_id if record.item is None else f"{record.step_id}[{record.item}]"
    return {"step": step, "op": record.op, "key": record.key}


def _steps(results: Mapping[str, StepResult]) -> Iterator[Evidence]:
    for step_id, result in results.items():
        told: Evidence = {"id": step_id, "status": result.status.value, "output": Hidden(result.output)}
        if result.error is not None:
            told["code"] = result.error.code
        yield told


def _batches(values: Iterator[Evidence]) -> Iterator[list[Evidence]]:
    while batch := list(islice(values, _OF_ONE_EVENT)):
        yield batch
