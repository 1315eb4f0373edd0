"""Sub-missions: runs a mission as a step of another, as a mission of the same principal.

The effect's key is the request id, so whoever asks twice finds the same mission: after a restart it is waited for,
and where it has ended without success and the step is tried again, it is retried and keeps what it has completed.
"""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, Final

from engine.errors import EngineError, FaultError, RefusalError, SuspendedError
from engine.outcome import HALTED, Stop
from engine.result import MissionState, OverallStatus, StepResult
from engine.values import JsonObject, JsonValue
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.waits import MissionRun
from gateway.errors import (
    ConflictError,
    EffectError,
    OverloadedError,
    PolicyDeniedError,
    SanitizationError,
    is_violation,
)
from gateway.missions.earlier import read_stop
from gateway.missions.ports import STOPPING, ChildDesk, ChildStore, MissionFacts, Tell
from gateway.missions.views import Submission

REQUEST_ID_PREFIX: Final = "child:"  # no client's request id may begin so
_PARENT_CANCELLED: Final = "the step that runs this mission was cancelled"
_STOPPED: Final = frozenset({HALTED, "mission.restart_intensity"})  # why a person has to look


class Children:
    """Performs mission.run."""

    seconds_max = math.inf  # the sub-mission's own timeout and the step's end the wait

    def __init__(self, store: ChildStore) -> None:
        self._store = store
        self._desk: ChildDesk | None = None
        self._tell: Tell = lambda _mission_id, _step_id, _kind, _details: None
        self._cancelling: dict[str, asyncio.Task[None]] = {}  # by the effect's key

    def bind(self, desk: ChildDesk, tell: Tell | None = None) -> None:
        """Say who runs missions, and who tells watchers that a step waits: the desk needs the effects first."""
        self._desk = desk
        self._tell = tell or self._tell

    def repeatable(self, _args: JsonObject) -> bool:
        """Return True: asking again finds the mission that is there."""
        return True

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Run the mission, wait for its end, and return `{mission_id, status, outputs}`."""
        wanted = MissionRun.parse(request.args)
        if self._desk is None:
            raise EffectError("this gateway runs no sub-missions", code="effect.unavailable")
        if (ending := self._cancelling.get(request.key)) is not None:
            await asyncio.wait([ending])  # of an attempt before this one: its end must not be taken for ours
        run = _Run(self._desk, self._store, self._tell, scope)
        try:
            return await run.outcome(wanted, REQUEST_ID_PREFIX + request.key)
        except EffectError:
            raise
        except FaultError as error:  # found again by its request id, so nothing is in doubt
            raise EffectError("the sub-mission cannot be run now", code="effect.unavailable") from error
        except asyncio.CancelledError:
            if not self._desk.suspending:  # else the next start goes on with both
                self._later(request.key, run.cancel())
            raise

    async def close(self) -> None:
        """Return once every sub-mission whose step was cancelled is cancelled as well."""
        if self._cancelling:
            await asyncio.wait(list(self._cancelling.values()))

    def _later(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Do it in a task of its own: a cancelled step has no time for it."""
        task = self._cancelling[key] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._cancelling.pop(key))


