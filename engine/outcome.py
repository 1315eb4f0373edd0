"""From what happened to what it is called: failures of steps, reasons to stop, the status of a mission."""

import logging
from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import EngineError, StepError
from engine.mission import MissionStep, Supervision
from engine.result import MissionState, OverallStatus, StepFailure, StepResult, StepState

_LOGGER: Final = logging.getLogger(__name__)
_MESSAGE_CHARACTERS_MAX: Final = 4_096

HALTED: Final = "mission.halted"  # of what is skipped because something is against the rules, and stays so
INTERNAL: Final = StepFailure(code="internal", message="an internal error; the log of the gateway has it")
CONDITION_FALSE: Final = StepFailure(code="step.condition_false", message="its condition does not hold")
STEP_CANCELLED: Final = StepFailure(
    code="step.cancelled", message="the step was cancelled, though neither its deadline nor its mission asked for it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a mission ends before its last step. The first reason is the one that counts."""

    state: MissionState  # Failed or Cancelled
    reason: StepFailure  # of every step that it skips
    error: StepFailure | None  # of the mission; None where a step is to blame
    suspends: bool = False  # a later execution goes on: nothing is skipped

    @staticmethod
    def cancelled(reason: StepFailure) -> "Stop":
        """Someone asked for it."""
        return Stop(state=MissionState.CANCELLED, reason=reason, error=reason)

    @staticmethod
    def suspended() -> "Stop":
        """A later execution takes up what is left."""
        reason = StepFailure(code="mission.suspended", message="the execution of the mission was suspended")
        return Stop(state=MissionState.FAILED, reason=reason, error=reason, suspends=True)

    @staticmethod
    def failed(code: str, message: str) -> "Stop":
        """The mission as a whole cannot go on."""
        failure = StepFailure(code=code, message=message)
        return Stop(state=MissionState.FAILED, reason=failure, error=failure)

    @staticmethod
    def refused(code: str, message: str) -> "Stop":
        """The mission as a whole may not go on: as where a step breaks a security rule, nothing tries it again."""
        failure = StepFailure(code=code, message=message)
        return Stop(state=MissionState.FAILED, reason=StepFailure(code=HALTED, message=message), error=failure)

    @staticmethod
    def blamed_on(step: MissionStep, code: str, what: str) -> "Stop":
        """One step is the reason."""
        reason = StepFailure(code=code, message=f"step {step.id!r} {what}")
        return Stop(state=MissionState.FAILED, reason=reason, error=None)


def stands(result: StepResult) -> bool:
    """Return whether an outcome is kept when its mission is begun anew: Completed, or Skipped by its condition."""
    by_condition = result.error is not None and result.error.code == CONDITION_FALSE.code
    return result.status is StepState.COMPLETED or (result.status is StepState.SKIPPED and by_condition)


def dependency_failed(step: MissionStep) -> StepFailure:
    """Why everything that comes after `step` is Skipped."""
    return StepFailure(code="step.dependency_failed", message=f"step {step.id!r} failed")


def too_many_restarts(supervision: Supervision) -> Stop:
    """What crashes keeps crashing: a person has to look at it."""
    limit, seconds = supervision.max_restarts, supervision.within_seconds
    return Stop.failed("mission.restart_intensity", f"more than {limit} restarts within {seconds:g} s")


def timed_out(step: MissionStep) -> StepFailure:
    """`step` did not end within its time."""
    return StepFailure(code="step.timeout", message=f"the step took longer than {step.timeout_seconds:g} s")


def unresponsive(grace_seconds: float) -> StepFailure:
    """A step was cancelled with its mission, and went on."""
    message = f"the step was still running {grace_seconds:g} s after it was cancelled"
    return StepFailure(code="step.unresponsive", message=message)


def failure_of(step: MissionStep, raised: BaseException) -> StepFailure:
    """Return what a client may know of `raised`. An unknown exception is logged; its text goes nowhere else."""
    if isinstance(raised, EngineError):
        return StepFailure(code=raised.code, message=raised.message[:_MESSAGE_CHARACTERS_MAX])
    if isinstance(raised, CancelledError):
        return STEP_CANCELLED
    if not isinstance(raised, KeyboardInterrupt):  # that one is the user's, and goes on to the program
        _LOGGER.error("step %s raised an unexpected exception", step.id, exc_info=raised)
    return INTERNAL


def stop_of(step: MissionStep, raised: BaseException) -> Stop | None:
    """Return the reason why `raised` ends the mission in any mode, if it does."""
    if isinstance(raised, StepError) and raised.halts_mission:
        return Stop.blamed_on(step, HALTED, "broke a security rule")
    if isinstance(raised, KeyboardInterrupt):
        return Stop.failed("mission.interrupted", "the process was told to end")
    return None


def overall_status(statuses: Sequence[StepState], stop: Stop | None) -> OverallStatus:
    """Success: nothing failed. Partial: something did, something Completed, and the mission ran to its end."""
    if stop is not None:
        return OverallStatus.FAILED
    if StepState.FAILED not in statuses:
        return OverallStatus.SUCCESS
    return OverallStatus.PARTIAL if StepState.COMPLETED in statuses else OverallStatus.FAILED


def mission_state(status: OverallStatus, stop: Stop | None) -> MissionState:
    """Return the final state. A mission that ran to its end is Completed unless nothing in it did."""
    if stop is not None:
        return stop.state
    return MissionState.FAILED if status is OverallStatus.FAILED else MissionState.COMPLETED
