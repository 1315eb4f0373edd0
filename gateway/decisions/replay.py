"""A candidate policy asked again about recorded decisions: what would change, and what cannot be compared.

A document holds everything that policy may look at, the minute in which it was asked included, so the candidate is
asked exactly what was asked then.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final

import orjson

from gateway.decisions.events import encoded, parse_document
from gateway.decisions.records import Recorded, Unreadable
from gateway.detached import in_thread
from gateway.errors import HOST_RULE, Reason
from gateway.policy.decision import Decision
from gateway.policy.engine import PolicyEngine

AT_ONCE: Final = 32  # documents that are asked at the same time
# What the host says, and would say again of the same document and the same bundle.
_OF_POLICY: Final = frozenset(
    {"policy.undefined", "policy.malformed", "policy.failed", "policy.obligation_unsupported"}
)
_BUNDLE: Final = "bundle"


class ChangeKind(StrEnum):
    """What became of a recorded decision."""

    DENIED = "denied"  # was allowed, and would be denied
    ALLOWED = "allowed"  # was denied, and would be allowed
    OBLIGATIONS = "obligations"  # would be allowed with other constraints, profile, labels, …
    REASONS = "reasons"  # would be decided the same way for other reasons
    NOT_COMPARABLE = "not_comparable"  # the host had denied it, as on a timeout: policy gave no answer then
    UNREADABLE = "unreadable"  # its record does not open any more


CHANGES: Final = (ChangeKind.DENIED, ChangeKind.ALLOWED, ChangeKind.OBLIGATIONS, ChangeKind.REASONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One recorded decision that is not as it was, or of which nobody can tell."""

    kind: ChangeKind
    decision_id: str
    at: str
    entrypoint: str
    document: str = ""  # plain digest
    who: str = ""  # tenant/subject
    what: str = ""  # mission, step and effect, or method, by the names in the document
    mission_id: str = ""
    before: Decision | None = None
    after: Decision | None = None
    why: str = ""  # of what cannot be compared

    def document_of(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "kind": self.kind.value,
            "decision_id": self.decision_id,
            "at": self.at,
            "entrypoint": self.entrypoint,
            "document": self.document,
            "who": self.who,
            "what": self.what,
            "mission_id": self.mission_id,
            "before": None if self.before is None else self.before.document(),
            "after": None if self.after is None else self.after.document(),
            "why": self.why,
        }


@dataclass(slots=True)
class Summary:
    """Counts of a replay; filled while it runs."""

    asked: int = 0  # records that were looked at
    same: int = 0
    counts: Counter[ChangeKind] = field(default_factory=Counter)

    @property
    def changed(self) -> int:
        """How many decisions would change."""
        return sum(self.counts[kind] for kind in CHANGES)

    @property
    def clean(self) -> bool:
        """Whether nothing would change, and everything could be opened."""
        return not self.changed and not self.counts[ChangeKind.UNREADABLE]

    def document(self) -> dict[str, object]:
        """Return the counts as JSON, every kind of them."""
        counts = {kind.value: self.counts[kind] for kind in ChangeKind}
        return {"asked": self.asked, "same": self.same, **counts}


async def replay(
    records: Iterable[Recorded | Unreadable], candidate: PolicyEngine, summary: Summary
) -> AsyncIterator[Change]:
    """Ask `candidate` about every record, and yield what would change, in the order of the records.

    Args:
        records: as `Records.read` yields them.
        candidate: decides anew; its own faults (a timeout, a crash) are denials, as they would be.
        summary: counts everything, what stays the same as well.

    Raises:
        StoreError: the records cannot be read on.
    """
    remaining = iter(records)
    while chunk := await _next(remaining):
        for change in await asyncio.gather(*(_compared(record, candidate) for record in chunk)):
            summary.asked += 1
            if change is None:
                summary.same += 1
            else:
                summary.counts[change.kind] += 1
                yield change


async def _next(records: Iterator[Recorded | Unreadable]) -> list[Recorded | Unreadable]:
    """Return the next records: read, opened and verified in a thread, under which their file must not be closed."""
    return await in_thread(lambda: list(islice(records, AT_ONCE)))


async def _compared(record: Recorded | Unreadable, candidate: PolicyEngine) -> Change | None:
    if isinstance(record, Unreadable):
        return Change(
            kind=ChangeKind.UNREADABLE,
            decision_id=record.id,
            at=record.at,
            entrypoint=record.entrypoint,
            why=record.why,
        )
    before, after = record.decision, await candidate.decide(record.entrypoint, record.document)
    faults = [reason for reason in before.reasons if reason.rule == HOST_RULE]
    kind = ChangeKind.NOT_COMPARABLE if _is_fault(before, faults) else _kind(before, after)
    if kind is None:
        return None
    value = parse_document(record.document)
    return Change(
        kind=kind,
        decision_id=record.id,
        at=record.at,
        entrypoint=record.entrypoint,
        document=record.digest,
        who=_who(value),
        what=_what(value),
        mission_id=record.mission_id,
        before=before,
        after=after,
        why=f"it was denied by the host: {faults[0].code}" if kind is ChangeKind.NOT_COMPARABLE else "",
    )


def _is_fault(decision: Decision, faults: list[Reason]) -> bool:
    """Return whether policy had given no answer."""
    return not decision.allow and any(reason.code not in _OF_POLICY for reason in faults)


def _kind(before: Decision, after: Decision) -> ChangeKind | None:
    """Return how two answers differ; what weighs most is told."""
    if before.allow is not after.allow:
        return ChangeKind.ALLOWED if after.allow else ChangeKind.DENIED
    if _obligations(before) != _obligations(after):
        return ChangeKind.OBLIGATIONS
    return None if _reasons(before) == _reasons(after) else ChangeKind.REASONS


def _obligations(decision: Decision) -> bytes:
    """Return all that a decision asks for beside yes or no, in one spelling."""
    said = {name: value for name, value in decision.document().items() if name not in {"allow", "reasons", _BUNDLE}}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _reasons(decision: Decision) -> list[bytes]:
    """Return the reasons, in no order: a set of Rego's has none that stays."""
    return sorted(encoded([r.code, r.message, r.rule]) for r in decision.reasons)


def _who(value: Any) -> str:
    principal = _object(value, "principal")
    return f"{principal.get('tenant', '')}/{principal.get('subject', '')}" if principal else ""


def _what(value: Any) -> str:
    """Return what was asked for: `nightly / fetch / http.request`, or `gateway.v1.MissionService/SubmitMission`."""
    rpc = _object(value, "rpc")
    if rpc:
        return f"{rpc.get('service', '')}/{rpc.get('method', '')}"
    mission, step, effect = (_object(value, name) for name in ("mission", "step", "effect"))
    parts = [mission.get("name"), step.get("name") or step.get("id"), effect.get("op")]
    return " / ".join(str(part) for part in parts if part)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
