"""The way of a step: every check between a client's bytes and an effect, in order, in one place.

The numbers are those of docs/architecture.md. Whatever a stage raises ends the way: nothing here catches in order
to go on, so a bug, a timeout and a malformed answer are all a no. A verdict is in the log before it has a consequence
(`gateway.events` has the laws).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Final

from engine.attempt import StepAttempt
from engine.breaker import Breakers
from engine.clock import Clock
from engine.constraints import ExecutionConstraints
from engine.document import document_of, parse_document
from engine.errors import EngineError, RefusalError, StepError, Violation
from engine.escaping import escaped_scope
from engine.loader import load_mission_value
from engine.mission import Mission, MissionLimits
from engine.reference import has_reference, resolve
from engine.values import JsonObject, JsonValue
from gateway.constrained.runs import ConstrainedRuns
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.effects.performer import EffectRequest
from gateway.errors import PolicyDeniedError, Reason, SandboxError, SanitizationError, is_violation
from gateway.events import Audit, EventType, Verdict, digest, reasons_document
from gateway.identity import Principal
from gateway.journal import StepJournal
from gateway.performing import Performing
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.policy.engine import PolicyEngine
from gateway.sandbox.abi import EffectAsked, StepEffects, StepFault, StepOutput, decode_step_output, encode_step
from gateway.sandbox.port import Sandbox
from gateway.sanitizer.names import check_names
from gateway.sanitizer.positions import with_positions
from gateway.sanitizer.schema import ParameterSchema
from gateway.stages import AdmittedMission, AllowedEffect, Given, ReadyStep, SanitizedMission, StepKind
from gateway.taint import taint_of

EFFECTS_MAX: Final = 64  # of one step
VIOLATIONS_MAX: Final = 64  # of one mission
UNSIGNED_EVENTS_MAX: Final = 16_384  # a step waits while the log has more to sign; a quarter of the log's own queue

# What waits, for a person, for another mission, for a time: policy is asked again after it.
_WAITS: Final = frozenset({"approval.request", "mission.run", "timer.sleep"})
_FAULT_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
# What only the host may say of a step. `effect` is not among them: a module passes on what the journal told it.
_HOST_CODES: Final = frozenset(
    {"approval", "audit", "breaker", "condition", "constraint", "context", "foreach", "hook", "internal", "interrupted",
     "mission", "policy", "quota", "reference", "sandbox", "sanitize", "schema", "step", "store", "worker"}
)  # fmt: skip
# A resource of this gateway is used up: the breaker of such steps opens at once.
_EXHAUSTION_CODES: Final = frozenset(
    {"effect.disk_full", "effect.overloaded", "effect.workspace_full", "sandbox.overloaded", "worker.overloaded"}
)


class Admission:
    """Stages 1 to 3: from a client's bytes to a mission that may start."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, StepKind],
        policy: PolicyEngine,
        limits: MissionLimits,
        sanitizer: ConstrainedSanitizer,
    ) -> None:
        self._kinds = kinds
        self._effects = {name: kind.hook.effects for name, kind in kinds.items()}
        self._policy = policy
        self._limits = limits
        self._sanitizer = sanitizer

    def sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        """Stage 1: parse within bounds, check every rule of a mission, and every name and parameter against its type.

        Raises:
            MissionInvalidError: not a mission, or one over a limit.
            SanitizationError: a name or a parameter breaks the rule of its type; at most `VIOLATIONS_MAX` are told.
            ConstraintViolationError: it took more CPU than a mission may.
        """
        return self._sanitizer.mission(self._sanitize, form)

    def _sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        parsed = parse_document(form, self._limits) if isinstance(form, bytes) else document_of(form, self._limits)
        plan = load_mission_value(parsed, limits=self._limits, step_types=self._kinds)  # (1) shape, size, graph
        if violations := list(islice(self._violations(plan.mission), VIOLATIONS_MAX)):
            raise SanitizationError(with_positions(violations, parsed))
        return SanitizedMission(plan=plan, digest=plan.mission.digest(), taint=taint_of(plan, self._effects))

    def _violations(self, mission: Mission) -> Iterator[Violation]:
        yield from check_names(mission)
        for i, step in enumerate(mission.steps):
            schema = self._kinds[step.step_type].schema
            yield from schema.check(step.parameters, field=f"steps[{i}].parameters", pending=has_reference)

    async def ask(self, sanitized: SanitizedMission, caller: Principal) -> Decision:
        """Stages 2 and 3: ask Rego about the whole mission, and return the answer whatever it is; see `require`."""
        asked = document.mission_document(caller, sanitized.plan, sanitized.digest, sanitized.taint)
        return await self._policy.decide("mission", asked)  # (2) the whole plan; (3) screens come here


