"""Consent: a yes of policy that needs a person's as well (`require_approval`), and what follows from it.

Policy says yes and wants an approval; a person is asked, about a digest of what policy has seen; and once there is a
yes, policy is asked again, under the bundle that is active then, with the approval in `input.approval`. What was held
goes on if that answer is a yes for which this person's is enough. Nothing is remembered here: who comes back, after a
retry or a restart, asks policy anew, and the same question finds the same answer (`gateway.missions.approvals`).
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, Self

import orjson

from engine.clock import Clock
from engine.values import JsonObject, JsonValue
from gateway.commitments import Evidence, Hidden
from gateway.decided import note
from gateway.errors import HOST_RULE, PolicyDeniedError, PolicyInvalidError, Reason
from gateway.events import EventType, digest
from gateway.identity import Principal
from gateway.policy.decision import Decision
from gateway.policy.document import subject_of, with_approval
from gateway.policy.engine import PolicyEngine
from gateway.policy.entrypoint import Entrypoint
from gateway.policy.obligations import APPROVAL_SECONDS_MAX, APPROVER_CHARS_MAX, APPROVERS_MAX, ApprovalDemand
from gateway.sandbox.abi import EffectAsked
from gateway.sanitizer.text import check_text
from gateway.stages import ReadyStep

ASKED_MAX: Final = 4  # people, one after the other, for one thing: a policy may want a second role after the first
EXPIRES_SECONDS_DEFAULT: Final = 24 * 60 * 60
_DOMAIN: Final = "missiongate/approval/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDefaults:
    """What a decision leaves out of its `require_approval`; `approvals` of policy's data."""

    approvers: tuple[str, ...] = ("approver",)
    expires_seconds: int = EXPIRES_SECONDS_DEFAULT
    expires_seconds_max: int = APPROVAL_SECONDS_MAX

    def seconds(self, demand: ApprovalDemand) -> int:
        """Return how long there is to decide: never longer than the data lets anybody wait."""
        wanted = self.expires_seconds if demand.expires_in_seconds is None else demand.expires_in_seconds
        return min(wanted, self.expires_seconds_max)


def approval_defaults(data: Mapping[str, JsonValue]) -> ApprovalDefaults:
    """Return the `approvals` of a bundle's data.

    Raises:
        PolicyInvalidError: `policy.approvals`, they are not what they should be.
    """
    section = data.get("approvals", {})
    if not isinstance(section, Mapping):
        raise _invalid("approvals must be an object")
    approvers = section.get("approvers", ["approver"])
    roles = tuple(role for role in approvers if isinstance(role, str)) if isinstance(approvers, list) else ()
    if not isinstance(approvers, list) or len(roles) != len(approvers) or len(set(roles)) != len(roles):
        raise _invalid("approvals.approvers must be a list of different roles")
    if any(not 0 < len(role) <= APPROVER_CHARS_MAX for role in roles):
        raise _invalid(f"approvals.approvers: a role has 1 to {APPROVER_CHARS_MAX} characters")
    most = _seconds(section, "expires_seconds_max", APPROVAL_SECONDS_MAX)
    return ApprovalDefaults(
        approvers=roles,
        expires_seconds=_seconds(section, "expires_seconds", min(EXPIRES_SECONDS_DEFAULT, most)),
        expires_seconds_max=most,
    )


def _seconds(section: Mapping[str, JsonValue], name: str, default: int) -> int:
    value = section.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= APPROVAL_SECONDS_MAX:
        raise _invalid(f"approvals.{name} must be a whole number of seconds from 1 to {APPROVAL_SECONDS_MAX}")
    return value


