"""What the log is told of every decision, whatever it was about."""

from typing import Final

import orjson

from gateway.commitments import Evidence, Hidden
from gateway.events import reasons_document
from gateway.policy.decision import Decision

LABELS_BYTES_MAX: Final = 4_096  # of the labels in one event, whose line has a limit


def note(decision: Decision, evidence: Evidence) -> None:
    """Let an event's evidence say what policy answered, which policy it was, and what it asks of the host.

    What an earlier decision of the same verdict has left there is no longer said.
    """
    for name in ("decision_id", "reasons", "labels", "labels_digest", "masked", "would_deny"):
        evidence.pop(name, None)
    evidence["bundle"] = decision.bundle
    if decision.id:
        evidence["decision_id"] = decision.id
    if decision.reasons:
        evidence["reasons"] = reasons_document(decision.reasons)
    if decision.labels:
        labels = dict(sorted(decision.labels.items()))
        fits = len(orjson.dumps(labels)) <= LABELS_BYTES_MAX
        evidence |= {"labels": labels} if fits else {"labels_digest": Hidden(labels)}
    if decision.would_deny:
        evidence["would_deny"] = True
    if decision.redact:
        evidence["masked"] = sorted(set(decision.redact))