class StepPipeline:
    """Stages 4 to 7: from a ready step to its output. One instance serves all missions."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, StepKind],
        profiles: Mapping[str, ExecutionConstraints],
        policy: PolicyEngine,
        sandbox: Sandbox,
        sanitizer: ConstrainedSanitizer,
        runs: ConstrainedRuns,
        performing: Performing,
        effect_schemas: Mapping[str, ParameterSchema],
        breakers: Breakers,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._kinds = kinds
        self._waiting = frozenset(name for name, kind in kinds.items() if not _WAITS.isdisjoint(kind.hook.effects))
        self._only_waiting = frozenset(name for name in self._waiting if _WAITS.issuperset(kinds[name].hook.effects))
        self._profiles = profiles
        self._policy = policy
        self._sandbox = sandbox
        self._sanitizer = sanitizer
        self._runs = runs
        self._performing = performing
        self._effect_schemas = effect_schemas
        self._breakers = breakers
        self._audit = audit
        self._clock = clock

    async def run_step(self, admitted: AdmittedMission, index: int, attempt: StepAttempt) -> JsonValue:
        """Take one ready step, or one item of it, all the way and return its output.

        Raises:
            StepError: a stage said no, could not answer, or the module failed. A refusal halts the mission.
        """
        try:
            ready, constraints, journal = await self._decided(admitted, index, attempt)  # (4), (5)
            with self._breaker(ready):
                return await self._run(ready, constraints, journal)  # (6) sandbox, (7) effects
        except StepError:
            raise
        except EngineError as error:
            raise _step_error(error) from error

    def _breaker(self, ready: ReadyStep) -> AbstractContextManager[None]:
        """Return the breaker of the step, for the time of its run.

        A step that only waits has none: nothing there could be down, whatever people and other missions do. Where one
        waits among other things, a deadline says nothing of the others.
        """
        if (kind := ready.step.step_type) in self._only_waiting:
            return nullcontext()
        breaker = self._breakers.of(ready.admitted.caller.tenant, kind, ready.far_end)
        return breaker.call(limit_seconds=None if kind in self._waiting else ready.step.timeout_seconds)

    async def _decided(
        self, admitted: AdmittedMission, index: int, attempt: StepAttempt
    ) -> tuple[ReadyStep, ExecutionConstraints, StepJournal]:
        """Stages 4 and 5, under one verdict: it is in the log before the module runs.

        Its checkpoint is not waited for, since a module alone changes nothing.
        """
        step = admitted.sanitized.plan.mission.steps[index]
        target = admitted.target(step.id, attempt.item)
        evidence: dict[str, JsonValue] = {"kind": step.step_type}
        if attempt.number > 1:
            evidence["attempt"] = attempt.number
        with Verdict(
            admitted.trail, target, evidence, allowed=EventType.STEP_ALLOWED, refused=EventType.STEP_REFUSED
        ) as verdict:
            journal = admitted.journal.empty(step.id, attempt.item) or await admitted.journal.of(step.id, attempt.item)
            given = Given.of(admitted, target, self._clock.now(), journal.given)
            evidence |= {"now": given.now, "seed": given.seed}
            ready = self._sanitizer.step(admitted.trail, target, self._resolve, admitted, index, attempt, given)  # (4)
            constraints = await self._authorize(ready, ready.kind.constraints, evidence)  # (5) Rego: step
            self._runs.require(admitted.caller, ready.kind.hook)  # quota left, hook enabled
        await self._keep_pace(verdict.seq)
        return ready, constraints, journal

    async def _keep_pace(self, seq: int) -> None:
        """Wait while the log has much to sign: steps that outran the disk would fill its queue, and then fail."""
        if seq - self._audit.size > UNSIGNED_EVENTS_MAX:
            await self._audit.durable(seq - UNSIGNED_EVENTS_MAX)

    def _resolve(self, admitted: AdmittedMission, index: int, attempt: StepAttempt, given: Given) -> ReadyStep:
        """Stage 4: put values for references, and check the result as if a stranger had sent it."""
        plan = admitted.sanitized.plan
        step, template = plan.mission.steps[index], plan.templates[index]
        kind = self._kinds[step.step_type]
        scope = attempt.scope
        if "mission.run" in kind.hook.effects:
            scope = escaped_scope(scope)  # what is resolved will be parsed again, as a mission
        parameters = step.parameters if template is None else resolve(template, scope)
        field = f"steps[{index}].parameters"
        if not isinstance(parameters, Mapping):
            raise SanitizationError([Violation(code="schema.type", message="must be an object", field=field)])
        violations = kind.schema.check(parameters, field=field, pending=None)
        if violations:
            raise SanitizationError(violations)
        return ReadyStep(
            admitted=admitted,
            step=step,
            kind=kind,
            parameters=parameters,
            taint=admitted.sanitized.taint[index],
            profile=step.profile or kind.hook.profile,
            attempt=attempt,
            given=given,
        )

    async def _authorize(
        self, ready: ReadyStep, constraints: ExecutionConstraints, evidence: dict[str, JsonValue]
    ) -> ExecutionConstraints:
        """Stage 5: ask Rego about the step with its inputs; return what a run of it gets, never more than it had."""
        asked = ready.document()
        evidence["module"] = ready.kind.hook.sha256
        evidence["document"] = digest(asked)
        decision = await self._policy.decide("step", asked)
        note(decision, evidence)
        require(decision)
        granted = decision.profile or ready.profile
        evidence["profile"] = granted
        constraints = constraints.narrow(self._profile(granted))
        of_mission = ready.admitted.decision
        if of_mission.profile is not None:
            constraints = constraints.narrow(self._profile(of_mission.profile))
        for limits in (of_mission.constraints, decision.constraints):
            if limits:
                constraints = constraints.narrow_by(limits)
        evidence["fuel_max"] = constraints.fuel_max
        evidence["memory_bytes_max"] = constraints.memory_bytes_max
        return constraints

    def _profile(self, name: str) -> ExecutionConstraints:
        if (profile := self._profiles.get(name)) is None:
            raise PolicyDeniedError([Reason("policy.unknown_profile", f"there is no profile {name!r}")])
        return profile

    async def _run(self, ready: ReadyStep, constraints: ExecutionConstraints, journal: StepJournal) -> JsonValue:
        """Stages 6 and 7: run the module, perform what it asks for, run it again with the longer journal, until done.

        What is given is the same in every round, and fuel is counted over all of them, so that the rounds together are
        one deterministic function of what the log records and the journal. Each round asks for an effect, so there are
        at most `EFFECTS_MAX` and one.
        """
        while True:
            encoded = encode_step(
                step_id=ready.step.id,
                name=ready.step.name,
                step_type=ready.step.step_type,
                attempt=ready.attempt.number,
                parameters=ready.parameters,
                journal=journal.entries,
                now=ready.given.now,
                seed=ready.given.seed,
            )
            report = await self._runs.run_step(self._sandbox, ready, encoded, constraints)  # (6) the module, alone
            answer = decode_step_output(report.output)
            if isinstance(answer, StepOutput):
                return answer.output
            if isinstance(answer, StepFault):
                raise _own_fault(answer)
            constraints = self._runs.spend(ready, constraints, report.fuel_used)
            # (7) checked, decided, intended, performed, journalled
            constraints = await self._act(ready, constraints, answer, journal)

    async def _act(
        self, ready: ReadyStep, constraints: ExecutionConstraints, asked: StepEffects, journal: StepJournal
    ) -> ExecutionConstraints:
        """Stage 7: a batch is checked as a whole, then performed, up to the first error.

        After a wait, of which nobody knows how long it takes, the step and what is left of the batch are decided again.
        """
        left = asked.effects
        if len(journal.entries) + len(left) > EFFECTS_MAX:
            raise SandboxError(f"a step may ask for {EFFECTS_MAX} effects", code="sandbox.too_many_effects")
        allowed = await self._allow_effects(ready, left, len(journal.entries))
        while left:
            count = next((at for at, call in enumerate(left, start=1) if call.op in _WAITS), len(left))
            waited, left = left[count - 1].op in _WAITS, left[count:]
            await self._performing.act(ready, allowed[:count], journal)
            if waited:
                constraints = await self._decided_again(ready, constraints)  # (5)
            if "error" in journal.entries[-1]:
                break
            allowed = await self._allow_effects(ready, left, len(journal.entries), again=True)
        return constraints

    async def _decided_again(self, ready: ReadyStep, constraints: ExecutionConstraints) -> ExecutionConstraints:
        """Stage 5 after a wait: under the policy that is then active; nothing is widened."""
        evidence: dict[str, JsonValue] = {"kind": ready.step.step_type, "again": True}
        with Verdict(
            ready.admitted.trail,
            ready.target,
            evidence,
            allowed=EventType.STEP_ALLOWED,
            refused=EventType.STEP_REFUSED,
        ):
            return await self._authorize(ready, constraints, evidence)

    async def _allow_effects(
        self, ready: ReadyStep, asked: Sequence[EffectAsked], first_index: int, *, again: bool = False
    ) -> Sequence[AllowedEffect]:
        """Stage 7, the checks: each effect is declared, sanitized and decided before one is performed."""
        return [await self._allow_effect(ready, call, index, again) for index, call in enumerate(asked, first_index)]

    async def _allow_effect(self, ready: ReadyStep, call: EffectAsked, index: int, again: bool) -> AllowedEffect:
        evidence: dict[str, JsonValue] = {"op": call.op, "index": index}
        if again:
            evidence["again"] = True
        with Verdict(
            ready.admitted.trail,
            ready.target,
            evidence,
            allowed=EventType.EFFECT_ALLOWED,
            refused=EventType.EFFECT_REFUSED,
        ):
            self._check_effect(ready, call, index)
            asked = ready.effect_document(call, index)
            evidence["document"] = digest(asked)
            decision = await self._policy.decide("effect", asked)
            note(decision, evidence)
            require(decision)
        request = EffectRequest(
            op=call.op,
            args=call.args,
            key=ready.effect_key(call, index),
            timeout_seconds=self._performing.seconds_max(call.op),
        )
        return AllowedEffect(request=request, scope=ready.effect_scope(call, index, decision.bundle))

    def _check_effect(self, ready: ReadyStep, call: EffectAsked, index: int) -> None:
        """Refuse an effect that the manifest does not declare, or whose arguments are not of their types."""
        if call.op not in ready.kind.hook.effects:
            message = f"{call.op!r} is not among the effects that the hook {ready.kind.hook.name!r} declares"
            raise PolicyDeniedError([Reason("effect.undeclared", message)])
        schema = self._effect_schemas.get(call.op)
        if schema is None:
            raise PolicyDeniedError([Reason("effect.unknown_op", f"{call.op!r} is no effect of this gateway")])
        violations = schema.check(call.args, field=f"effects[{index}].args", pending=None)
        if violations:
            raise SanitizationError(violations)


def _step_error(error: EngineError) -> StepError:
    """Return what a step fails with where a stage said no, or could not answer."""
    return StepError(
        error.message,
        code=error.code,
        halts_mission=is_violation(error),
        retryable=not isinstance(error, RefusalError),
        exhausted=error.code in _EXHAUSTION_CODES,
    )


def _own_fault(answer: StepFault) -> StepError:
    """Return the failure that a module reports; one that speaks with the host's voice is no answer at all."""
    if not _FAULT_CODE.fullmatch(answer.code) or answer.code.partition(".")[0] in _HOST_CODES:
        raise SandboxError(f"a module cannot fail with the code {answer.code!r}", code="sandbox.output_invalid")
    return StepError(
        answer.message, code=answer.code, retryable=answer.retryable, exhausted=answer.code in _EXHAUSTION_CODES
    )


def note(decision: Decision, evidence: dict[str, JsonValue]) -> None:
    """Add to an event's evidence what policy answered, and which policy it was."""
    evidence["bundle"] = decision.bundle
    if decision.reasons:
        evidence["reasons"] = reasons_document(decision.reasons)


def require(decision: Decision) -> None:
    """Return if a decision is a plain yes.

    Raises:
        PolicyDeniedError: it is a no, or a yes that waits for an approval, which nobody can give yet.
    """
    if decision.allow is not True:
        raise PolicyDeniedError(decision.reasons)
    if decision.require_approval:
        raise PolicyDeniedError([Reason("approval.unavailable", "policy asks for an approval, which is not available")])


def actor(caller: Principal) -> str:
    """Return a principal as audit events name it: no two principals have one name (`%` is in none)."""
    if caller.anonymous:
        return "anonymous"
    return f"{caller.tenant.replace('/', '%2F')}/{caller.subject}"
