"""Outcomes as values: the states, step results and mission result of the data-model document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from engine.clock import rfc3339
from engine.values import JsonValue


class MissionState(StrEnum):
    """Defined → Validated → Executing → Completed | Failed | Cancelled."""

    DEFINED = "Defined"
    VALIDATED = "Validated"
    EXECUTING = "Executing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class StepState(StrEnum):
    """Pending → Ready → Executing → Completed | Failed | Skipped."""

    PENDING = "Pending"
    READY = "Ready"
    EXECUTING = "Executing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class OverallStatus(StrEnum):
    """Partial: something Failed, something Completed, and no fail-fast stop."""

    SUCCESS = "Success"
    PARTIAL = "Partial"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailure:
    """Why a step is Failed or Skipped; `code` is stable."""

    code: str
    message: str


class StepResult(NamedTuple):
    """The immutable outcome of one step. `status` is Completed, Failed or Skipped; Failed has an `error`.

    A named tuple, for one is made for every step, and a frozen dataclass of seven fields takes twice as long to make:
    half a microsecond of the seven that a step costs. It is to be used by its names, as any value here.
    """

    step_id: str
    status: StepState
    duration_ms: float
    timestamp: datetime  # completion
    output: JsonValue = None
    error: StepFailure | None = None
    attempts: int = 0  # how often it was begun, restarts included; of a fan-out, by the item that needed most

    def document(self) -> dict[str, JsonValue]:
        """Return the documented JSON object."""
        out: dict[str, JsonValue] = {"step_id": self.step_id, "status": self.status.value, "output": self.output}
        if self.error is not None:
            out["error"] = {"code": self.error.code, "message": self.error.message}
        out["duration_ms"] = round(self.duration_ms, 3)
        out["timestamp"] = rfc3339(self.timestamp)
        out["attempts"] = self.attempts
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionResult:
    """The one result of a mission: aggregated status, every step's result, counts that match them."""

    mission_id: str
    state: MissionState  # Completed, Failed or Cancelled
    overall_status: OverallStatus
    step_results: Mapping[str, StepResult] = field(repr=False)  # asyncio.run formats what its main task returns
    start_time: datetime
    end_time: datetime
    total_duration_ms: float
    steps_completed: int
    steps_failed: int
    steps_skipped: int
    error: StepFailure | None = None  # why the mission stopped, where no step is to blame

    def document(self) -> dict[str, JsonValue]:
        """Return the documented JSON object, without `audit_summary`, which the gateway adds."""
        out: dict[str, JsonValue] = {
            "mission_id": self.mission_id,
            "state": self.state.value,
            "overall_status": self.overall_status.value,
            "start_time": rfc3339(self.start_time),
            "end_time": rfc3339(self.end_time),
            "total_duration_ms": round(self.total_duration_ms, 3),
            "steps_completed": self.steps_completed,
            "steps_failed": self.steps_failed,
            "steps_skipped": self.steps_skipped,
            "step_results": {k: r.document() for k, r in self.step_results.items()},
        }
        if self.error is not None:
            out["error"] = {"code": self.error.code, "message": self.error.message}
        return out
