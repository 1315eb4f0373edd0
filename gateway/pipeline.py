"""The way of a step: every check between a client's bytes and an effect, in order, in one place.

The numbers are those of docs/architecture.md. Whatever a stage raises ends the way: nothing here catches in order
to go on, so a bug, a timeout and a malformed answer are all a no.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from engine.audit.log import AuditLog
from engine.clock import Clock, rfc3339
from engine.context import ExecutionContext
from engine.document import Document, parse_document
from engine.errors import EngineError, RefusalError, StepError, Violation
from engine.loader import load_mission_value
from engine.mission import MissionLimits, MissionStep
from engine.plan import Plan
from engine.reference import has_reference, resolve
from engine.values import JsonObject, JsonValue
from gateway.effects.described import described
from gateway.effects.keys import effect_key
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.workspace import Workspace
from gateway.errors import EffectError, PolicyDeniedError, Reason, SandboxError, SanitizationError
from gateway.events import EventType, digest, reasons_document
from gateway.identity import Principal
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.policy.engine import PolicyEngine
from gateway.sandbox.abi import EffectAsked, StepEffects, StepFault, StepOutput, decode_step_output, encode_step
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import Sandbox
from gateway.sandbox.profile import Profile
from gateway.sanitizer.positions import with_positions
from gateway.sanitizer.schema import ParameterSchema
from gateway.taint import taint_of

EFFECTS_MAX = 64  # of one step
JOURNAL_BYTES_MAX = 256 * 1024  # of one step
EFFECT_SECONDS_MAX = 60.0  # of one effect; the step's own timeout may end it sooner


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


class Admission:
    """Stages 1 to 3: from a client's bytes to a mission that may start."""

    def __init__(self, *, kinds: Mapping[str, StepKind], policy: PolicyEngine, limits: MissionLimits) -> None:
        self._kinds = kinds
        self._policy = policy
        self._limits = limits

    def sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        """Stage 1: parse within bounds, check every rule of a mission, and every parameter against its type.

        Raises:
            MissionInvalidError: not a mission, or one over a limit.
            SanitizationError: a parameter breaks the rule of its type.
        """
        parsed = parse_document(form, self._limits) if isinstance(form, bytes) else Document(form)
        plan = load_mission_value(parsed, limits=self._limits, step_types=self._kinds)  # (1) shape, size, graph
        violations: list[Violation] = []
        for i, step in enumerate(plan.mission.steps):
            field = f"steps[{i}].parameters"
            violations += self._kinds[step.step_type].schema.check(step.parameters, field=field, pending=has_reference)
        if violations:
            raise SanitizationError(with_positions(violations, parsed))
        return SanitizedMission(plan=plan, digest=plan.mission.digest(), taint=taint_of(plan))

    async def ask(self, sanitized: SanitizedMission, caller: Principal) -> Decision:
        """Stages 2 and 3: ask Rego about the whole mission, and return the answer whatever it is."""
        asked = document.mission_document(caller, sanitized.plan, sanitized.digest, sanitized.taint)
        return await self._policy.decide("mission", asked)  # (2) the whole plan; (3) screens come here

    async def decide(self, sanitized: SanitizedMission, caller: Principal) -> Decision:
        """Stages 2 and 3, as a gate.

        Raises:
            PolicyDeniedError: the answer is no, or none could be had.
        """
        decision = await self.ask(sanitized, caller)
        require(decision)
        return decision


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStep:
    """A ready step with its resolved, sanitized inputs: what stages 5 to 7 see of it."""

    admitted: AdmittedMission
    step: MissionStep
    kind: StepKind
    parameters: JsonObject
    taint: frozenset[str]
    profile: str

    @property
    def target(self) -> str:
        """The step as audit events name it."""
        return f"{self.admitted.mission_id}/{self.step.id}"


