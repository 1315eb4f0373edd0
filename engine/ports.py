"""What the scheduler needs of the world, as protocols."""

from typing import Protocol

from engine.context import ExecutionContext
from engine.mission import MissionStep
from engine.result import StepResult
from engine.values import JsonValue


class StepRunner(Protocol):
    """Runs one ready step. Calls overlap, at most `parallel_limit` at a time, each in an asyncio task of its own."""

    async def run_step(self, step: MissionStep, context: ExecutionContext) -> JsonValue:
        """Return the step's output, a JSON value; `step.parameters` still hold their references.

        The call is cancelled at the step's deadline and when the mission stops. A runner may finish what must not be
        left half done and then let the cancellation through; it has `cancel_grace_seconds` of the run for that.

        Raises:
            StepError: the step failed; its code and message become the step's result. So do those of any other
                `EngineError`; whatever else is raised is logged and becomes `internal`, without its text.
        """


class ScheduleObserver(Protocol):
    """Is told of every transition, in order, on the event loop; it must not block and must not raise.

    One that raises has stopped the mission: what happens next could not be recorded, so nothing more may happen.
    """

    def step_started(self, step: MissionStep) -> None:
        """The step is Executing; the runner is called when this returns. A step that never ran is not told of here."""

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """The step is Completed, Failed or Skipped; `result` is final, and there is one for every step."""


class SilentObserver:
    """Observes nothing."""

    def step_started(self, step: MissionStep) -> None:
        """Do nothing."""

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """Do nothing."""