def _invalid(message: str) -> PolicyInvalidError:
    return PolicyInvalidError(message, code="policy.approvals", file="data.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is asked: by policy, or, where `entrypoint` is empty, by a step's own module."""

    entrypoint: Entrypoint | str  # what policy was asked about
    mission_id: str
    step_id: str  # empty: it is about the mission as a whole
    item: int | None  # of a fan-out
    digest: str  # of what is approved
    bundle: str  # of the decision that wants it
    key: str  # the same question, asked again, has the same
    message: str
    approvers: tuple[str, ...]  # roles, of which a decider needs one
    expires_in_seconds: int
    caller: Principal  # who submitted the mission

    def facts(self) -> Evidence:
        """Return it as an event tells it."""
        return {
            "digest": Hidden(self.digest),
            "approvers": list(self.approvers),
            "expires_in_seconds": self.expires_in_seconds,
            "message": Hidden(self.message),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A person's yes to a question."""

    approval_id: str
    by: str  # subject
    actor: str  # the same, as the log has it
    roles: tuple[str, ...]  # of that person, as they were then
    decided_at: str  # RFC 3339
    waited: bool  # whether it came after this call had begun

    def document(self) -> JsonObject:
        """Return the agreement as policy sees it, in `input.approval`."""
        return {
            "approved": True,
            "id": self.approval_id,
            "by": self.by,
            "roles": list(self.roles),
            "decided_at": self.decided_at,
        }


class People(Protocol):
    """Asks people; `gateway.missions.approvals.Approvals` does."""

    async def agreed(self, question: Question, waiting: Callable[[], AbstractAsyncContextManager[None]]) -> Agreement:
        """Return the yes to a question, be it given already or once somebody gives it; `waiting` is entered meanwhile.

        Raises:
            PolicyDeniedError: `approval.denied`, `approval.expired`, `approval.withdrawn`.
            FaultError: nobody can be asked now.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """What policy was asked about, and wants a person to look at."""

    entrypoint: Entrypoint
    mission_id: str
    step_id: str
    item: int | None
    index: int | None  # of an effect, among those of its step
    caller: Principal
    title: str  # for people, where policy has no words of its own
    document: Callable[[datetime], bytes]  # as policy is asked about it that decides then
    held: Callable[[Evidence], None]  # records that it is held
    waiting: Callable[[], AbstractAsyncContextManager[None]]
    handles: Mapping[str, str] = field(default_factory=dict)  # of secrets, by name

    @classmethod
    def of_step(cls, ready: ReadyStep) -> Self:
        """Return a step that policy has allowed, or an item of one."""
        return cls(
            entrypoint="step",
            index=None,
            title=f"the step {ready.step.id} ({ready.step.step_type})",
            document=ready.document,
            held=partial(_held, ready, EventType.STEP_HELD),
            **_place(ready),
        )

    @classmethod
    def of_effect(cls, ready: ReadyStep, call: EffectAsked, index: int) -> Self:
        """Return an effect that policy has allowed; `index` is its place in its step."""
        return cls(
            entrypoint="effect",
            index=index,
            title=f"{call.op}, effect {index} of the step {ready.step.id} ({ready.step.step_type})",
            document=lambda now: ready.effect_document(call, index, now=now),
            held=partial(_held, ready, EventType.EFFECT_HELD),
            **_place(ready),
        )


def _place(ready: ReadyStep) -> dict[str, Any]:
    """Return what a step and its effects have in common."""
    return {
        "mission_id": ready.admitted.mission_id,
        "step_id": ready.step.id,
        "item": ready.attempt.item,
        "caller": ready.admitted.caller,
        "waiting": ready.attempt.waiting,
        "handles": ready.secrets.by_name,
    }


def _held(ready: ReadyStep, event: EventType, facts: Evidence) -> None:
    ready.admitted.trail.require_open(ready.target)
    ready.admitted.trail.record(event, ready.target, facts)


@dataclass(frozen=True, slots=True)
class Consented:
    """Every yes of policy on the way, of which the last is one for which people's is enough, and all are obeyed."""

    decisions: tuple[Decision, ...]
    document: bytes  # of the last
    waited: bool  # somebody was waited for


class Consent:
    """Asks people where policy wants that."""

    def __init__(
        self,
        policy: PolicyEngine,
        people: People,
        clock: Clock,
        defaults: Callable[[str], ApprovalDefaults] = lambda _: ApprovalDefaults(),
    ) -> None:
        """Ask `people`, then `policy` again; `defaults` are those of the bundle with a digest."""
        self._policy = policy
        self._people = people
        self._clock = clock
        self._defaults = defaults

    async def given(self, matter: Matter, decision: Decision, evidence: Evidence) -> Consented:
        """Return with what a matter goes on of which `decision` has wanted a person's yes; `evidence` is told.

        Raises:
            PolicyDeniedError: a person or policy said no, nobody decided in time, or no yes was enough
                (`approval.insufficient`); `policy.obligation_unsupported`, nobody may be asked, or not so.
            FaultError: as `People.agreed`.
        """
        waited, decisions = False, [decision]
        for _ in range(ASKED_MAX):
            question = self._question(matter, decision)
            matter.held({**evidence, "approval": question.facts()})
            agreement = await self._people.agreed(question, matter.waiting)
            waited |= agreement.waited
            asked = with_approval(matter.document(self._clock.now()), agreement.document())
            evidence["document"] = Hidden(asked)
            evidence["approval"] = {
                "id": agreement.approval_id,
                "digest": Hidden(question.digest),
                "by": agreement.actor,
            }
            decision = await self._policy.decide(matter.entrypoint, asked)
            note(decision, evidence)
            decision.require()
            decisions.append(decision)
            if pointers := {pointer for each in decisions for pointer in each.redact}:
                evidence["masked"] = sorted(pointers)
            if decision.require_approval is None or set(agreement.roles) & set(self._approvers(decision)):
                return Consented(tuple(decisions), asked, waited)
        message = f"{ASKED_MAX} people have agreed, and policy still asks for another approval"
        raise PolicyDeniedError([Reason("approval.insufficient", message, HOST_RULE)])

    def _approvers(self, decision: Decision) -> tuple[str, ...]:
        demand = decision.require_approval
        return (demand.approvers if demand is not None else ()) or self._defaults(decision.bundle).approvers

    def _question(self, matter: Matter, decision: Decision) -> Question:
        demand = decision.require_approval or ApprovalDemand()
        approvers = self._approvers(decision)
        message = demand.message or f"Policy asks for an approval of {matter.title}."
        if not 0 < len(approvers) <= APPROVERS_MAX:
            raise _unsupported(
                "policy asks for an approval, and no role, or too many, may give it (approvals.approvers)"
            )
        if finding := check_text(message):
            raise _unsupported(f"the message of the approval that policy asks for {finding.message}")
        about = digest(subject_of(matter.document(self._clock.now()), matter.handles))
        place = [matter.mission_id, matter.entrypoint, matter.step_id, matter.item, matter.index]
        identity = [_DOMAIN, *place, about, sorted(approvers)]
        return Question(
            entrypoint=matter.entrypoint,
            mission_id=matter.mission_id,
            step_id=matter.step_id,
            item=matter.item,
            digest=about,
            bundle=decision.bundle,
            key=hashlib.sha256(orjson.dumps(identity)).hexdigest(),
            message=message,
            approvers=approvers,
            expires_in_seconds=self._defaults(decision.bundle).seconds(demand),
            caller=matter.caller,
        )


def _unsupported(message: str) -> PolicyDeniedError:
    return PolicyDeniedError([Reason("policy.obligation_unsupported", message, HOST_RULE)])
