"""The ledger: one outcome a step, whoever asks for a second."""

from datetime import datetime

from engine.ledger import Ledger
from engine.mission import MissionStep
from engine.outcome import Stop
from engine.result import MissionState, OverallStatus, StepFailure, StepState
from tests.schedules import RecordingObserver
from tests.virtual_time import EPOCH

STEPS = [MissionStep(id=name, name=name, step_type="t") for name in "abc"]
FAILURE = StepFailure(code="x.no", message="no")


class TickingClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return EPOCH

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


def ledger_of(observer: RecordingObserver) -> tuple[Ledger, list[str]]:
    calls: list[str] = []
    ledger = Ledger(
        STEPS,
        observer,
        TickingClock(),
        on_complete=lambda: calls.append("complete"),
        on_observer_error=lambda error: calls.append(repr(error)),
    )
    return ledger, calls


def test_a_second_outcome_is_dropped() -> None:
    """The first stands, the observer hears of it once, and the count is of steps, not of calls."""
    observer = RecordingObserver()
    ledger, _ = ledger_of(observer)
    ledger.begin(0)
    ledger.settle(0, StepState.COMPLETED, output=1)
    ledger.settle(0, StepState.FAILED, error=FAILURE)
    assert observer.events == [("a", "Executing"), ("a", "Completed")]
    assert ledger.unsettled == 2
    assert ledger.results[0] == observer.results[0]


def test_the_last_outcome_completes_the_ledger_once() -> None:
    """`on_complete` is called when the last outcome is recorded, and counts match."""
    ledger, calls = ledger_of(RecordingObserver())
    ledger.settle(2, StepState.SKIPPED, error=FAILURE)
    ledger.settle(0, StepState.COMPLETED)
    assert calls == []
    ledger.settle(1, StepState.FAILED, error=FAILURE)
    ledger.settle(1, StepState.FAILED, error=FAILURE)
    assert calls == ["complete"]
    result = ledger.close("m", None)
    assert list(result.step_results) == ["a", "b", "c"]
    assert (result.steps_completed, result.steps_failed, result.steps_skipped) == (1, 1, 1)
    assert (result.state, result.overall_status) == (MissionState.COMPLETED, OverallStatus.PARTIAL)


def test_a_step_that_never_began_took_no_time() -> None:
    """Durations are of the runner; a step that was Skipped before it started has none."""
    ledger, _ = ledger_of(RecordingObserver())
    ledger.begin(0)
    ledger.settle(0, StepState.COMPLETED)
    ledger.settle(1, StepState.SKIPPED, error=FAILURE)
    assert [result.duration_ms for result in ledger.results if result] == [1_000, 0]
    assert [ledger.has_begun(index) for index in (0, 1)] == [True, False]


def test_an_outcome_is_recorded_before_the_observer_can_fail() -> None:
    """An observer that raises loses its own record, not the ledger's."""

    class Failing(RecordingObserver):
        def step_finished(self, *_: object) -> None:
            raise OSError("disk full")

    ledger, calls = ledger_of(Failing())
    ledger.settle(0, StepState.COMPLETED)
    assert calls == ["OSError('disk full')"]
    assert ledger.results[0] is not None
    assert ledger.unsettled == 2


def test_a_stop_decides_the_state_of_the_mission() -> None:
    """A stopped mission is Failed as a whole, also where every step had Completed by then."""
    ledger, _ = ledger_of(RecordingObserver())
    for index in range(3):
        ledger.settle(index, StepState.COMPLETED)
    result = ledger.close("m", Stop.cancelled(FAILURE))
    assert (result.state, result.overall_status, result.error) == (
        MissionState.CANCELLED,
        OverallStatus.FAILED,
        FAILURE,
    )
