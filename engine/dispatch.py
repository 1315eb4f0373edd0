"""The dispatch of a run: which step starts when, in which task, and what the end of one means for the others.

The invariants, and where they are held:
- a step starts only when nothing that it depends on is unfinished: `_release` counts in-degrees down (Kahn);
- among ready steps, the first of the document starts first: the ready queue is a heap of step indices;
- at most `parallel_limit` tasks exist, also of steps that ignore their cancellation: `_pump` is the only place that
  makes one, and a slot is free only when its task has ended;
- every step has exactly one outcome: `engine.ledger` records it, and drops a second;
- once `halt` was called, no further step starts.

A step that waits for others costs two list entries. A task exists from Ready to the end of the step. Tasks are made
directly, not by the loop's factory: under an eager one, a step that ends would start the next inside itself, without
end. Each gets a copy of the context variables of `execute`, so that nothing leaks from the step that released it.
"""

import asyncio
import contextvars
import logging
from heapq import heappop, heappush
from typing import Final

from engine.attempt import StepAttempt
from engine.clock import Clock
from engine.context import ExecutionContext
from engine.deadlines import Deadlines
from engine.ledger import Ledger
from engine.outcome import STEP_CANCELLED, Stop, dependency_failed, failure_of, stop_of, timed_out, unresponsive
from engine.plan import Plan
from engine.ports import ScheduleObserver, StepRunner
from engine.result import MissionResult, StepFailure, StepState
from engine.values import JsonValue

_LOGGER: Final = logging.getLogger(__name__)


