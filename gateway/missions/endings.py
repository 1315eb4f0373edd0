"""How a mission ended, for the log and for who counts."""

from engine.result import MissionResult, MissionState
from engine.values import JsonValue


def status_of(result: MissionResult) -> str:
    """Return how it ended, in one word."""
    return result.state.value if result.state is MissionState.CANCELLED else result.overall_status.value


def ending_document(result: MissionResult) -> dict[str, JsonValue]:
    """Return what `mission.ended` says."""
    out: dict[str, JsonValue] = {
        "state": result.state.value,
        "status": result.overall_status.value,
        "completed": result.steps_completed,
        "failed": result.steps_failed,
        "skipped": result.steps_skipped,
    }
    if result.error is not None:
        out["code"] = result.error.code
    return out
