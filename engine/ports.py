"""What the scheduler needs of the world, as protocols."""

from dataclasses import dataclass
from typing import Protocol

from engine.attempt import StepAttempt
from engine.mission import MissionStep
from engine.outcome import Stop
from engine.result import StepFailure, StepResult, StepState
from engine.values import JsonValue


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt that failed, and will be followed by another."""

    attempt: int  # the one that failed, from 1
    failure: StepFailure
    delay_seconds: float
    item: int | None = None  # of a fan-out


class StepRunner(Protocol):
    """Runs one ready step. Calls overlap, at most `parallel_limit` at a time, each in an asyncio task of its own."""

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        """Return the step's output, a JSON value; `step.parameters` still hold their references.

        A step of a fan-out is run once for each item, and the outputs become the step's. A step that is tried again
        is run again, with a higher `attempt.number`.

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

    def step_retrying(self, step: MissionStep, retry: Retry) -> None:
        """An attempt has failed, and the step, or the item of it, is Executing still."""

    def item_finished(self, step: MissionStep, item: int, total: int, status: StepState) -> None:
        """One item of a fan-out has ended; there are `total`."""

    def level_restarting(self, level: int, failure: StepFailure) -> None:
        """Every step of a level is begun anew: those that had ended in it have no outcome yet."""

    def mission_stopping(self, stop: Stop) -> None:
        """The mission ends before its last step; a suspension is not told of."""

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """The step is Completed, Failed or Skipped; `result` is final, and there is one for every step."""


class SharedPlaces(Protocol):
    """A run's share of places that many runs have together; `engine.slots.SlotMember` is one.

    The wake function that it was made with is to be `MissionRun.wake`.
    """

    def take(self) -> bool:
        """Take a place; False: there is none, and the run is woken, later, when it may ask again."""

    def give_back(self) -> None:
        """Free a place."""

    def close(self) -> None:
        """Free every place, and wait for none."""


class SilentObserver:
    """Observes nothing."""

    def step_started(self, step: MissionStep) -> None:
        """Do nothing."""

    def step_retrying(self, step: MissionStep, retry: Retry) -> None:
        """Do nothing."""

    def item_finished(self, step: MissionStep, item: int, total: int, status: StepState) -> None:
        """Do nothing."""

    def level_restarting(self, level: int, failure: StepFailure) -> None:
        """Do nothing."""

    def mission_stopping(self, stop: Stop) -> None:
        """Do nothing."""

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        """Do nothing."""
