"""Outcomes as values."""

from engine.clock import SystemClock
from engine.result import MissionResult, MissionState, OverallStatus, StepResult, StepState

NOW = SystemClock().now()


def test_the_text_of_a_result_does_not_grow_with_its_steps() -> None:
    """`asyncio.run` formats what its main task returns: of 10,000 steps that would take 50 ms, and show each output."""
    step = StepResult(step_id="s", status=StepState.COMPLETED, output="secret", duration_ms=1.0, timestamp=NOW)
    result = MissionResult(
        mission_id="m",
        state=MissionState.COMPLETED,
        overall_status=OverallStatus.SUCCESS,
        step_results={f"s{n}": step for n in range(1_000)},
        start_time=NOW,
        end_time=NOW,
        total_duration_ms=1.0,
        steps_completed=1_000,
        steps_failed=0,
        steps_skipped=0,
    )
    assert len(repr(result)) < 1_000
    assert "secret" not in repr(result)
