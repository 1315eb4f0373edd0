"""What the stages of the pipeline hand on: a value of one of these types proves that its stage was passed.

`gateway.pipeline` is their only maker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

from engine.attempt import StepAttempt
from engine.clock import rfc3339
from engine.constraints import ExecutionConstraints
from engine.mission import MissionStep
from engine.plan import Plan
from engine.values import JsonObject, JsonValue
from gateway.effects.described import described
from gateway.effects.keys import effect_key
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.target import HttpTarget
from gateway.effects.workspace import Workspace
from gateway.errors import HOST_RULE, EffectError, Reason
from gateway.events import Trail, digest
from gateway.hookset import HookSet, StepKind, Subject
from gateway.identity import Principal
from gateway.journal import MissionJournal
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.policy.redaction import NO_REDACTION, Redaction
from gateway.sandbox.abi import EffectAsked, encode_step
from gateway.sandbox.port import RunGiven
from gateway.security_levels import SecurityLevel
from gateway.taint import brought_to
from gateway.vault.reader import Attempt
from gateway.vault.step_secrets import NO_STEP_SECRETS, StepSecrets, declared_secrets

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SanitizedMission:
    """A mission that has passed stage 1, and what the host found out about it."""

    plan: Plan
    digest: str
    taint: tuple[frozenset[str], ...]  # labels by step index
    level: SecurityLevel
    effects: Mapping[str, tuple[str, ...]]  # what each step kind could ask for then, of which the taint was computed
    inherited: frozenset[str] = frozenset()  # of those, what every step has because the mission is a part of another

    def inheriting(self, labels: frozenset[str]) -> "SanitizedMission":
        """Return the mission as a part of another, whose step has filled it with data of these labels: anywhere."""
        taint = tuple(own | labels for own in self.taint)
        return replace(self, taint=taint, inherited=self.inherited | labels) if labels else self

    def brought_to(self, step_id: str) -> frozenset[str]:
        """Return the labels of what a step is given, and may give on to a mission that it runs."""
        return brought_to(self.plan, self.taint, self.plan.graph.index[step_id]) | self.inherited


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """A step, or an item of it, as rewrites and observers see it beside its parameters or its output."""

    subject: Subject
    facts: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedMission:
    """A mission that has passed stages 1 to 3: the only thing of which a step may run."""

    mission_id: str
    sanitized: SanitizedMission
    caller: Principal
    decision: Decision
    workspace: Workspace
    trail: Trail
    journal: MissionJournal
    secret: bytes  # 32 random bytes, of which the seeds of the steps are made
    earlier: tuple[Decision, ...] = ()  # what it was admitted with, where it has waited since: those limits hold too

    def target(self, step_id: str, item: int | None) -> str:
        """Return a step, or an item of it, as audit events name it."""
        return f"{self.mission_id}/{step_id}" if item is None else f"{self.mission_id}/{step_id}[{item}]"

    def step_seen(self, step: MissionStep, attempt: StepAttempt, taint: frozenset[str]) -> StepSeen:
        """Return one attempt at a step as hooks see it; `taint` are the labels of its data."""
        facts: dict[str, JsonValue] = {
            "id": step.id,
            "name": step.name,
            "step_type": step.step_type,
            "attempt": attempt.number,
            "item": attempt.item,
        }
        subject = Subject(step_types=frozenset({step.step_type}), labels=self.sanitized.plan.mission.labels)
        return StepSeen(subject=subject, facts={"step": facts, "taint": sorted(taint)})


@dataclass(frozen=True, slots=True)
class Given:
    """What an attempt has instead of a clock and of chance; it is in the log, so that it can be replayed."""

    now: str  # RFC 3339
    seed: str  # 32 hex digits, which nobody can guess before they are in the log

    @classmethod
    def of(cls, admitted: AdmittedMission, target: str, now: datetime, before: tuple[str, str] | None) -> "Given":
        """Return what an attempt that begins now is given; `before` is what an earlier one, which acted, was given.

        No system call for the seed, since there is one for each step.
        """
        if before is not None:
            return cls(*before)
        return cls(rfc3339(now), blake2b(target.encode(), key=admitted.secret, digest_size=16).hexdigest())

    def for_run(self) -> RunGiven:
        """Return the same for the calls of WASI that a module may make."""
        since = datetime.fromisoformat(self.now) - _EPOCH
        return RunGiven(since // timedelta(microseconds=1), bytes.fromhex(self.seed))


STILL: Final = Given(rfc3339(_EPOCH), "0" * 32)
"""What the modules of some kinds are given, always the same: results of theirs are used again (`gateway.reusing`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyStep:
    """A ready step, or an item of one, with its resolved, sanitized inputs: what stages 5 to 7 see of it."""

    admitted: AdmittedMission
    step: MissionStep
    hooks: HookSet  # those that were active when the attempt began
    kind: StepKind
    parameters: JsonObject
    taint: frozenset[str]
    profile: str
    attempt: StepAttempt
    given: Given
    secrets: StepSecrets = NO_STEP_SECRETS
    still: bool = False  # its module has `STILL` for clock and chance

    @property
    def module_given(self) -> Given:
        """What its module has instead of a clock and of chance; hooks and secrets have `given`."""
        return STILL if self.still else self.given

    def encoded(self, journal: Sequence[JsonObject]) -> bytes:
        """Return what its module is told, with what came of its effects so far."""
        return encode_step(
            step_id=self.step.id,
            name=self.step.name,
            step_type=self.step.step_type,
            attempt=self.attempt.number,
            parameters=self.parameters,
            journal=journal,
            now=self.module_given.now,
            seed=self.module_given.seed,
        )

    @property
    def target(self) -> str:
        """The step as audit events name it."""
        return self.admitted.target(self.step.id, self.attempt.item)

    @property
    def seen(self) -> "StepSeen":
        """The step as hooks see it."""
        return self.admitted.step_seen(self.step, self.attempt, self.taint)

    @property
    def far_end(self) -> str:
        """The host or command that the step is about to ask, as far as its parameters say so: a breaker's target."""
        argv = self.parameters.get("argv")
        if isinstance(argv, Sequence) and argv and isinstance(argv[0], str):
            return argv[0]
        url = self.parameters.get("url")
        if not isinstance(url, str):
            return ""
        try:
            return HttpTarget.parse(url).host
        except EffectError:  # it will be refused where it is asked for
            return ""

    def document(self, now: datetime) -> bytes:
        """Return the step as policy sees it that decides `now`.

        That is not `given.now`, which a module is told: an attempt that goes on after a wait, or after an earlier one
        has acted, keeps what it was given, while a decision is taken for the time at which it is taken.
        """
        admitted = self.admitted
        return document.step_document(
            admitted.caller,
            admitted.mission_id,
            admitted.sanitized.plan.mission,
            self.step,
            profile=self.profile,
            parameters=self.parameters,
            taint=self.taint,
            security_level=admitted.sanitized.level.name,
            now=now,
            attempt=self.attempt.number,
            item=self.attempt.item,
            secrets=sorted(self.secrets.by_name),
        )

    def effect_document(
        self, call: EffectAsked, index: int, *, now: datetime | None, attempt: int | None = None
    ) -> bytes:
        """Return an effect of the step as policy sees it that decides `now`; `index` counts over all of the step."""
        admitted = self.admitted
        return document.effect_document(
            admitted.caller,
            admitted.mission_id,
            admitted.sanitized.plan.mission,
            self.step,
            profile=self.profile,
            parameters=self.parameters,
            taint=self.taint,
            security_level=admitted.sanitized.level.name,
            op=call.op,
            index=index,
            args=described(call.op, call.args),
            now=now,
            attempt=self.attempt.number if attempt is None else attempt,
            item=self.attempt.item,
            secrets=sorted(self.secrets.by_name),
            used=self.secrets.used(call.op, call.args, field="args"),
        )

    def effect_key(self, call: EffectAsked, index: int) -> str:
        """Return what makes the effect the same act in every attempt.

        Of an approval that is more than its arguments: a yes to one thing is never told again about another.
        """
        bound = self._bound_to(call, index)
        return effect_key(
            self.admitted.trail.commitments,
            mission_id=self.admitted.mission_id,
            step_id=self.step.id,
            effect_index=index,
            op=call.op,
            args={**call.args, "digest": bound} if bound else call.args,
            foreach_index=self.attempt.item,
        )

    def _bound_to(self, call: EffectAsked, index: int) -> str:
        """Return the digest of what an approval is about; "" for any other effect.

        It is that of the first attempt, and of no time: asked again, it is about the same.
        """
        return digest(self.effect_document(call, index, now=None, attempt=1)) if call.op == "approval.request" else ""

    def effect_scope(self, call: EffectAsked, index: int, bundle: str) -> EffectScope:
        """Return on whose behalf the effect is performed."""
        return EffectScope(
            workspace=self.admitted.workspace,
            mission_id=self.admitted.mission_id,
            step_id=self.step.id,
            item=self.attempt.item,
            caller=self.admitted.caller,
            bundle=bundle,
            taint=self.admitted.sanitized.brought_to(self.step.id) if call.op == "mission.run" else frozenset(),
            digest=self._bound_to(call, index),
            waiting=self.attempt.waiting,
            secrets=self.secrets.of_effect(call.op, call.args),
        )


@dataclass(frozen=True, slots=True)
class Granted:
    """What an attempt may: less after each wait, never more."""

    constraints: ExecutionConstraints
    redaction: Redaction = NO_REDACTION  # of its output
    profile: str = ""  # of which the constraints are; for who watches

    def also_redacting(self, answers: Sequence[Decision]) -> "Granted":
        """Return the same with as much more of the output masked as these answers of policy want."""
        pointers = [pointer for each in answers for pointer in each.redact]
        return replace(self, redaction=Redaction.of((*self.redaction.pointers, *pointers))) if pointers else self


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedEffect:
    """An effect that is declared, sanitized and decided, and on whose behalf it is performed."""

    request: EffectRequest
    scope: EffectScope
    redaction: Redaction = NO_REDACTION  # of its outcome
    waited: bool = False  # a person was waited for


def secret_claim(
    admitted: AdmittedMission, index: int, attempt: StepAttempt, given: Given
) -> tuple[Attempt, str, tuple[str, ...]] | None:
    """Return for whom handles are made as an attempt begins: the attempt, its kind, the names that it declares.

    None where it declares none, as nearly all do.
    """
    plan = admitted.sanitized.plan
    if not (names := declared_secrets(plan, index)):
        return None
    step = plan.mission.steps[index]
    claimant = Attempt(
        tenant=admitted.caller.tenant,
        mission_id=admitted.mission_id,
        step_id=step.id,
        item=attempt.item,
        seed=given.seed,
    )
    return claimant, step.step_type, names


def without_missing(decision: Decision, missing: Sequence[str]) -> Decision:
    """Return a decision about a plan as it was, or a no where a secret that policy opens has never been set."""
    if decision.allow is not True or not missing:
        return decision
    reasons = tuple(
        Reason("secret.unknown", f"no secret {name} has been set for this tenant", HOST_RULE) for name in missing
    )
    return replace(decision, allow=False, reasons=reasons)
