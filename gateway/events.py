"""The audit events of this gateway: their types, what `details` hold, and how a verdict gets into the log.

`details` hold commitments, codes and counts, never payloads, and nobody's name. The laws, which an auditor can hold the
log to:

- an actor is a pseudonym (`s-…`), `anonymous`, or the gateway itself; nobody is spoken of otherwise;
- what is a client's stands as a commitment (`hmac-sha256:…`), by the mission's key, or by the actor's where the event
  belongs to no mission: within one mission equal values have equal ones, and across missions none can be compared;
- a `subject.erased` stands under a signed checkpoint before anything is erased; it is told again where the gateway was
  killed meanwhile, and has one `subject.erasure_ended` after it, or one more where that was killed as well. After it
  there is no event of which this pseudonym is the actor, but of calls that were under way;
- an attempt at a step, or at an item of it, that a mission began has one `step.allowed` or `step.refused`, unless it
  was cancelled before there was a verdict; only an allowed one is run; after a wait for a person, for another mission
  or for a time there is one more, marked `again`;
- a yes of policy that needs a person's as well is a `step.held`, `effect.held` or `mission.held`, before the
  `approval.requested` that has its digest; what was held is decided again, under the policy that is active then, and
  only its verdict after that lets it go on: `step.allowed`, `effect.allowed`, `mission.cleared`, or a refusal. Where an
  effect has waited so, the step and all effects of its batch are decided once more, marked `again` and `held`;
- where a verdict has `masked`, what those pointers lead to is in no event, not even as a digest: those of outcomes and
  outputs are of what was left. `effect.performed` says how many places were masked, and so does `step.output_redacted`,
  which stands before the output's rewrites, and again after them where they have filled such a place;
- a verdict names, in `screens` and `rewrites`, every screen that was asked and every rewrite that ran for it, in order;
  a refused one was refused by the last screen of the list where that says `deny`, and a screen with a `fault` beside an
  `abstain` has failed open, of which `hook.failed_open` tells too, at most once a minute for each hook, with counts;
- a step whose result was used again has one `step.result_reused`, after its `step.allowed` and before its output is
  masked or rewritten; no module was run for it, and a run would come to the same;
- an output that rewrites have passed has one `step.output_rewritten`, after the attempt's verdict and before
  `step.ended`; of the attempt that completes a step, the last digest `after` of `step.output_rewritten` and
  `step.output_redacted` is that of the output in `step.ended`;
- an effect that a module asks for has one `effect.allowed` or `effect.refused`, with the same exception, and one more,
  marked `again`, where an effect of the same batch has waited before it;
- an `effect.intended` stands under a signed checkpoint before anything is done, and has one `effect.performed` or
  `effect.failed` after it, unless the gateway was killed in between: then nobody knows whether it took place, and the
  attempt that would repeat it says so, by a second `effect.intended` or by `effect.failed`;
- no effect has two `effect.performed`: one that an earlier attempt has performed is `effect.replayed`;
- what was written in the last moments of a process that was killed may be lost, as no checkpoint covers it: after
  `mission.resumed`, or before `mission.interrupted`, `mission.steps_kept` and `mission.effects_kept` name every outcome
  that stands, and every effect that is in doubt;
- a call that policy allows is a number in an `rpc.called` of its principal and method, or is an `audit.read`; one that
  it denies is an `rpc.denied`, or, of a stranger and beyond the principal's quota, such a number. An `rpc.called` comes
  within a minute of the first call that it counts, unless the gateway is killed in that minute;
- a rule that broke its constraints has one `constraint.violated`, before whatever follows from it: the verdict, the
  step's end, the refusal; `policy` is `open` where it was passed over, which happens to screens only; what observers
  break is counted in `hook.failed_open`;
- after `step.ended` nothing of that step begins, until the mission is retried or resumed;
- after `mission.ended`, `mission.suspended` or `mission.interrupted` nothing of that mission begins, until
  `mission.retried` or `mission.resumed`;
- a `mission.erased` stands under a signed checkpoint before anything is erased, and names by JSON pointers what is; it
  is told again where the gateway was killed meanwhile, and has one `mission.erasure_ended` after it;
- a module of a hook runs only after `gateway.started`, `hook.enabled` or `hook.rolled_back` that names it;
- a replay that somebody has asked for over gRPC has one `audit.replayed`, after its `audit.read`; one that was broken
  off says that it is not `complete`, unless the gateway was killed in it;
- a hook that is enabled has a `hook.published` before, unless the gateway was killed as it published it: nobody was
  told that it had;
- a decision's bundle has a `policy.bundle_published` or a `policy.bundle_asked` before, or is the one that
  `gateway.started` names; decisions of a new one may stand before its `policy.bundle_activated`, by moments;
- a bundle that a person puts in force has a `policy.bundle_asked` before anything changes, which says who it was;
- what a source gives by itself has, among `policy.bundle_activated`, never a lower `sequence` than what was in force
  before, unless a person has followed the source with `allow_older`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Protocol, Self

import orjson

from engine.errors import EngineError, FaultError
from engine.values import JsonObject, JsonValue
from gateway.commitments import Commitments, Evidence, Hidden
from gateway.errors import PolicyDeniedError, Reason

REASONS_MAX: Final = 8  # in one event, whose line has a limit; the caller is told all of them


class EventType(StrEnum):
    """Every event that this gateway writes; engine.audit writes `audit.*` of its own."""

    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"
    GATEWAY_RELOADED = "gateway.reloaded"  # the configuration was read anew
    RELOAD_REFUSED = "gateway.reload_refused"  # it was to be, and breaks a rule: nothing has changed
    DECISION_LOG_DROPPED = "policy.decision_log_dropped"  # events that its collector will never get
    RPC_DENIED = "rpc.denied"
    RPC_CALLED = "rpc.called"  # how often, in about a minute: calls that have no event of their own
    RPC_UNAUTHENTICATED = "rpc.unauthenticated"  # likewise of callers whom nobody knows
    LOG_READ = "audit.read"
    EXPORT_GAP = "audit.export_gap"  # events that a SIEM will never get from here
    EXPORT_STOPPED = "audit.export_stopped"  # its cursor is not of this log: somebody has to look
    LOG_REPLAYED = "audit.replayed"  # a mission was run again beside what is recorded of it, and this came of it
    WITNESS_REFUSED = "audit.witness_refused"  # a witness knows another history of this log
    ANCHOR_REFUSED = "audit.anchor_refused"  # a place of checkpoints holds one that this log does not lead to
    MISSION_REFUSED = "mission.refused"
    MISSION_ADMITTED = "mission.admitted"
    MISSION_HELD = "mission.held"  # admitted, and waits for a person before its first step
    MISSION_CLEARED = "mission.cleared"  # a person agrees, and so does policy again
    MISSION_CANCEL_REQUESTED = "mission.cancel_requested"
    MISSION_PAUSED = "mission.paused"
    MISSION_UNPAUSED = "mission.unpaused"
    MISSION_ENDED = "mission.ended"
    MISSION_RETRIED = "mission.retried"  # a new run of an ended mission, which keeps what the earlier has completed
    MISSION_SUSPENDED = "mission.suspended"  # the gateway stops; its next start goes on
    MISSION_RESUMED = "mission.resumed"  # a later start of the gateway goes on
    STEPS_KEPT = "mission.steps_kept"  # results of an earlier process that stand
    EFFECTS_KEPT = "mission.effects_kept"  # what an earlier process has performed, or may have
    MISSION_INTERRUPTED = "mission.interrupted"  # it cannot: policy or limits have changed
    MISSION_PRUNED = "mission.pruned"  # their records are gone, as retention says; the log stays
    MISSION_ERASED = "mission.erased"  # somebody erases what they held: from now on, or after a crash, it is done
    MISSION_ERASURE_ENDED = "mission.erasure_ended"  # nothing of it is left that this gateway kept
    CONSTRAINT_VIOLATED = "constraint.violated"  # a sanitizer, a decision or a module was over a limit of its own
    STEP_REFUSED = "step.refused"
    STEP_HELD = "step.held"  # policy says yes, and wants a person to say so too
    STEP_ALLOWED = "step.allowed"
    RESULT_REUSED = "step.result_reused"  # no module was run: the same run has come to this before
    OUTPUT_REWRITTEN = "step.output_rewritten"  # before anybody has seen the output
    OUTPUT_REDACTED = "step.output_redacted"  # likewise
    STEP_ENDED = "step.ended"
    STEP_SKIPPED = "step.skipped"  # names many: steps that never began
    EFFECT_REFUSED = "effect.refused"
    EFFECT_HELD = "effect.held"
    EFFECT_ALLOWED = "effect.allowed"
    EFFECT_INTENDED = "effect.intended"
    EFFECT_PERFORMED = "effect.performed"
    EFFECT_REPLAYED = "effect.replayed"  # not performed: an earlier attempt has, and this one was told the same
    EFFECT_FAILED = "effect.failed"
    HOOK_FAILED_OPEN = "hook.failed_open"  # a screen or an observer failed, and stopped nothing
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_DECIDED = "approval.decided"  # by a person, or by the clock: `state` says which way
    SUBJECT_ERASED = "subject.erased"  # a pseudonym means nobody from now on
    SUBJECT_ERASURE_ENDED = "subject.erasure_ended"  # nothing of it is left that this gateway kept
    SUBJECT_LOOKED_UP = "subject.looked_up"  # somebody has asked who stands behind a pseudonym, or which is somebody's
    APPROVAL_REFUSED = "approval.refused"  # somebody tried to decide who may not, or too late
    HOOK_PUBLISHED = "hook.published"
    HOOK_PUBLISH_REFUSED = "hook.publish_refused"
    HOOK_ENABLED = "hook.enabled"
    HOOK_DISABLED = "hook.disabled"
    HOOK_ROLLED_BACK = "hook.rolled_back"
    BUNDLE_PUBLISHED = "policy.bundle_published"  # kept, by a person or from the source; it decides nothing by that
    BUNDLE_ASKED = "policy.bundle_asked"  # somebody puts it in force: one of the next two follows, unless it is killed
    BUNDLE_ACTIVATED = "policy.bundle_activated"  # it decides from now on
    BUNDLE_REFUSED = "policy.bundle_refused"  # not taken, or not put in force: what was in force still is
    SHADOW_DISAGREED = "policy.shadow_disagreed"  # the first of its kind; the others are counted
    BUNDLE_STALE = "policy.bundle_stale"  # the source was not heard of for too long, or is again: `stale` says which


class Audit(Protocol):
    """What the gateway needs of the log; `engine.audit.log.AuditLog` is one."""

    @property
    def size(self) -> int:
        """Number of events that the latest signed checkpoint covers."""

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        """Record an event and return its seq."""

    async def durable(self, seq: int) -> None:
        """Return once a signed checkpoint covers `seq`."""


class Trail:
    """The audit events of one mission: on whose behalf they are, how many there are, and whether more may begin.

    What is hidden in their details becomes a commitment under the mission's key.
    """

    __slots__ = ("_actor", "_audit", "_steps_over", "commitments", "events", "over")

    def __init__(self, audit: Audit, actor: str, commitments: Commitments) -> None:
        """Begin a trail; `actor` is who submitted the mission, as the log knows them."""
        self._audit = audit
        self._actor = actor
        self.commitments = commitments
        self._steps_over: set[str] = set()  # targets
        self.over = False
        self.events = 0

    def record(
        self, event_type: EventType, target: str, details: Mapping[str, Any], *, actor: str | None = None
    ) -> int:
        """Append an event and return its seq; `actor` where it is not the mission's own.

        Raises:
            EngineError: as `AuditLog.append`; nothing was recorded.
        """
        committed = self.commitments.commit(details)
        seq = self._audit.append(event_type, actor=actor or self._actor, target=target, details=committed)
        self.events += 1
        return seq

    def end(self) -> None:
        """Let nothing begin any more; what is under way may still record how it ended."""
        self.over = True

    def end_step(self, target: str) -> None:
        """Let nothing of a step begin any more."""
        self._steps_over.add(target)

    def is_open(self, target: str) -> bool:
        """Return whether the mission runs, and the step, or the step of the item, has not ended."""
        return not self.over and target.partition("[")[0] not in self._steps_over

    def require_open(self, target: str) -> None:
        """Return while something of a step, or of an item, may begin.

        Raises:
            FaultError: `mission.ended`, `step.ended`. An attempt that ignored its cancellation is still at work.
        """
        if not self.is_open(target):
            what = "mission" if self.over else "step"
            raise FaultError(f"the {what} has ended", code=f"{what}.ended")


class Verdict:
    """A block whose outcome is in the log before anybody acts on it: left normally it is a yes, by an exception a no.

    `evidence` is filled inside the block with what was found out. A block that is cancelled has no verdict, nor has one
    that outlives its mission or its step: leaving it raises.
    """

    __slots__ = ("_allowed", "_refused", "_target", "_trail", "evidence", "seq")

    def __init__(
        self, trail: Trail, target: str, evidence: Evidence, *, allowed: EventType, refused: EventType
    ) -> None:
        self._trail = trail
        self._target = target
        self._allowed = allowed
        self._refused = refused
        self.evidence = evidence
        self.seq = -1  # of the recorded yes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._trail.require_open(self._target)
            self.seq = self._trail.record(self._allowed, self._target, self.evidence)
        elif isinstance(error, Exception) and self._trail.is_open(self._target):
            self._trail.record(self._refused, self._target, {**self.evidence, **refusal_document(error)})


def digest(value: object) -> str:
    """Return `sha256:<hex>` of a JSON value's canonical form (sorted keys, no white space), or of bytes as given.

    It is for what is public, and for what its owner is told. An event says `Hidden` of what is a client's.
    """
    raw = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def code_document(error: Exception) -> dict[str, JsonValue]:
    """Return what an event says of a no that is about nobody's data: its code. A bug is `internal`."""
    return {"code": error.code if isinstance(error, EngineError) else "internal"}


def refusal_document(error: Exception) -> Evidence:
    """Return what an event says of a no: its code, and policy's reasons. A bug is `internal`; its text stays out."""
    out: Evidence = {**code_document(error)}
    if isinstance(error, PolicyDeniedError):
        out["reasons"] = reasons_document(error.reasons)
    return out


def reasons_document(reasons: Sequence[Reason]) -> list[Evidence]:
    """Return the first reasons as they stand in events: however many policy gives, the event fits its line.

    A message may say anything that policy has seen, names included; it is in the record of the decision.
    """
    return [{"code": r.code, "message": Hidden(r.message), "rule": r.rule} for r in reasons[:REASONS_MAX]]
