"""What is said of a mission before it runs: that it was taken, planned, or what a draft lacks; and policy's verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from engine.values import JsonObject
from gateway.client.documented import LEFT_OUT, Documented
from gateway.client.wire import json_of
from gateway.v1 import mission_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason(Documented):
    """Why a decision is what it is."""

    code: str
    message: str
    rule: str

    @classmethod
    def of(cls, message: mission_pb2.Reason) -> Self:
        """Read the message."""
        return cls(code=message.code, message=message.message, rule=message.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDemand(Documented):
    """Whom policy wants to agree; what is empty, policy's data says."""

    approvers: tuple[str, ...] = field(default=(), metadata=LEFT_OUT)  # roles
    message: str = field(default="", metadata=LEFT_OUT)
    expires_in_seconds: int | None = field(default=None, metadata=LEFT_OUT)

    @classmethod
    def of(cls, message: mission_pb2.ApprovalDemand) -> Self:
        """Read the message."""
        seconds = message.expires_in_seconds if message.HasField("expires_in_seconds") else None
        return cls(approvers=tuple(message.approvers), message=message.message, expires_in_seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Documented):
    """The verdict of one policy entry point."""

    entrypoint: str
    allow: bool
    reasons: tuple[Reason, ...]
    bundle: str  # digest of the bundle that decided
    constraints: Mapping[str, int] = field(default_factory=dict, metadata=LEFT_OUT)  # bounds of every run, by name
    profile: str = field(default="", metadata=LEFT_OUT)
    require_approval: ApprovalDemand | None = field(default=None, metadata=LEFT_OUT)
    labels: Mapping[str, str] = field(default_factory=dict, metadata=LEFT_OUT)

    @classmethod
    def of(cls, message: mission_pb2.Decision) -> Self:
        """Read the message."""
        demand = ApprovalDemand.of(message.require_approval) if message.HasField("require_approval") else None
        return cls(
            entrypoint=message.entrypoint,
            allow=message.allow,
            reasons=tuple(map(Reason.of, message.reasons)),
            bundle=message.bundle,
            constraints=dict(message.constraints),
            profile=message.profile,
            require_approval=demand,
            labels=dict(message.labels),
        )

    def document(self) -> dict[str, Any]:
        """Return the decision as policy writes one: an approval that is not described is `true`."""
        out = Documented.document(self)
        return {**out, "require_approval": out["require_approval"] or True} if "require_approval" in out else out


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(Documented):
    """The answer to a submission."""

    mission_id: str
    digest: str
    created: bool
    """False where the request id had named the same mission before: by this very call too, where it was repeated."""

    decision: Decision | None = field(default=None, metadata=LEFT_OUT)  # None where it was admitted before

    @classmethod
    def of(cls, message: mission_pb2.SubmitMissionResponse) -> Self:
        """Read the message."""
        return cls(
            mission_id=message.mission_id,
            digest=message.digest,
            created=message.created,
            decision=Decision.of(message.decision) if message.HasField("decision") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Documented):
    """What a submission would lead to."""

    mission: JsonObject = field(repr=False)  # canonical
    digest: str
    levels: tuple[tuple[str, ...], ...]  # step ids that may run side by side
    decisions: tuple[Decision, ...]

    @property
    def allowed(self) -> bool:
        """Whether policy would take it."""
        return all(decision.allow for decision in self.decisions)

    @classmethod
    def of(cls, message: mission_pb2.PlanMissionResponse) -> Self:
        """Read the message."""
        return cls(
            mission=json_of(message.mission),
            digest=message.digest,
            levels=tuple(tuple(level.step_ids) for level in message.levels),
            decisions=tuple(map(Decision.of, message.decisions)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Documented):
    """One rule that a document breaks."""

    code: str
    message: str
    field: str  # "steps[3].parameters.path"; "" is the whole document
    line: int | None  # from 1, as the column
    column: int | None

    @classmethod
    def of(cls, message: mission_pb2.Finding) -> Self:
        """Read the message."""
        return cls(
            code=message.code,
            message=message.message,
            field=message.field,
            line=message.line or None,
            column=message.column or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(Documented):
    """What can be said of a mission that is still being written."""

    complete: bool
    wrong: tuple[Finding, ...]  # whatever is added
    missing: tuple[Finding, ...]

    @classmethod
    def of(cls, message: mission_pb2.CheckDraftResponse) -> Self:
        """Read the message."""
        wrong, missing = tuple(map(Finding.of, message.wrong)), tuple(map(Finding.of, message.missing))
        return cls(complete=not wrong and not missing, wrong=wrong, missing=missing)
