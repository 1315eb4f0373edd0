"""What the stages of the pipeline hand on: a value of one of these types proves that its stage was passed.

`gateway.pipeline` is their only maker, except for `StepKind`, which assembly prepares.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b

from engine.attempt import StepAttempt
from engine.clock import rfc3339
from engine.constraints import ExecutionConstraints
from engine.mission import MissionStep
from engine.plan import Plan
from engine.values import JsonObject
from gateway.effects.described import described
from gateway.effects.keys import effect_key
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.target import HttpTarget
from gateway.effects.workspace import Workspace
from gateway.errors import EffectError
from gateway.events import Trail, digest
from gateway.identity import Principal
from gateway.journal import MissionJournal
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.sandbox.abi import EffectAsked
from gateway.sandbox.hooks import Hook
from gateway.sanitizer.schema import ParameterSchema
from gateway.taint import brought_to


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKind:
    """A step kind, prepared: its hook, the compiled schema of its parameters, and what a run of it gets at most."""

    hook: Hook
    schema: ParameterSchema
    constraints: ExecutionConstraints


@dataclass(frozen=True, slots=True, kw_only=True)
class SanitizedMission:
    """A mission that has passed stage 1, and what the host found out about it."""

    plan: Plan
    digest: str
    taint: tuple[frozenset[str], ...]  # labels by step index
    inherited: frozenset[str] = frozenset()  # of those, what every step has because the mission is a part of another

    def inheriting(self, labels: frozenset[str]) -> "SanitizedMission":
        """Return the mission as a part of another, whose step has filled it with data of these labels: anywhere."""
        taint = tuple(own | labels for own in self.taint)
        return replace(self, taint=taint, inherited=self.inherited | labels) if labels else self

    def brought_to(self, step_id: str) -> frozenset[str]:
        """Return the labels of what a step is given, and may give on to a mission that it runs."""
        return brought_to(self.plan, self.taint, self.plan.graph.index[step_id]) | self.inherited


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

    def target(self, step_id: str, item: int | None) -> str:
        """Return a step, or an item of it, as audit events name it."""
        return f"{self.mission_id}/{step_id}" if item is None else f"{self.mission_id}/{step_id}[{item}]"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyStep:
    """A ready step, or an item of one, with its resolved, sanitized inputs: what stages 5 to 7 see of it."""

    admitted: AdmittedMission
    step: MissionStep
    kind: StepKind
    parameters: JsonObject
    taint: frozenset[str]
    profile: str
    attempt: StepAttempt
    given: Given

    @property
    def target(self) -> str:
        """The step as audit events name it."""
        return self.admitted.target(self.step.id, self.attempt.item)

    @property
    def far_end(self) -> str:
        """The host that the step is about to ask for something, as far as its parameters say so: a breaker's target."""
        url = self.parameters.get("url")
        if not isinstance(url, str):
            return ""
        try:
            return HttpTarget.parse(url).host
        except EffectError:  # it will be refused where it is asked for
            return ""

    def document(self) -> bytes:
        """Return the step as policy sees it."""
        admitted = self.admitted
        return document.step_document(
            admitted.caller,
            admitted.mission_id,
            admitted.sanitized.plan.mission,
            self.step,
            profile=self.profile,
            parameters=self.parameters,
            taint=self.taint,
            attempt=self.attempt.number,
            item=self.attempt.item,
        )

    def effect_document(self, call: EffectAsked, index: int, *, attempt: int | None = None) -> bytes:
        """Return an effect of the step as policy sees it; `index` counts over all effects of the step."""
        admitted = self.admitted
        return document.effect_document(
            admitted.caller,
            admitted.mission_id,
            admitted.sanitized.plan.mission,
            self.step,
            profile=self.profile,
            parameters=self.parameters,
            taint=self.taint,
            op=call.op,
            index=index,
            args=described(call.op, call.args),
            attempt=self.attempt.number if attempt is None else attempt,
            item=self.attempt.item,
        )

    def effect_key(self, call: EffectAsked, index: int) -> str:
        """Return what makes the effect the same act in every attempt.

        Of an approval that is more than its arguments: a yes to one thing is never told again about another.
        """
        bound = self._bound_to(call, index)
        return effect_key(
            mission_id=self.admitted.mission_id,
            step_id=self.step.id,
            effect_index=index,
            op=call.op,
            args={**call.args, "digest": bound} if bound else call.args,
            foreach_index=self.attempt.item,
        )

    def _bound_to(self, call: EffectAsked, index: int) -> str:
        """Return the digest of what an approval is about; "" for any other effect.

        It is that of the first attempt: asked again, it is about the same.
        """
        return digest(self.effect_document(call, index, attempt=1)) if call.op == "approval.request" else ""

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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedEffect:
    """An effect that is declared, sanitized and decided, and on whose behalf it is performed."""

    request: EffectRequest
    scope: EffectScope
