"""What the scheduler needs of the world, as protocols."""

from typing import Protocol

from engine.context import ExecutionContext
from engine.mission import MissionStep
from engine.result import StepResult
from engine.values import JsonValue


class StepRunner(Protocol):
    """Runs one ready step."""

    async def run_step(self, step: MissionStep, context: ExecutionContext) -> JsonValue:
        """Return the step's output, a JSON value.

        Raises:
            StepError: the step failed; its code and message become the step's result.
        """


class ScheduleObserver(Protocol):
    """Is told of every transition, in order, on the event loop; it must not block and must not raise."""

    def step_started(self, step: MissionStep) -> None:
        """The step is Executing."""

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """The step is Completed, Failed or Skipped; `result` is final."""
