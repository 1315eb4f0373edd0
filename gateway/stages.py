"""What the stages of the pipeline hand on: a value of one of these types proves that its stage was passed.

`gateway.pipeline` is their only maker, except for `StepKind`, which assembly prepares.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from engine.clock import rfc3339
from engine.mission import MissionStep
from engine.plan import Plan
from engine.values import JsonObject
from gateway.effects.described import described
from gateway.effects.workspace import Workspace
from gateway.events import Trail
from gateway.identity import Principal
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.sandbox.abi import EffectAsked
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.hooks import Hook
from gateway.sanitizer.schema import ParameterSchema


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedMission:
    """A mission that has passed stages 1 to 3: the only thing of which a step may run."""

    mission_id: str
    sanitized: SanitizedMission
    caller: Principal
    decision: Decision
    workspace: Workspace
    trail: Trail
    secret: bytes  # 32 random bytes, of which the seeds of the steps are made


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyStep:
    """A ready step with its resolved, sanitized inputs: what stages 5 to 7 see of it."""

    admitted: AdmittedMission
    step: MissionStep
    kind: StepKind
    parameters: JsonObject
    taint: frozenset[str]
    profile: str
    target: str  # the step as audit events name it

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
        )

    def effect_document(self, call: EffectAsked, index: int) -> bytes:
        """Return an effect of the step as policy sees it; `index` counts over all effects of the attempt."""
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
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt has instead of a clock and of chance; it is in the log, so that it can be replayed."""

    now: str  # RFC 3339
    seed: str  # 32 hex digits, which nobody can guess before they are in the log

    @classmethod
    def of(cls, admitted: AdmittedMission, target: str, now: datetime) -> "Attempt":
        """Return the attempt that begins now; no system call for its seed, since there is one for each step."""
        return cls(rfc3339(now), blake2b(target.encode(), key=admitted.secret, digest_size=16).hexdigest())