class StepPipeline:
    """Stages 4 to 7: from a ready step to its output. One instance serves all missions."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, StepKind],
        profiles: Mapping[str, Profile],
        policy: PolicyEngine,
        sandbox: Sandbox,
        effects: Effects,
        effect_schemas: Mapping[str, ParameterSchema],
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._kinds = kinds
        self._profiles = profiles
        self._policy = policy
        self._sandbox = sandbox
        self._effects = effects
        self._effect_schemas = effect_schemas
        self._audit = audit
        self._clock = clock

    async def run_step(self, admitted: AdmittedMission, index: int, context: ExecutionContext) -> JsonValue:
        """Take one ready step all the way and return its output.

        Raises:
            StepError: a stage said no, could not answer, or the module failed. A refusal halts the mission.
        """
        try:
            ready = self._resolve(admitted, index, context)  # (4) inputs, sanitized again
            constraints = await self._authorize(ready)  # (5) Rego: step
            return await self._run(ready, constraints)  # (6) sandbox, (7) effects
        except StepError:
            raise
        except EngineError as error:
            halts = isinstance(error, RefusalError)
            raise StepError(error.message, code=error.code, halts_mission=halts) from error

    def _resolve(self, admitted: AdmittedMission, index: int, context: ExecutionContext) -> ResolvedStep:
        """Stage 4: put values for references, and check the result as if a stranger had sent it."""
        plan = admitted.sanitized.plan
        step, template = plan.mission.steps[index], plan.templates[index]
        kind = self._kinds[step.step_type]
        parameters = step.parameters if template is None else resolve(template, context)
        if not isinstance(parameters, Mapping):
            raise SanitizationError(
                [Violation(code="schema.type", message="must be an object", field=f"steps[{index}]")]
            )
        violations = kind.schema.check(parameters, field=f"steps[{index}].parameters", pending=None)
        if violations:
            raise SanitizationError(violations)
        return ResolvedStep(
            admitted=admitted,
            step=step,
            kind=kind,
            parameters=parameters,
            taint=admitted.sanitized.taint[index],
            profile=step.profile or kind.hook.profile,
        )

    async def _authorize(self, ready: ResolvedStep) -> ExecutionConstraints:
        """Stage 5: ask Rego about the step with its inputs; return what a run of it gets, never more than its kind's.

        The verdict is in the log before the module runs; it is not waited for, since a module alone changes nothing.
        """
        asked = document.step_document(
            ready.admitted.caller,
            ready.admitted.mission_id,
            ready.admitted.sanitized.plan.mission,
            ready.step,
            profile=ready.profile,
            parameters=ready.parameters,
            taint=ready.taint,
        )
        decision = await self._policy.decide("step", asked)
        profile = decision.profile or ready.profile
        self._record(
            EventType.STEP_ALLOWED if is_plain_yes(decision) else EventType.STEP_REFUSED,
            ready,
            {
                "kind": ready.kind.hook.name,
                "module": ready.kind.hook.sha256,
                "profile": profile,
                "document": digest(asked),
                "bundle": decision.bundle,
                "reasons": reasons_document(decision.reasons),
            },
        )
        require(decision)
        if profile not in self._profiles:
            raise PolicyDeniedError([Reason("policy.unknown_profile", f"there is no profile {profile!r}")])
        return (
            ready.kind.constraints.narrow(self._profiles[profile].constraints)
            .narrow_by(ready.admitted.decision.constraints)
            .narrow_by(decision.constraints)
        )

    async def _run(self, ready: ResolvedStep, constraints: ExecutionConstraints) -> JsonValue:
        """Stages 6 and 7: run the module, perform what it asks for, run it again with the longer journal, until done.

        `now` and `seed` are fixed for the attempt, and fuel is counted over all rounds, so that the rounds together
        are one deterministic function of what the log records.
        """
        journal: list[JsonObject] = []
        now, seed = rfc3339(self._clock.now()), secrets.token_hex(16)
        fuel_left = constraints.fuel_max
        while True:
            if fuel_left < 1:
                raise SandboxError("the step used up its CPU allocation", code="constraint.cpu_exceeded")
            encoded = encode_step(
                step_id=ready.step.id,
                name=ready.step.name,
                step_type=ready.step.step_type,
                attempt=1,
                parameters=ready.parameters,
                journal=journal,
                now=now,
                seed=seed,
            )
            report = await self._sandbox.run(  # (6) the module, alone
                ready.kind.hook.name, encoded, replace(constraints, fuel_max=fuel_left)
            )
            fuel_left -= report.fuel_used
            answer = decode_step_output(report.output)
            if isinstance(answer, StepOutput):
                return answer.output
            if isinstance(answer, StepFault):
                raise StepError(answer.message, code=answer.code)
            requests = await self._allow_effects(ready, answer, len(journal))  # (7) checked, decided, recorded
            await self._perform(ready, requests, journal)  # (7) performed, journalled

    async def _allow_effects(
        self, ready: ResolvedStep, asked: StepEffects, first_index: int
    ) -> Sequence[EffectRequest]:
        """Stage 7, before the act: every effect of a batch is declared, sanitized, decided, and its intent durable."""
        if first_index + len(asked.effects) > EFFECTS_MAX:
            raise SandboxError(f"a step may ask for {EFFECTS_MAX} effects", code="sandbox.too_many_effects")
        requests = [await self._allow_effect(ready, call, first_index + i) for i, call in enumerate(asked.effects)]
        seq = -1
        for request in requests:
            details = {"op": request.op, "key": request.key, "args": digest(request.args)}
            seq = self._record(EventType.EFFECT_INTENDED, ready, details)
        if requests:
            await self._audit.durable(seq)
        return requests

    async def _allow_effect(self, ready: ResolvedStep, call: EffectAsked, index: int) -> EffectRequest:
        if call.op not in ready.kind.hook.effects:
            message = f"{call.op!r} is not among the effects that the hook {ready.kind.hook.name!r} declares"
            raise PolicyDeniedError([Reason("effect.undeclared", message)])
        schema = self._effect_schemas.get(call.op)
        if schema is None:
            raise PolicyDeniedError([Reason("effect.unknown_op", f"{call.op!r} is no effect of this gateway")])
        violations = schema.check(call.args, field=f"effects[{index}].args", pending=None)
        if violations:
            raise SanitizationError(violations)
        asked = document.effect_document(
            ready.admitted.caller,
            ready.admitted.mission_id,
            ready.admitted.sanitized.plan.mission,
            ready.step,
            profile=ready.profile,
            parameters=ready.parameters,
            taint=ready.taint,
            op=call.op,
            index=index,
            args=described(call.op, call.args),
        )
        decision = await self._policy.decide("effect", asked)
        if not is_plain_yes(decision):
            details = {"op": call.op, "bundle": decision.bundle, "reasons": reasons_document(decision.reasons)}
            self._record(EventType.EFFECT_REFUSED, ready, {**details, "document": digest(asked)})
        require(decision)
        key = effect_key(
            mission_id=ready.admitted.mission_id,
            step_id=ready.step.id,
            effect_index=index,
            op=call.op,
            args=call.args,
        )
        return EffectRequest(op=call.op, args=call.args, key=key, timeout_seconds=EFFECT_SECONDS_MAX)

    async def _perform(self, ready: ResolvedStep, requests: Sequence[EffectRequest], journal: list[JsonObject]) -> None:
        """Stage 7, the act: in order, stopped at the first error; each outcome in the journal and in the log."""
        admitted = ready.admitted
        scope = EffectScope(workspace=admitted.workspace, mission_id=admitted.mission_id, step_id=ready.step.id)
        for request in requests:
            facts = {"op": request.op, "key": request.key}
            try:
                outcome = await self._effects.perform(request, scope)
            except EffectError as error:
                code = "effect.in_doubt" if error.in_doubt else error.code
                self._record(EventType.EFFECT_FAILED, ready, {**facts, "code": code})
                if error.in_doubt:
                    raise StepError(
                        f"it is not known whether {request.op} took place: {error.message}", code=code
                    ) from error
                journal.append({"error": {"code": error.code, "message": error.message}})
                break
            except BaseException:  # a cancelled step: the intent must not stand without an end
                self._record(EventType.EFFECT_FAILED, ready, {**facts, "code": "effect.in_doubt"})
                raise
            self._record(EventType.EFFECT_PERFORMED, ready, {**facts, "outcome": digest(outcome)})
            journal.append({"ok": outcome})
        if sum(len(orjson.dumps(entry)) for entry in journal) > JOURNAL_BYTES_MAX:
            raise SandboxError(
                f"the step's journal exceeds {JOURNAL_BYTES_MAX} bytes", code="sandbox.journal_too_large"
            )

    def _record(self, event_type: EventType, ready: ResolvedStep, details: JsonObject) -> int:
        return self._audit.append(event_type, actor=actor(ready.admitted.caller), target=ready.target, details=details)


def is_plain_yes(decision: Decision) -> bool:
    """Return whether a decision allows without conditions that this gateway cannot yet meet."""
    return decision.allow and not decision.require_approval


def require(decision: Decision) -> None:
    """Return if a decision is a plain yes.

    Raises:
        PolicyDeniedError: it is a no, or a yes that waits for an approval, which nobody can give yet.
    """
    if not decision.allow:
        raise PolicyDeniedError(decision.reasons)
    if decision.require_approval:
        raise PolicyDeniedError([Reason("approval.unavailable", "policy asks for an approval, which is not available")])


def actor(caller: Principal) -> str:
    """Return a principal as audit events name it."""
    return f"{caller.tenant}/{caller.subject}"
