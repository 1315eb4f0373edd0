"""What the outcome of one step means: for its dependents, for its level, and for the mission.

Source: plan of the outcomes. Dependents of a Failed step are Skipped, unless it has `continue_on_error`: then they run,
and its output is null. A step whose condition is false is Skipped, and its dependents run.
"""

from collections.abc import Callable, Iterable
from typing import Final

from engine.context import ExecutionContext
from engine.errors import StepError
from engine.ledger import Ledger
from engine.mission import MissionStep
from engine.order import DocumentOrder
from engine.outcome import CONDITION_FALSE, Stop, dependency_failed, failure_of, stands
from engine.plan import Plan
from engine.result import StepFailure, StepResult, StepState
from engine.values import JsonValue


class Settlement:
    """Settles steps. `halt` is called with the reason where an outcome ends the mission.

    With `holds`, a level may be begun anew: an output waits until `commit` says that the level stands. The steps
    that wait for it are of later levels, so nobody has seen it by then.
    """

    def __init__(
        self,
        plan: Plan,
        context: ExecutionContext,
        ledger: Ledger,
        order: DocumentOrder,
        halt: Callable[[Stop], object],
        *,
        holds: bool,
    ) -> None:
        self.stop: Stop | None = None  # why the mission ends before its last step
        self.tries: dict[int, int] = {}  # of steps that were tried more than once
        self._tries_before: dict[int, int] = {}  # of those, what they had used when their level began anew
        self._steps: Final = plan.mission.steps
        self._children: Final = plan.graph.children
        self._fail_fast: Final = plan.mission.config.fail_fast
        self._context = context
        self._ledger = ledger
        self._outcomes: Final = ledger.results
        self._order = order
        self._halt = halt
        self._holds = holds
        self._held: dict[int, JsonValue] = {}

    def is_settled(self, index: int) -> bool:
        """Return whether a step has its outcome."""
        return self._outcomes[index] is not None

    def complete(self, index: int, output: JsonValue) -> None:
        """Keep an output, and let dependents run; one that cannot be kept is a failure."""
        step = self._steps[index]
        if self._outcomes[index] is not None:
            return
        try:
            kept = self._context.store_output(step.id, output)
        except Exception as refused:  # noqa: BLE001 - an output that cannot be kept, for whatever reason, is a failure
            self.fail(index, failure_of(step, refused))
            return
        if self._holds and self.stop is None:
            self._held[index] = kept
            self._order.ended(index)
            return
        # `_settle` and `_release` in one: every step comes through here.
        self._ledger.settle(index, StepState.COMPLETED, output=kept, attempts=self.tries.get(index, 1))
        self._order.ended(index)
        if self.stop is None:
            self._order.release(index)

    def fail(self, index: int, error: StepFailure, stop: Stop | None = None, *, output: JsonValue = None) -> None:
        """Record a failure, and do to the rest of the mission what it calls for: `stop` it in any mode, or by mode."""
        step = self._steps[index]
        tolerated = stop is None and step.continue_on_error
        if tolerated:
            output = self._kept(step, output)
        self._settle(index, StepState.FAILED, output=output, error=error)
        if stop is not None:
            self._halt(stop)
        elif tolerated:
            self._release(index)
        else:
            self._skip_dependents(index)
            self._stop_if_fail_fast(step)

    def take_over(self, index: int, result: StepResult) -> None:
        """Draw the consequences of an outcome of an earlier execution; the ledger has all of those by now."""
        step = self._steps[index]
        failed = result.status is StepState.FAILED
        if stands(result) or (failed and step.continue_on_error):
            try:
                self._context.store_output(step.id, result.output)
            except StepError as refused:  # nobody may go on without it
                self._halt(Stop.failed(refused.code, f"the kept output of step {step.id!r}: {refused.message}"))
                return
            self._release(index)
        elif failed:
            self._skip_dependents(index)
            self._stop_if_fail_fast(step)

    def pass_over(self, index: int) -> None:
        """Skip a step whose condition is false."""
        self._settle(index, StepState.SKIPPED, error=CONDITION_FALSE)
        self._context.store_output(self._steps[index].id, None)
        self._release(index)

    def skip(self, index: int, reason: StepFailure) -> None:
        """Skip a step that the mission's end has kept from running, or cancelled."""
        self._settle(index, StepState.SKIPPED, error=reason)

    def skip_rest(self, reason: StepFailure, is_running: Callable[[int], bool]) -> None:
        """Skip every step that neither has an outcome nor runs, in document order."""
        for index in range(len(self._steps)):
            if not self.is_settled(index) and not is_running(index):
                self.skip(index, reason)

    def commit(self) -> None:
        """Settle what waited for its level: the level has ended, or the mission, and what was done is kept."""
        held, self._held = self._held, {}
        for index in sorted(held):
            self._settle(index, StepState.COMPLETED, output=held[index])
            self._release(index)

    def tried(self, index: int, attempt: int) -> None:
        """Note that attempt number `attempt` has begun, counted from when the step's level last began."""
        self.tries[index] = max(self.tries.get(index, 1), self._tries_before.get(index, 0) + attempt)

    def drop(self, anew: Iterable[int]) -> None:
        """Forget what waited for its level, of which the steps `anew` begin anew."""
        for index in self._held:
            self._context.drop_output(self._steps[index].id)
        self._held.clear()
        for index in anew:
            if self._ledger.has_begun(index):
                self._tries_before[index] = self.tries.get(index, 1)

    def _stop_if_fail_fast(self, step: MissionStep) -> None:
        if self._fail_fast:
            self._halt(Stop.blamed_on(step, "mission.fail_fast", "failed, and the mission is to stop then"))

    def _settle(
        self, index: int, status: StepState, *, output: JsonValue = None, error: StepFailure | None = None
    ) -> None:
        self._ledger.settle(index, status, output=output, error=error, attempts=self.tries.get(index, 1))
        self._order.ended(index)

    def _kept(self, step: MissionStep, output: JsonValue) -> JsonValue:
        """Keep what is left of a fan-out that failed, for its dependents; nothing, where that cannot be kept."""
        try:
            return self._context.store_output(step.id, output)
        except StepError:
            return self._context.store_output(step.id, None)

    def _release(self, index: int) -> None:
        if self.stop is None:
            self._order.release(index)

    def _skip_dependents(self, index: int) -> None:
        """Skip everything that comes after a step, nearest first; none of it can have started."""
        error = dependency_failed(self._steps[index])
        behind = [index]
        for parent in behind:
            for child in self._children[parent]:
                if not self.is_settled(child):
                    self.skip(child, error)
                    behind.append(child)
