"""What the desk tells its callers: values that any front end can render."""

from dataclasses import dataclass
from datetime import datetime

from engine.clock import rfc3339
from engine.result import MissionState
from engine.values import JsonObject
from gateway.events import reasons_document
from gateway.policy.decision import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The answer to a submission. `created` is False where the request id had named the same mission before."""

    mission_id: str
    digest: str
    created: bool
    decision: Decision | None  # None where the mission had been admitted before


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPreview:
    """What a submission would lead to."""

    mission: JsonObject  # canonical
    digest: str
    levels: tuple[tuple[str, ...], ...]
    decision: Decision

    def document(self) -> dict[str, object]:
        """Return `{"mission","digest","levels","decisions"}`, as `missiongate plan` prints it."""
        return {
            "mission": self.mission,
            "digest": self.digest,
            "levels": [list(level) for level in self.levels],
            "decisions": [
                {
                    "entrypoint": "mission",
                    "allow": self.decision.allow,
                    "reasons": reasons_document(self.decision.reasons),
                    "bundle": self.decision.bundle,
                }
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionEvent:
    """One transition of a mission or of one of its steps. Indices run from 0 without gaps."""

    index: int
    timestamp: datetime
    kind: str  # "mission.executing", "step.executing", "step.completed", "mission.completed", …
    step_id: str = ""
    details: JsonObject

    def document(self) -> dict[str, object]:
        """Return the event as JSON."""
        return {
            "index": self.index,
            "timestamp": rfc3339(self.timestamp),
            "kind": self.kind,
            "step_id": self.step_id,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionView:
    """A mission as its readers see it."""

    mission_id: str
    name: str
    state: MissionState
    digest: str
    submitter: str
    tenant: str
    created_at: datetime
    ended_at: datetime | None
    steps_total: int
    result: JsonObject | None  # the documented MissionResult, once the mission has ended

    def document(self) -> dict[str, object]:
        """Return the view as JSON."""
        return {
            "mission_id": self.mission_id,
            "name": self.name,
            "state": self.state.value,
            "digest": self.digest,
            "submitter": self.submitter,
            "tenant": self.tenant,
            "created_at": rfc3339(self.created_at),
            "ended_at": rfc3339(self.ended_at) if self.ended_at else None,
            "steps_total": self.steps_total,
            "result": self.result,
        }
