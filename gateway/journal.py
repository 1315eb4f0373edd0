"""What the steps of a mission have asked the world for, and what came of it: kept, so that no effect is done twice.

An effect is known by its place, the how-manieth of its step it is, and by its key (`gateway.effects.keys`). Its record
is in the store before it is performed, and its outcome before anybody hears of it. A step that is run again, by a
retry, a restarted level or a later start of the gateway, is given what is recorded, as if it had just happened:

- what was performed is never performed again, and what failed before it is told again, so that a module, which is a
  function of what it is told, comes to the same place;
- what failed after all that was performed is tried anew;
- an effect that was begun and has no outcome is in doubt: it is repeated only where that leaves the world as once
  would, or where the step says so;
- a step that asks for something else in a place where something was done has failed: nobody knows what it means.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final, Protocol

import orjson

from engine.errors import StepError
from engine.values import JsonObject
from gateway.effects.performer import EffectRequest
from gateway.store.effect_records import EffectRecord, EffectState

_SETTLED: Final = frozenset({EffectState.PERFORMED, EffectState.FAILED})


class EffectStore(Protocol):
    """Where the records are; `gateway.store.store.Store` is one."""

    async def intend_effects(self, mission_id: str, records: Sequence[EffectRecord]) -> None:
        """Record effects that are about to be performed, in place of what stands there; never of a performed one."""

    async def settle_effect(
        self, mission_id: str, step_id: str, item: int | None, index: int, state: EffectState, entry: bytes | None
    ) -> None:
        """Record what came of one; where it was not performed, those behind it were never begun."""

    async def effects(self, mission_id: str, step_id: str, item: int | None) -> tuple[EffectRecord, ...]:
        """Return the effects of a step in the order of their places."""


class MissionJournal:
    """The journals of all steps of one execution of a mission."""

    def __init__(self, store: EffectStore, mission_id: str, *, fresh: bool) -> None:
        """Begin; `fresh` says that the store has nothing of this mission, so that it need not be asked."""
        self._store = store
        self._mission_id = mission_id
        self._fresh = fresh
        self._acted: set[tuple[str, int | None]] = set()  # steps and items that have intended something meanwhile

    def empty(self, step_id: str, item: int | None) -> "StepJournal | None":
        """Return the journal of a step, or of an item of it, that has never acted; None: the store has to be asked."""
        return StepJournal(self, step_id, item, ()) if self._fresh and (step_id, item) not in self._acted else None

    async def of(self, step_id: str, item: int | None) -> "StepJournal":
        """Return the journal of a step, or of an item of it, as an attempt begins.

        Raises:
            StoreError: it cannot be read.
        """
        return StepJournal(self, step_id, item, await self._store.effects(self._mission_id, step_id, item))

    async def intend(self, records: Sequence[EffectRecord]) -> None:
        """Make intents durable."""
        self._acted.update((record.step_id, record.item) for record in records)
        await self._store.intend_effects(self._mission_id, records)

    async def settle(
        self, step_id: str, item: int | None, index: int, state: EffectState, entry: JsonObject | None
    ) -> None:
        """Make an outcome durable."""
        body = None if entry is None else orjson.dumps(entry)
        await self._store.settle_effect(self._mission_id, step_id, item, index, state, body)


class StepJournal:
    """What one step, or one item of it, has been told of its effects: `entries`, which only grow."""

    def __init__(
        self, mission: MissionJournal, step_id: str, item: int | None, records: Sequence[EffectRecord]
    ) -> None:
        self.entries: Final[list[JsonObject]] = []
        self.given: Final = (records[0].now, records[0].seed) if records else None  # clock and chance of the first time
        self._mission = mission
        self._step_id = step_id
        self._item = item
        self._past, self._doubt = _history(records) if records else ([], None)

    def replay(self, request: EffectRequest, *, repeatable: bool) -> JsonObject | None:
        """Return the recorded entry of the next effect, added to `entries`; None: it is to be performed.

        Raises:
            StepError: `effect.diverged`, something else was done in its place; `effect.in_doubt`, it may have been
                done, and must not be repeated unasked.
        """
        index = len(self.entries)
        if index < len(self._past):
            record = self._past[index]
            if record.key != request.key:
                raise _diverged(request, record)
            entry: JsonObject = orjson.loads(record.entry or b"null")
            self.entries.append(entry)
            return entry
        if self._doubt is not None and self._doubt.index == index:
            if self._doubt.key != request.key:
                raise _diverged(request, self._doubt)
            if not repeatable:
                message = (
                    f"it is not known whether {request.op} took place: the gateway, or the step, was stopped in it"
                )
                raise StepError(message, code="effect.in_doubt", retryable=False)
        return None

    async def intend(self, requests: Sequence[EffectRequest], given: tuple[str, str]) -> None:
        """Make durable that these are performed next; `given` is the attempt's clock and chance."""
        now, seed = given
        first = len(self.entries)
        await self._mission.intend(
            [
                EffectRecord(
                    step_id=self._step_id,
                    item=self._item,
                    index=first + at,
                    key=request.key,
                    op=request.op,
                    now=now,
                    seed=seed,
                    state=EffectState.INTENDED,
                    entry=None,
                )
                for at, request in enumerate(requests)
            ]
        )

    async def settled(self, entry: JsonObject) -> None:
        """Make the outcome of the next effect durable, and tell the step."""
        state = EffectState.FAILED if "error" in entry else EffectState.PERFORMED
        await self._mission.settle(self._step_id, self._item, len(self.entries), state, entry)
        self.entries.append(entry)

    async def not_begun(self) -> None:
        """Make it durable that the next effect was intended and no more, unless an earlier attempt may have done it."""
        index = len(self.entries)
        if self._doubt is None or self._doubt.index != index:
            entry: JsonObject = {"error": {"code": "effect.not_performed", "message": "the step was stopped before it"}}
            await self._mission.settle(self._step_id, self._item, index, EffectState.FAILED, entry)

    async def doubted(self) -> None:
        """Make it durable that nobody knows what came of the next effect."""
        await self._mission.settle(self._step_id, self._item, len(self.entries), EffectState.IN_DOUBT, None)


def _history(records: Sequence[EffectRecord]) -> tuple[list[EffectRecord], EffectRecord | None]:
    """Return what is told again, and the effect that is in doubt, if one is.

    Effects are performed one after the other, each once the outcome of the one before is durable: of those without an
    outcome only the first can have been begun.
    """
    past = list(takewhile(lambda record: record.state in _SETTLED, records))
    if len(past) < len(records):
        return past, records[len(past)]
    while past and past[-1].state is EffectState.FAILED:
        past.pop()
    return past, None


def _diverged(request: EffectRequest, record: EffectRecord) -> StepError:
    message = f"the step asks for {request.op} where it has asked for another {record.op}, which may have been done"
    return StepError(message, code="effect.diverged", retryable=False)
