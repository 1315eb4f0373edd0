"""The scheduler's face: one execution of one plan, from Validated to its result."""

import asyncio
from typing import Final

from engine.clock import Clock
from engine.context import ExecutionContext
from engine.dispatch import Dispatch
from engine.errors import FaultError
from engine.outcome import Stop
from engine.plan import Plan
from engine.ports import ScheduleObserver, StepRunner
from engine.result import MissionResult, MissionState, StepFailure, StepState

CANCEL_GRACE_SECONDS: Final = 5.0

_INTERRUPTED: Final = StepFailure(code="mission.cancelled", message="the execution of the mission was cancelled")


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
    ) -> None:
        self._plan = plan
        self._context = context
        self._runner = runner
        self._observer = observer
        self._clock = clock
        self._mission_id = mission_id
        self._grace_seconds = cancel_grace_seconds
        self._dispatch: Dispatch | None = None
        self._cancelled_before: Stop | None = None
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

    async def execute(self) -> MissionResult:
        """Run the mission to its end, whatever that is; failures of steps are in the result, never raised.

        When the awaiting task is cancelled, the mission is, and the cancellation goes on once every step has its
        outcome, which takes `cancel_grace_seconds` at most.

        Raises:
            FaultError: `mission.state`, this run was executed before; `context.state`, the context was.
        """
        if self._dispatch is not None:
            raise FaultError("a run executes once", code="mission.state")
        self._context.activate()
        self._dispatch = dispatch = Dispatch(
            self._plan, self._context, self._runner, self._observer, self._clock, grace_seconds=self._grace_seconds
        )
        dispatch.start(self._cancelled_before)
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
        return self._result

    def cancel(self, reason: StepFailure) -> bool:
        """Cancel running steps and skip the others, with `reason`; return whether this call is what stops the mission.

        Before `execute`, nothing will start. To be called on the event loop.
        """
        if self._dispatch is not None:
            return not self._dispatch.settled and self._dispatch.halt(Stop.cancelled(reason))
        if self._cancelled_before is not None:
            return False
        self._cancelled_before = Stop.cancelled(reason)
        return True
