"""What the policy desk answers, as protobuf. Nothing is decided here."""

from datetime import UTC, datetime

import orjson

from gateway.bundles.entry import KeptBundle
from gateway.decisions.replay import Change, ChangeKind, Summary
from gateway.policy.decision import Decision
from gateway.policy.shadow import Disagreement
from gateway.policy_views import Evaluation, PolicyStatus, ShadowView
from gateway.rpc.timestamps import timestamp
from gateway.v1 import policy_pb2


def bundle_message(kept: KeptBundle) -> policy_pb2.Bundle:
    """Return a bundle."""
    entry = kept.entry
    return policy_pb2.Bundle(
        digest=entry.digest,
        revision=entry.revision,
        sequence=entry.sequence,
        origin=entry.origin,
        by=entry.by,
        signed_by=entry.signed_by or "",
        kept_at=timestamp(entry.at),
        active=kept.active,
        previous=kept.previous,
    )


def evaluation_message(evaluation: Evaluation) -> policy_pb2.EvaluateResponse:
    """Return what a bundle says of a document."""
    explanation = evaluation.explanation
    return policy_pb2.EvaluateResponse(
        decision=_decision(evaluation.decision),
        explanation=b"" if explanation is None else orjson.dumps(explanation),
    )


def status_message(status: PolicyStatus) -> policy_pb2.GetPolicyStatusResponse:
    """Return what is in force."""
    bundles, failure = status.bundles, status.bundles.failure
    return policy_pb2.GetPolicyStatusResponse(
        active=bundle_message(KeptBundle(entry=bundles.active, active=True, previous=False)),
        engine=status.engine,
        mode=status.mode,
        pinned=bundles.pinned,
        source=policy_pb2.BundleSource(
            location=bundles.source,
            confirmed_at=timestamp(bundles.confirmed_at),
            stale=bundles.stale,
            failure_code="" if failure is None else failure.code,
            failure_message="" if failure is None else failure.message,
            failed_at=None if failure is None else timestamp(failure.at),
        ),
        shadow=None if status.shadow is None else _shadow(status.shadow),
        cache=policy_pb2.DecisionCache(hits=status.cache_hits, misses=status.cache_misses),
    )


def change_message(change: Change) -> policy_pb2.ReplayDecisionsResponse:
    """Return a decision that would change."""
    return policy_pb2.ReplayDecisionsResponse(
        change=policy_pb2.DecisionChange(
            kind=change.kind.value,
            decision_id=change.decision_id,
            decided_at=timestamp(_moment(change.at)),
            entrypoint=change.entrypoint,
            document=change.document,
            who=change.who,
            what=change.what,
            mission_id=change.mission_id,
            before=_decision(change.before),
            after=_decision(change.after),
            why=change.why,
        )
    )


def summary_message(summary: Summary) -> policy_pb2.ReplayDecisionsResponse:
    """Return the last message of a replay."""
    counts = {kind.value: summary.counts[kind] for kind in ChangeKind}
    return policy_pb2.ReplayDecisionsResponse(
        summary=policy_pb2.ReplaySummary(asked=summary.asked, same=summary.same, counts=counts)
    )


def _shadow(view: ShadowView) -> policy_pb2.ShadowBundle:
    counts = view.counts
    return policy_pb2.ShadowBundle(
        digest=counts.bundle,
        compared=counts.compared,
        disagreed=counts.disagreed,
        missed=counts.missed,
        latest=[_disagreement(each) for each in view.latest],
    )


def _disagreement(found: Disagreement) -> policy_pb2.Disagreement:
    return policy_pb2.Disagreement(
        entrypoint=found.entrypoint,
        document=found.document,
        decided=_decision(found.decided),
        shadow=_decision(found.shadow),
        at=timestamp(found.at),
    )


def _decision(decision: Decision | None) -> bytes:
    return b"" if decision is None else orjson.dumps(decision.document())


def _moment(text: str) -> datetime | None:
    """Return the time that a record says; None where it is damaged, and says none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
