"""Stage 7, the act: effects that were allowed are intended, performed one after the other, and journalled.

What policy wants masked in an outcome is masked before anybody has it: the journal, the log, the step.
What an earlier attempt has done is not done again (`gateway.journal`). An intent is durable, in the store and in the
log, before anything is done; an outcome is durable in the store before the log and the step hear of it. Whatever
happens, cancellation included, every intent gets its end in the log.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from engine.errors import StepError
from engine.values import JsonObject
from gateway.commitments import Evidence, Hidden
from gateway.effects.limits import UNNARROWED, LimitTable
from gateway.effects.performer import EffectRequest, Effects
from gateway.errors import EffectError, SandboxError
from gateway.events import Audit, EventType
from gateway.journal import StepJournal
from gateway.stages import AllowedEffect, ReadyStep

JOURNAL_BYTES_MAX: Final = 256 * 1024  # of one step


class Performing:
    """Performs the effects of all steps of one gateway."""

    def __init__(self, effects: Effects, audit: Audit, limits: LimitTable = UNNARROWED) -> None:
        self._effects = effects
        self._limits = limits
        self._audit = audit
        self._late: set[asyncio.Task[None]] = set()

    def adopt(self, limits: LimitTable) -> None:
        """From now on hold effects to these limits."""
        self._limits = limits

    def seconds_max(self, op: str) -> float:
        """Return how long an operation may take; infinite where it waits for somebody."""
        return self._effects.seconds_max(op)

    async def act(self, ready: ReadyStep, allowed: Sequence[AllowedEffect], journal: StepJournal) -> None:
        """Tell again what was done, and do the rest, stopped at the first error.

        Raises:
            StepError: `effect.in_doubt`, `effect.diverged`.
            FaultError: store or log cannot take it; SandboxError: the journal is too large.
        """
        waiting = deque(allowed)
        while waiting and (entry := self._replayed(ready, waiting[0].request, journal)) is not None:
            waiting.popleft()
            if "error" in entry:
                return
        if waiting:
            await self._intend(ready, waiting, journal)
            try:
                await self._perform_all(ready, waiting, journal)
            finally:
                for effect in waiting:
                    _end(ready, effect.request, EventType.EFFECT_FAILED, {"code": "effect.not_performed"})
        if sum(len(orjson.dumps(entry)) for entry in journal.entries) > JOURNAL_BYTES_MAX:
            raise SandboxError(
                f"the step's journal exceeds {JOURNAL_BYTES_MAX} bytes", code="sandbox.journal_too_large"
            )

    def _replayed(self, ready: ReadyStep, request: EffectRequest, journal: StepJournal) -> JsonObject | None:
        """Return what an earlier attempt was told of this effect; None: it is to be performed."""
        try:
            entry = journal.replay(request, repeatable=self._repeatable(ready, request))
        except StepError as error:
            _end(ready, request, EventType.EFFECT_FAILED, {"code": error.code})
            raise
        if entry is not None:
            _end(ready, request, EventType.EFFECT_REPLAYED, {"entry": Hidden(entry)})
        return entry

    async def _intend(self, ready: ReadyStep, effects: Sequence[AllowedEffect], journal: StepJournal) -> None:
        """Bring the intents to the store, then to the log, and wait for a signed checkpoint over them."""
        ready.admitted.trail.require_open(ready.target)
        requests = [effect.request for effect in effects]
        intended: list[EffectRequest] = []
        seq = -1
        try:
            await journal.intend(requests, (ready.given.now, ready.given.seed))
            for request in requests:
                facts: Evidence = {"op": request.op, "key": request.key, "args": Hidden(request.args)}
                seq = ready.admitted.trail.record(EventType.EFFECT_INTENDED, ready.target, facts)
                intended.append(request)
            await self._audit.durable(seq)
        except BaseException:
            self._later(journal.not_begun())  # or a later attempt would find a doubt where there is none
            for request in intended:
                _end(ready, request, EventType.EFFECT_FAILED, {"code": "effect.not_performed"})
            raise

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in a task of its own: a cancelled step has no time for it. Where it fails, a doubt is left."""
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late_ended)

    def _late_ended(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()

    async def _perform_all(self, ready: ReadyStep, waiting: deque[AllowedEffect], journal: StepJournal) -> None:
        """Perform one after the other, taking it off, and stop at the first error."""
        while waiting:
            ready.admitted.trail.require_open(ready.target)
            entry = await self._perform(ready, waiting.popleft(), journal)
            if "error" in entry:
                return

    async def _perform(self, ready: ReadyStep, effect: AllowedEffect, journal: StepJournal) -> JsonObject:
        """Perform one effect whose intent is durable, keep and record its end, and return its entry of the journal."""
        request = effect.request
        # Of a cancelled step, most often in the middle of the act; what may be repeated leaves nothing for a person.
        repeatable = self._effects.repeatable(request.op, request.args)
        end: Evidence = {"code": "effect.interrupted" if repeatable else "effect.in_doubt"}
        ended = EventType.EFFECT_FAILED
        try:
            caller = ready.admitted.caller
            limits = self._limits.of(ready.step.step_type, caller.roles, caller.tenant)
            scope = replace(effect.scope, limits=limits, masked=effect.redaction.names)
            outcome, masked = effect.redaction.apply(await self._effects.perform(request, scope))
            entry: JsonObject = {"ok": outcome}
            ended, end = EventType.EFFECT_PERFORMED, {"outcome": Hidden(outcome)}
            if masked:
                end["masked_places"] = masked
            await journal.settled(entry)
        except EffectError as error:
            if error.in_doubt:
                await journal.doubted()
                raise self._in_doubt(ready, request, error) from error
            end = {"code": error.code}
            entry = {"error": {"code": error.code, "message": error.message}}
            await journal.settled(entry)
            end["entry"] = Hidden(entry)
            if error.violation:
                end["violation"] = True
                raise StepError(error.message, code=error.code, halts_mission=True) from error
        except Exception:  # the store did not take the outcome: no later attempt can know it
            ended, end = EventType.EFFECT_FAILED, {"code": "effect.in_doubt"}
            raise
        finally:
            _end(ready, request, ended, end)
        return entry

    def _in_doubt(self, ready: ReadyStep, request: EffectRequest, error: EffectError) -> StepError:
        message = f"it is not known whether {request.op} took place: {error.message}"
        return StepError(message, code="effect.in_doubt", retryable=self._repeatable(ready, request))

    def _repeatable(self, ready: ReadyStep, request: EffectRequest) -> bool:
        """Return whether twice is as once: by what is done, or by the step's own word."""
        return ready.step.idempotent or self._effects.repeatable(request.op, request.args)


def _end(ready: ReadyStep, request: EffectRequest, event_type: EventType, facts: Evidence) -> None:
    """Record how an intent ended."""
    ready.admitted.trail.record(event_type, ready.target, {"op": request.op, "key": request.key, **facts})
