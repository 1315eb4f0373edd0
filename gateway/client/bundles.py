"""Policy of a gateway: its bundles, what is in force, and what another bundle would decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from engine.values import JsonObject
from gateway.client.documented import Documented, named
from gateway.client.wire import json_of, moment
from gateway.v1 import policy_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Documented):
    """A bundle that a gateway keeps."""

    digest: str  # "sha256:<hex>"
    revision: str
    sequence: int | None
    origin: str  # "source", "published"
    by: str
    signed_by: str | None
    kept_at: datetime
    active: bool
    previous: bool  # what a rollback puts in force

    @classmethod
    def of(cls, message: policy_pb2.Bundle) -> Self:
        """Read the message."""
        return cls(
            digest=message.digest,
            revision=message.revision,
            sequence=message.sequence if message.HasField("sequence") else None,
            origin=message.origin,
            by=message.by,
            signed_by=message.signed_by or None,
            kept_at=moment(message.kept_at),
            active=message.active,
            previous=message.previous,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBundle(Documented):
    """The answer to a publication; `created` is False where the same was there."""

    bundle: Bundle
    created: bool

    @classmethod
    def of(cls, message: policy_pb2.PublishBundleResponse) -> Self:
        """Read the message."""
        return cls(bundle=Bundle.of(message.bundle), created=message.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Documented):
    """What policy says of a document."""

    decision: JsonObject
    explanation: JsonObject | None  # where it was asked for

    @classmethod
    def of(cls, message: policy_pb2.EvaluateResponse) -> Self:
        """Read the message."""
        return cls(decision=json_of(message.decision), explanation=json_of(message.explanation))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailure(Documented):
    """Why the source of bundles gave none."""

    code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSource(Documented):
    """Where bundles come from by themselves."""

    location: str
    confirmed_at: datetime | None
    stale: bool
    failure: SourceFailure | None

    @classmethod
    def of(cls, message: policy_pb2.BundleSource) -> Self:
        """Read the message."""
        failure = None
        if message.failure_code:
            at = moment(message.failed_at)
            failure = SourceFailure(code=message.failure_code, message=message.failure_message, at=at)
        return cls(
            location=message.location,
            confirmed_at=moment(message.confirmed_at) if message.HasField("confirmed_at") else None,
            stale=message.stale,
            failure=failure,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement(Documented):
    """Something that the shadow bundle would decide otherwise."""

    entrypoint: str
    document_digest: str = field(metadata=named("document"))
    decided: JsonObject
    shadow: JsonObject
    at: datetime

    @classmethod
    def of(cls, message: policy_pb2.Disagreement) -> Self:
        """Read the message."""
        return cls(
            entrypoint=message.entrypoint,
            document_digest=message.document,
            decided=json_of(message.decided),
            shadow=json_of(message.shadow),
            at=moment(message.at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow(Documented):
    """A bundle that is asked beside the one in force, and decides nothing."""

    digest: str
    compared: int
    disagreed: int
    missed: int
    latest: tuple[Disagreement, ...]

    @classmethod
    def of(cls, message: policy_pb2.ShadowBundle) -> Self:
        """Read the message."""
        return cls(
            digest=message.digest,
            compared=message.compared,
            disagreed=message.disagreed,
            missed=message.missed,
            latest=tuple(map(Disagreement.of, message.latest)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts(Documented):
    """How often a decision was at hand."""

    hits: int
    misses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus(Documented):
    """What is in force, and where it comes from."""

    active: Bundle
    engine: str
    mode: str  # "enforce", "dry_run"
    pinned: bool  # a person has chosen: the source changes nothing
    source: BundleSource
    shadow: Shadow | None
    cache: CacheCounts

    @classmethod
    def of(cls, message: policy_pb2.GetPolicyStatusResponse) -> Self:
        """Read the message."""
        return cls(
            active=Bundle.of(message.active),
            engine=message.engine,
            mode=message.mode,
            pinned=message.pinned,
            source=BundleSource.of(message.source),
            shadow=Shadow.of(message.shadow) if message.HasField("shadow") else None,
            cache=CacheCounts(hits=message.cache.hits, misses=message.cache.misses),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionChange(Documented):
    """A recorded decision that another bundle would not give."""

    kind: str
    decision_id: str
    at: datetime | None
    entrypoint: str
    document_digest: str = field(metadata=named("document"))
    who: str
    what: str
    mission_id: str
    before: JsonObject | None
    after: JsonObject | None
    why: str

    @classmethod
    def of(cls, message: policy_pb2.DecisionChange) -> Self:
        """Read the message."""
        return cls(
            kind=message.kind,
            decision_id=message.decision_id,
            at=moment(message.decided_at) if message.HasField("decided_at") else None,
            entrypoint=message.entrypoint,
            document_digest=message.document,
            who=message.who,
            what=message.what,
            mission_id=message.mission_id,
            before=json_of(message.before),
            after=json_of(message.after),
            why=message.why,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary(Documented):
    """What came of the recorded decisions: how many were asked, and how many would change, by kind."""

    asked: int
    same: int
    counts: Mapping[str, int]

    @classmethod
    def of(cls, message: policy_pb2.ReplaySummary) -> Self:
        """Read the message."""
        return cls(asked=message.asked, same=message.same, counts=dict(message.counts))

    def document(self) -> dict[str, Any]:
        """Return all counts side by side."""
        return {"asked": self.asked, "same": self.same, **self.counts}
