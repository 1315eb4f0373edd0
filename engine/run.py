"""Running a mission in a few lines: the scheduler with defaults for all that a program may not care about."""

import uuid
from collections.abc import Mapping
from typing import cast

from engine.attempt import StepAttempt
from engine.clock import Clock, SystemClock
from engine.context import ExecutionContext
from engine.mission import MissionStep
from engine.plan import Plan
from engine.ports import ScheduleObserver, SharedPlaces, SilentObserver, StepRunner
from engine.reference import resolve
from engine.result import MissionResult, StepResult
from engine.scheduler import MissionRun
from engine.values import JsonObject


async def run_mission(
    plan: Plan,
    runner: StepRunner,
    *,
    observer: ScheduleObserver | None = None,
    clock: Clock | None = None,
    mission_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    variables: JsonObject | None = None,
    prior: Mapping[str, StepResult] | None = None,
    slots: SharedPlaces | None = None,
) -> MissionResult:
    """Run `plan` to its end and return the result. For control over the run, make a `MissionRun`.

    Args:
        plan: what is run.
        runner: runs the steps.
        observer: is told of every transition.
        clock: of the results' times.
        mission_id: names the result; a random one if left out.
        metadata: for the context.
        variables: over the mission's own.
        prior: results of an earlier execution that are kept; see `MissionRun`.
        slots: places that are shared with other executions.
    """
    run = MissionRun(
        plan,
        ExecutionContext.of(plan.mission, variables=variables, metadata=metadata),
        runner,
        observer or SilentObserver(),
        clock or SystemClock(),
        mission_id or str(uuid.uuid4()),
        prior=prior or {},
        slots=slots,
    )
    return await run.execute()


def resolved_parameters(plan: Plan, step: MissionStep, attempt: StepAttempt) -> JsonObject:
    """Return the parameters of `step` with every reference replaced by its value.

    Raises:
        StepError: as `engine.reference.resolve`; a runner lets it through.
    """
    template = plan.templates[plan.graph.index[step.id]]
    return step.parameters if template is None else cast("JsonObject", resolve(template, attempt.scope))
