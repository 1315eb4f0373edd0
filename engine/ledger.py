"""The ledger of a run: exactly one outcome for every step, in the order in which they happened, told to the observer.

This is the only place that makes a `StepResult` or talks to the observer.
"""

from array import array
from collections.abc import Callable, Sequence
from datetime import datetime
from math import isnan, nan
from typing import Final

from engine.clock import Clock
from engine.mission import MissionStep
from engine.outcome import Stop, mission_state, overall_status
from engine.ports import Retry, ScheduleObserver
from engine.result import MissionResult, StepFailure, StepResult, StepState
from engine.values import JsonValue

_NEVER: Final = nan
_MS_PER_SECOND: Final = 1e3


class Ledger:
    """Outcomes by step index; `unsettled` counts those that are missing.

    `on_complete` is called when the last one is recorded, `on_observer_error` whenever the observer raises: inside
    the call that told it, so both may come while a caller here is still in the middle of its work.
    """

    def __init__(
        self,
        steps: Sequence[MissionStep],
        observer: ScheduleObserver,
        clock: Clock,
        *,
        on_complete: Callable[[], None],
        on_observer_error: Callable[[BaseException], None],
    ) -> None:
        self.unsettled = len(steps)
        self.results: list[StepResult | None] = [None] * len(steps)
        self._began = array("d", [_NEVER]) * len(steps)  # monotonic seconds; an array, since steps may be a million
        self._steps = steps
        self._observer = observer
        self._clock = clock
        self._on_complete = on_complete
        self._on_observer_error = on_observer_error
        self._start_time = self._last_time = clock.now()
        self._start = clock.monotonic()

    def has_begun(self, index: int) -> bool:
        """Return whether the runner was called for a step."""
        return not isnan(self._began[index])

    def begin(self, index: int) -> None:
        """Record that a step is Executing, once however often it is tried."""
        if not isnan(self._began[index]):
            return
        self._began[index] = self._clock.monotonic()
        try:
            self._observer.step_started(self._steps[index])
        except BaseException as error:  # noqa: BLE001 - what cannot be recorded must not go on, however it fails
            self._on_observer_error(error)

    def keep(self, index: int, result: StepResult) -> None:
        """Take over an outcome of an earlier execution; its observer was told then."""
        self.results[index] = result
        self.unsettled -= 1

    def retrying(self, index: int, retry: Retry) -> None:
        """Record that an attempt failed, and another follows."""
        self._tell(lambda: self._observer.step_retrying(self._steps[index], retry))

    def item_finished(self, index: int, item: int, total: int, status: StepState) -> None:
        """Record the end of one item of a fan-out."""
        self._tell(lambda: self._observer.item_finished(self._steps[index], item, total, status))

    def level_restarting(self, level: int, failure: StepFailure) -> None:
        """Record that a level is begun anew."""
        self._tell(lambda: self._observer.level_restarting(level, failure))

    def stopping(self, stop: Stop) -> None:
        """Record that the mission ends before its last step."""
        self._tell(lambda: self._observer.mission_stopping(stop))

    def settle(
        self,
        index: int,
        status: StepState,
        *,
        output: JsonValue = None,
        error: StepFailure | None = None,
        attempts: int = 1,
    ) -> None:
        """Record the outcome of a step; one that comes second is dropped."""
        if self.results[index] is not None:
            return
        began = self._began[index]
        never_began = isnan(began)
        step = self._steps[index]
        result = StepResult(
            step_id=step.id,
            status=status,
            output=output,
            error=error,
            duration_ms=0.0 if never_began else (self._clock.monotonic() - began) * _MS_PER_SECOND,
            timestamp=self._now(),
            attempts=0 if never_began else attempts,
        )
        self.results[index] = result
        self.unsettled -= 1
        try:
            self._observer.step_finished(step, result)
        except BaseException as raised:  # noqa: BLE001 - as above
            self._on_observer_error(raised)
        if not self.unsettled:
            self._on_complete()

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            what()
        except BaseException as raised:  # noqa: BLE001 - as above
            self._on_observer_error(raised)

    def close(self, mission_id: str, stop: Stop | None) -> MissionResult:
        """Return the result of the mission, steps in document order. Every step has its outcome by now."""
        results = [result for result in self.results if result is not None]
        statuses = [result.status for result in results]
        status = overall_status(statuses, stop)
        return MissionResult(
            mission_id=mission_id,
            state=mission_state(status, stop),
            overall_status=status,
            step_results={result.step_id: result for result in results},
            start_time=self._start_time,
            end_time=self._now(),
            total_duration_ms=(self._clock.monotonic() - self._start) * _MS_PER_SECOND,
            steps_completed=statuses.count(StepState.COMPLETED),
            steps_failed=statuses.count(StepState.FAILED),
            steps_skipped=statuses.count(StepState.SKIPPED),
            error=stop.error if stop is not None else None,
        )

    def _now(self) -> datetime:
        """Return the wall time, which may step back; the ledger's never does."""
        self._last_time = max(self._last_time, self._clock.now())
        return self._last_time