class Dispatch:
    """The moving parts of one execution; made on the event loop that it runs on."""

    def __init__(
        self,
        plan: Plan,
        context: ExecutionContext,
        runner: StepRunner,
        observer: ScheduleObserver,
        clock: Clock,
        *,
        grace_seconds: float,
    ) -> None:
        self._context = context
        self._runner = runner
        self._grace_seconds = grace_seconds
        self._config = plan.mission.config
        self._steps = plan.mission.steps
        self._children = plan.graph.children
        self._waiting = list(plan.graph.indegree)  # unfinished dependencies of each step
        self._ready: list[int] = []  # a heap
        self._running: dict[int, asyncio.Task[None]] = {}  # Ready or Executing, and given up but still alive
        self._overdue: set[int] = set()  # past their deadline
        self._stop: Stop | None = None
        self._observer_failed = False
        self._loop = asyncio.get_running_loop()
        self._variables = contextvars.copy_context()
        self._never_began = self._on_never_began  # one bound method, not one a step
        self._all_settled = self._loop.create_future()
        self._deadlines = Deadlines(self._loop, self._on_deadline)
        self._timer = self._loop.call_later(self._config.timeout_seconds, self._on_mission_timeout)
        self._ledger = Ledger(
            self._steps,
            observer,
            clock,
            on_complete=self._on_complete,
            on_observer_error=self._on_observer_error,
        )

    @property
    def settled(self) -> bool:
        """Whether every step has its outcome."""
        return not self._ledger.unsettled

    def state_of(self, index: int) -> StepState:
        """Return the state of a step now."""
        result = self._ledger.results[index]
        if result is not None:
            return result.status
        if index in self._ledger.began:
            return StepState.EXECUTING
        return StepState.PENDING if self._waiting[index] else StepState.READY

    # --- the mission: started, awaited, halted, closed ---

    def start(self, stop: Stop | None) -> None:
        """Start the first steps; with `stop`, skip all instead."""
        if stop is not None:
            self.halt(stop)
            return
        self._ready = [index for index, count in enumerate(self._waiting) if not count]  # sorted, so a heap
        self._pump()

    async def wait(self) -> None:
        """Return when every step has its outcome. Cancelling it changes nothing, and it can be called again."""
        if self._all_settled.cancelled():
            self._all_settled = self._loop.create_future()
        await self._all_settled

    def halt(self, stop: Stop) -> bool:
        """Let nothing more start, and cancel what runs. Only the first call does anything: it returns True."""
        if self._stop is not None:
            return False
        self._stop = stop
        self._ready.clear()
        self._deadlines.close()
        self._timer.cancel()
        for index, task in list(self._running.items()):
            if index in self._ledger.began:
                if index not in self._overdue:
                    task.cancel()
            elif self._ledger.results[index] is None:
                task.remove_done_callback(self._never_began)
                task.cancel()  # before its first step: its coroutine never runs
                del self._running[index]
        self._skip_all(stop.reason)
        if not self.settled:
            self._timer = self._loop.call_later(self._grace_seconds, self._on_grace_over)
        return True

    def close(self, mission_id: str) -> MissionResult:
        """Release the timers and return the result. Every step has its outcome by now."""
        self._deadlines.close()
        self._timer.cancel()
        return self._ledger.close(mission_id, self._stop)

    # --- the way of a step: ready, begun, ended ---

    def _pump(self) -> None:
        """Give free slots to ready steps, the first of the document first."""
        while self._ready and len(self._running) < self._config.parallel_limit:
            index = heappop(self._ready)
            task = asyncio.Task(
                self._drive(index), loop=self._loop, name=self._steps[index].id, context=self._variables.copy()
            )
            task.add_done_callback(self._never_began)
            self._running[index] = task

    async def _drive(self, index: int) -> None:
        """Run one step, in its own task, from its start to its outcome."""
        self._running[index].remove_done_callback(self._never_began)
        self._ledger.begin(index)
        if self._stop is not None:  # the observer's doing
            self._leave(index)
            self._ledger.settle(index, StepState.SKIPPED, error=self._stop.reason)
            return
        step = self._steps[index]
        if step.timeout_seconds is not None:
            self._deadlines.set(index, step.timeout_seconds)
        try:
            output = await self._runner.run_step(step, StepAttempt(self._context))
        except BaseException as raised:
            if not self._loop.is_running():
                raise  # the loop was closed over the step; there is nothing left to tell
            interrupted = isinstance(raised, KeyboardInterrupt)
            if interrupted:  # it goes on to the program; asyncio need not report it as well
                self._running[index].add_done_callback(asyncio.Task.exception)
            self._on_raised(index, raised)
            if interrupted:
                raise
        else:
            self._on_returned(index, output)
        self._pump()

    def _on_returned(self, index: int, output: JsonValue) -> None:
        late = self._leave(index)
        step = self._steps[index]
        if self._ledger.results[index] is not None:
            return  # given up before
        if late:
            self._fail(index, timed_out(step))
            return
        try:
            kept = self._context.store_output(step.id, output)
        except Exception as refused:  # noqa: BLE001 - an output that cannot be kept, for whatever reason, is a failure
            self._fail(index, failure_of(step, refused))
            return
        self._ledger.settle(index, StepState.COMPLETED, output=kept)
        self._release(index)

    def _on_raised(self, index: int, raised: BaseException) -> None:
        late = self._leave(index)
        if self._ledger.results[index] is not None:
            return  # given up before
        if self._stop is not None and isinstance(raised, asyncio.CancelledError) and not late:
            self._ledger.settle(index, StepState.SKIPPED, error=self._stop.reason)
            return
        step = self._steps[index]
        failure, stop = failure_of(step, raised), stop_of(step, raised)
        self._fail(index, timed_out(step) if late and stop is None else failure, stop)

    def _leave(self, index: int) -> bool:
        """Free the slot of a step whose task is ending; return whether its deadline was over."""
        del self._running[index]
        return self._deadlines.forget(index) or index in self._overdue

    def _fail(self, index: int, error: StepFailure, stop: Stop | None = None) -> None:
        """Record a failure, and do to the rest of the mission what it calls for: `stop` it in any mode, or by mode."""
        step = self._steps[index]
        self._ledger.settle(index, StepState.FAILED, error=error)
        if stop is not None:
            self.halt(stop)
        elif step.continue_on_error:
            self._context.store_output(step.id, None)
            self._release(index)
        else:
            self._skip_dependents(index)
            if self._config.fail_fast:
                self.halt(Stop.blamed_on(step, "mission.fail_fast", "failed, and the mission is to stop then"))

    # --- what one outcome means for other steps ---

    def _release(self, index: int) -> None:
        """Count down what waits for a step; what waits for nothing more is ready."""
        if self._stop is not None:
            return
        waiting = self._waiting
        for child in self._children[index]:
            waiting[child] -= 1
            if not waiting[child]:
                heappush(self._ready, child)

    def _skip_dependents(self, index: int) -> None:
        """Skip everything that comes after a step, nearest first; none of it can have started."""
        error = dependency_failed(self._steps[index])
        behind = [index]
        for parent in behind:
            for child in self._children[parent]:
                if self._ledger.results[child] is None:
                    self._ledger.settle(child, StepState.SKIPPED, error=error)
                    behind.append(child)

    def _skip_all(self, error: StepFailure) -> None:
        """Skip every step that is not running, in document order."""
        for index, result in enumerate(self._ledger.results):
            if result is None and index not in self._running:
                self._ledger.settle(index, StepState.SKIPPED, error=error)

    # --- what happens outside a step's task ---

    def _on_deadline(self, index: int) -> None:
        """A step's time is over: first it is cancelled, then given up."""
        if index in self._overdue:
            self._give_up(index)
            self._pump()
            return
        self._overdue.add(index)
        self._running[index].cancel()
        self._deadlines.set(index, self._grace_seconds)

    def _on_mission_timeout(self) -> None:
        limit = self._config.timeout_seconds
        self.halt(Stop.failed("mission.timeout", f"the mission took longer than {limit:g} s"))

    def _on_grace_over(self) -> None:
        for index in sorted(self._ledger.began):
            self._give_up(index)

    def _give_up(self, index: int) -> None:
        """Settle a step that ignores its cancellation. Its task keeps its slot."""
        step = self._steps[index]
        _LOGGER.warning("step %s did not end within %g s of its cancellation", step.id, self._grace_seconds)
        self._fail(index, timed_out(step) if index in self._overdue else unresponsive(self._grace_seconds))

    def _on_never_began(self, task: asyncio.Task[None]) -> None:
        """A task was cancelled before its first step, by someone else: its coroutine never ran, and cannot say so."""
        index = next(index for index, other in self._running.items() if other is task)
        self._leave(index)
        self._fail(index, STEP_CANCELLED)
        self._pump()

    def _on_complete(self) -> None:
        if not self._all_settled.done():
            self._all_settled.set_result(None)

    def _on_observer_error(self, error: BaseException) -> None:
        if not self._observer_failed:  # once: it is told of every other step as well
            _LOGGER.error("the observer of a mission raised; the mission stops", exc_info=error)
        self._observer_failed = True
        self.halt(Stop.failed("mission.observer_failed", "what happens could not be recorded"))
