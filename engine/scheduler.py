"""The scheduler's face: one execution of one plan, from Validated to its result."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from engine.clock import Clock
from engine.context import ExecutionContext
from engine.dispatch import Dispatch
from engine.errors import FaultError, SuspendedError
from engine.outcome import Stop
from engine.plan import Plan
from engine.ports import ScheduleObserver, SharedPlaces, StepRunner
from engine.result import MissionResult, MissionState, StepFailure, StepResult, StepState

CANCEL_GRACE_SECONDS: Final = 5.0

_INTERRUPTED: Final = StepFailure(code="mission.cancelled", message="the execution of the mission was cancelled")

_CHANCE_BITS: Final = 53  # of a float's mantissa


def _chance() -> float:
    return secrets.randbits(_CHANCE_BITS) / (1 << _CHANCE_BITS)


class MissionRun:
    """One execution of one plan.

    A cancelled step may still finish what it must not leave half done. Its outcome is what its runner then does:
    it returns, and the step is Completed; it raises, and it is Failed; it lets the cancellation through, and it is
    Skipped. A deadline is harder: whatever the runner does after it, the step is Failed with `step.timeout`. In both
    cases a runner that is still at it `cancel_grace_seconds` later is given up: the step is Failed, its task keeps
    its slot for as long as it lives, and nothing that it does later counts. Once the mission is stopped, the grace
    takes the place of the deadlines.
    """

    def __init__(
        self,
        plan: Plan,
        context: ExecutionContext,
        runner: StepRunner,
        observer: ScheduleObserver,
        clock: Clock,
        mission_id: str,
        *,
        cancel_grace_seconds: float = CANCEL_GRACE_SECONDS,
        prior: Mapping[str, StepResult] = MappingProxyType({}),
        slots: SharedPlaces | None = None,
        chance: Callable[[], float] = _chance,
        spent_seconds: float = 0.0,
        stopped: Stop | None = None,
    ) -> None:
        """Prepare an execution.

        Args:
            plan: what is executed.
            context: Initialized, of the mission; it serves this execution only.
            runner: runs the steps.
            observer: is told of every transition.
            clock: of the results' times.
            mission_id: names the result.
            cancel_grace_seconds: see the class.
            prior: results of an earlier execution, taken over as they are; those that are missing are to come.
            slots: places that are shared with other executions; `engine.slots`.
            chance: 0 ≤ chance < 1, for the jitter of retries.
            spent_seconds: of the mission's timeout, what earlier executions have used.
            stopped: an earlier execution was stopping for this reason: nothing starts.
        """
        self._plan = plan
        self._context = context
        self._runner = runner
        self._observer = observer
        self._clock = clock
        self._mission_id = mission_id
        self._grace_seconds = cancel_grace_seconds
        self._prior = prior
        self._slots = slots
        self._chance = chance
        self._spent_seconds = spent_seconds
        self._dispatch: Dispatch | None = None
        self._stopped_before = stopped
        self._paused_before = False
        self._result: MissionResult | None = None

    @property
    def state(self) -> MissionState:
        """Validated, then Executing, then how it ended."""
        if self._result is not None:
            return self._result.state
        return MissionState.VALIDATED if self._dispatch is None else MissionState.EXECUTING

    @property
    def result(self) -> MissionResult | None:
        """The result, once there is one; also where the task that awaited `execute` was cancelled."""
        return self._result

    def step_state(self, step_id: str) -> StepState:
        """Return the state of a step now.

        Raises:
            KeyError: the mission has no such step.
        """
        index = self._plan.graph.index[step_id]
        return StepState.PENDING if self._dispatch is None else self._dispatch.state_of(index)

    @property
    def paused(self) -> bool:
        """Whether nothing starts until `resume`."""
        return self._paused_before if self._dispatch is None else not self._dispatch.places.open

    @property
    def busy(self) -> bool:
        """Whether an attempt is at work, not only waiting for something outside."""
        return self._dispatch is not None and self._dispatch.places.held > 0

    async def execute(self) -> MissionResult:
        """Run the mission to its end, whatever that is; failures of steps are in the result, never raised.

        When the awaiting task is cancelled, the mission is, and the cancellation goes on once every step has its
        outcome, which takes `cancel_grace_seconds` at most.

        Raises:
            SuspendedError: `suspend` left steps to a later execution; there is no result.
            FaultError: `mission.state`, this run was executed before; `context.state`, the context was;
                `mission.prior`, there are results of steps that the mission does not have.
        """
        if self._dispatch is not None:
            raise FaultError("a run executes once", code="mission.state")
        if not self._prior.keys() <= self._plan.graph.index.keys():
            raise FaultError("the prior results are those of another mission", code="mission.prior")
        self._context.activate()
        self._dispatch = dispatch = Dispatch(
            self._plan,
            self._context,
            self._runner,
            self._observer,
            self._clock,
            grace_seconds=self._grace_seconds,
            chance=self._chance,
            slots=self._slots,
            spent_seconds=self._spent_seconds,
        )
        if self._paused_before:
            dispatch.pause()
        dispatch.start(self._stopped_before, self._prior)
        interruption: asyncio.CancelledError | None = None
        while not dispatch.settled:
            try:
                await dispatch.wait()
            except asyncio.CancelledError as error:
                interruption = error
                self.cancel(_INTERRUPTED)
        self._result = dispatch.close(self._mission_id)
        self._context.archive()
        if interruption is not None:
            raise interruption
        if self._result is None:
            raise SuspendedError("the execution was suspended: a later one takes up what is left")
        return self._result

    def cancel(self, reason: StepFailure) -> bool:
        """Cancel running steps and skip the others, with `reason`; return whether this call is what stops the mission.

        Before `execute`, nothing will start. To be called on the event loop, as all that follows.
        """
        return self._stop(Stop.cancelled(reason))

    def fail(self, reason: StepFailure) -> bool:
        """Do as `cancel` does, and let the mission be Failed: whoever runs it cannot go on."""
        return self._stop(Stop.failed(reason.code, reason.message))

    def refuse(self, reason: StepFailure) -> bool:
        """Do as `fail` does, where the mission may not go on: its steps are Skipped as by a broken security rule."""
        return self._stop(Stop.refused(reason.code, reason.message))

    def suspend(self) -> bool:
        """Stop so that a later execution can go on; return whether this call is what stops the mission.

        Running steps are cancelled. One that completes all the same is Completed; any other has no outcome, and the
        observer hears nothing of it. `execute` raises SuspendedError.
        """
        return self._stop(Stop.suspended())

    def pause(self) -> bool:
        """Let nothing start, no further attempt either; what runs goes on. Time stands still for the mission's timeout.

        Returns whether this call is what pauses it.
        """
        if self._dispatch is not None:
            return not self._dispatch.settled and self._dispatch.pause()
        changed, self._paused_before = not self._paused_before, True
        return changed

    def resume(self) -> bool:
        """End a pause; return whether there was one."""
        if self._dispatch is not None:
            return not self._dispatch.settled and self._dispatch.resume()
        changed, self._paused_before = self._paused_before, False
        return changed

    def wake(self) -> None:
        """Hear that a shared place is free for this run."""
        if self._dispatch is not None:
            self._dispatch.places.woken()

    def _stop(self, stop: Stop) -> bool:
        if self._dispatch is not None:
            return not self._dispatch.settled and self._dispatch.halt(stop)
        if self._stopped_before is not None:
            return False
        self._stopped_before = stop
        return True
