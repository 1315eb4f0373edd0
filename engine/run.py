"""Running a mission in a few lines: the scheduler with defaults for all that a program may not care about."""

import uuid
from collections.abc import Mapping
from typing import cast

from engine.attempt import StepAttempt
from engine.clock import Clock, SystemClock
from engine.context import ExecutionContext
from engine.mission import MissionStep
from engine.plan import Plan
from engine.ports import ScheduleObserver, SilentObserver, StepRunner
from engine.reference import resolve
from engine.result import MissionResult
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
) -> MissionResult:
    """Run `plan` to its end and return the result. For control over the run, make a `MissionRun`."""
    run = MissionRun(
        plan,
        ExecutionContext.of(plan.mission, metadata=metadata),
        runner,
        observer or SilentObserver(),
        clock or SystemClock(),
        mission_id or str(uuid.uuid4()),
    )
    return await run.execute()


def resolved_parameters(plan: Plan, step: MissionStep, attempt: StepAttempt) -> JsonObject:
    """Return the parameters of `step` with every reference replaced by its value.

    Raises:
        StepError: as `engine.reference.resolve`; a runner lets it through.
    """
    template = plan.templates[plan.graph.index[step.id]]
    return step.parameters if template is None else cast("JsonObject", resolve(template, attempt.scope))