class _Run:
    """One step's run of one sub-mission."""

    def __init__(self, desk: ChildDesk, store: ChildStore, tell: Tell, scope: EffectScope) -> None:
        self._desk = desk
        self._store = store
        self._tell = tell
        self._scope = scope
        self._submitting: asyncio.Task[Submission] | None = None

    async def outcome(self, wanted: MissionRun, request_id: str) -> JsonObject:
        scope = self._scope
        try:
            mission_id = await self._started(wanted.form, request_id)
        except OverloadedError as error:
            if error.code == STOPPING:
                await self._until_suspended()
            raise EffectError(error.message, code="effect.overloaded") from error
        item: JsonObject = {} if scope.item is None else {"item": scope.item}
        part: JsonObject = {"for": "mission", "mission_id": mission_id, **item}
        self._tell(scope.mission_id, scope.step_id, "step.waiting", part)
        async with scope.waiting():
            ended = await self._ended(mission_id)
            self._tell(scope.mission_id, scope.step_id, "step.waited", {**part, "state": ended.state.value})
        return await self._judged(ended, wanted)

    async def cancel(self) -> None:
        """Cancel the mission, whether it has been started or is about to be."""
        if self._submitting is None:
            return
        try:
            submission = await self._submitting
            await self._desk.cancel_own(submission.mission_id, _PARENT_CANCELLED)
        except EngineError:
            return  # refused, ended meanwhile, or the gateway cannot: its next start looks for it

    async def _started(self, form: JsonObject, request_id: str) -> str:
        """Return the id of the mission, which runs."""
        scope = self._scope
        self._submitting = asyncio.create_task(
            self._desk.submit_child(scope.mission_id, scope.caller, scope.taint, form, request_id)
        )
        self._submitting.add_done_callback(_seen)
        try:
            submission = await asyncio.shield(self._submitting)  # a cancelled step has to know what it has started
        except OverloadedError:
            raise
        except RefusalError as error:
            raise _refused(error) from error
        if not submission.created:
            await self._taken_up(submission.mission_id)
        return submission.mission_id

    async def _taken_up(self, mission_id: str) -> None:
        """Go on with the mission of an earlier attempt."""
        child = await self._store.get_mission(mission_id)
        if child.parent_id != self._scope.mission_id:
            message = f"mission {mission_id} has this request id, and is no part of this mission"
            raise EffectError(message, code="effect.mission_refused")
        if child.ended_at is None or child.overall_status is OverallStatus.SUCCESS or await self._is_a_persons(child):
            return
        try:
            await self._desk.retry_own(mission_id)
        except OverloadedError:
            raise
        except RefusalError as error:  # a person was faster, or it may not be retried
            if (await self._store.get_mission(mission_id)).ended_at is not None:
                raise _refused(error) from error

    async def _is_a_persons(self, child: MissionFacts) -> bool:
        """Return whether a mission was stopped, and no person has begun this one anew since: a module cannot either."""
        if child.error is not None and child.error.message == _PARENT_CANCELLED:
            return False
        parent = await self._store.get_mission(self._scope.mission_id)
        since = child.ended_at is not None and parent.started_at is not None and child.ended_at > parent.started_at
        return since and _is_stopped(child, await read_stop(self._store, child.id))

    async def _ended(self, mission_id: str) -> MissionFacts:
        try:
            return await self._desk.ended(mission_id)
        except SuspendedError:
            # The sub-mission was suspended before this one: its turn comes, as a cancellation.
            await asyncio.get_running_loop().create_future()
            raise
        except ConflictError as error:  # its end could not be recorded: the next start looks for it
            raise EffectError(error.message, code="effect.unavailable") from error

    async def _until_suspended(self) -> None:
        """Wait, without a place, for the cancellation that comes: the gateway stops, and its next start goes on."""
        async with self._scope.waiting():
            await asyncio.get_running_loop().create_future()

    async def _judged(self, ended: MissionFacts, wanted: MissionRun) -> JsonObject:
        """Return the outcome of a success.

        Raises:
            EffectError: it was none.
        """
        success = ended.overall_status is OverallStatus.SUCCESS
        if success and not wanted.outputs:
            return {"mission_id": ended.id, "status": OverallStatus.SUCCESS.value, "outputs": {}}
        if not success:
            stop = await read_stop(self._store, ended.id)
            status = ended.overall_status.value if ended.overall_status is not None else "unknown"
            why = f": {ended.error.message}" if ended.error is not None else ""
            message = f"mission {ended.id} is {ended.state.value}, with the status {status}{why}"
            code = "effect.mission_stopped" if _is_stopped(ended, stop) else "effect.mission_failed"
            raise EffectError(message, code=code, violation=stop is not None and stop.reason.code == HALTED)
        results = await self._results(ended.id)
        outputs: dict[str, JsonValue] = {
            step_id: results[step_id].output if step_id in results else None for step_id in wanted.outputs
        }
        return {"mission_id": ended.id, "status": OverallStatus.SUCCESS.value, "outputs": outputs}

    async def _results(self, mission_id: str) -> dict[str, StepResult]:
        results: list[StepResult] = []
        while page := await self._store.step_results(mission_id, offset=len(results)):
            results += page
        return {result.step_id: result for result in results}


def _seen(task: asyncio.Task[Submission]) -> None:
    """Look at how a submission ended: a step that was cancelled does not, and asyncio would complain."""
    if not task.cancelled():
        task.exception()


def _is_stopped(ended: MissionFacts, stop: Stop | None) -> bool:
    """Return whether a person has to look: it was cancelled, broke a security rule, or crashed again and again."""
    return ended.state is MissionState.CANCELLED or (stop is not None and stop.reason.code in _STOPPED)


def _refused(error: RefusalError) -> EffectError:
    """Return the failure of a mission that was not admitted; what policy or the sanitizer refuse is a violation."""
    violation = isinstance(error, PolicyDeniedError | SanitizationError) and is_violation(error)
    return EffectError(f"{error.code}: {error.message}", code="effect.mission_refused", violation=violation)
