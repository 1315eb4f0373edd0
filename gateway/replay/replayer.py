"""A whole mission replayed: its document, and every step in the order of its graph."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from engine.clock import rfc3339
from engine.errors import MissionInvalidError
from engine.plan import Plan
from engine.result import StepResult
from engine.values import JsonValue
from gateway.commitments import Commitments
from gateway.errors import ConflictError, NotFoundError
from gateway.replay.attempts import Ground
from gateway.replay.digests import Digests
from gateway.replay.inputs import RecordedScope, read_plan
from gateway.replay.outcome import Reason, StepOutcome, Verdict
from gateway.replay.ports import Handles, Modules, Records
from gateway.replay.steps import replay_step
from gateway.replay.trace import MissionTrace
from gateway.sandbox.version import EngineVersion
from gateway.store.records import MissionRecord

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """Replays missions of one home."""

    records: Records
    modules: Modules
    handles: Handles | None
    engine: EngineVersion

    async def replay(self, trace: MissionTrace, steps: Collection[str] = ()) -> AsyncGenerator[StepOutcome, None]:
        """Yield what each step comes to, or each of `steps`, in the order of the graph.

        What comes first may be about the document, and names no step: then that differs from the admitted one.

        Raises:
            ConflictError: `mission.damaged`, the store's rows mean nothing.
            NotFoundError: `mission.not_found`; `mission.pruned`, retention has deleted it; `mission.not_recorded`, no
                checkpoint covers its admission; `step.not_found`, the mission has no such step.
            StoreError: the store does not answer.
        """
        record = await self._record(trace)
        if not trace.mission_digest:
            message = "the log has no admission of this mission under its checkpoint"
            raise NotFoundError(message, code="mission.not_recorded")
        if record.erased_at is not None:
            yield _erased(record.erased_at)
            return
        digests = Digests(Commitments(await self.records.mission_key(trace.mission_id)))
        document = await self.records.get_document(trace.mission_id)
        try:
            plan = read_plan(document)
        except MissionInvalidError as error:
            yield _about_document(f"the stored document is no mission: {error.message}", trace.mission_digest, "")
            return
        if (mine := digests.of(plan.mission.digest())) != trace.mission_digest:
            yield _about_document("the stored document is not the admitted one", trace.mission_digest, mine)
        _check_names(plan, steps)
        results = await self._results(trace.mission_id)
        outputs: dict[str, JsonValue] = {step_id: result.output for step_id, result in results.items()}
        ground = Ground(
            record=record,
            plan=plan,
            trace=trace,
            scope=RecordedScope(plan.mission.variables, outputs),
            records=self.records,
            modules=self.modules,
            handles=self.handles,
            digests=digests,
        )
        wanted: Callable[[str], bool] = set(steps).__contains__ if steps else lambda _: True
        for level in plan.graph.levels:
            for index in level:
                step_id = plan.mission.steps[index].id
                if wanted(step_id):
                    yield await replay_step(ground, index, results.get(step_id), self.engine)

    async def _record(self, trace: MissionTrace) -> MissionRecord:
        try:
            return await _understood(self.records.get_mission(trace.mission_id))
        except NotFoundError as error:
            if not trace.pruned:
                raise
            message = "what was recorded of this mission is deleted, as retention says; the log has its digests"
            raise NotFoundError(message, code="mission.pruned") from error

    async def _results(self, mission_id: str) -> dict[str, StepResult]:
        results: dict[str, StepResult] = {}
        while page := await _understood(self.records.step_results(mission_id, offset=len(results))):
            results |= {result.step_id: result for result in page}
        return results


async def _understood(asked: Awaitable[_T]) -> _T:
    """Return what the store answers; rows that somebody has made meaningless are a refusal, and no bug of ours."""
    try:
        return await asked
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError("what is recorded of the mission cannot be understood", code="mission.damaged") from error


def _check_names(plan: Plan, steps: Collection[str]) -> None:
    if unknown := sorted(set(steps) - set(plan.graph.index)):
        raise NotFoundError(f"the mission has no step {unknown[0]!r}", code="step.not_found")


def _erased(erased_at: datetime) -> StepOutcome:
    return StepOutcome(
        step_id="",
        verdict=Verdict.NOT_REPRODUCIBLE,
        reason=Reason.ERASED,
        message=f"what the mission held was erased at {rfc3339(erased_at)}; the log has its digests",
    )


def _about_document(message: str, recorded: str, replayed: str) -> StepOutcome:
    return StepOutcome(
        step_id="", verdict=Verdict.DIFFERS, reason=Reason.INPUT, message=message, recorded=recorded, replayed=replayed
    )
