"""The way of a step: every check between a ready step and an effect, in order, in one place.

The numbers are those of docs/architecture.md; (1) to (3) are in `gateway.admission`. Whatever a stage raises ends
the way: nothing here catches in order to go on, so a bug, a timeout and a malformed answer are all a no. A verdict is
in the log before it has a consequence (`gateway.events` has the laws).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from engine.attempt import StepAttempt
from engine.breaker import Breakers
from engine.clock import Clock
from engine.constraints import ExecutionConstraints
from engine.errors import EngineError, StepError, Violation
from engine.escaping import escaped_scope
from engine.reference import resolve
from engine.values import JsonValue
from gateway.commitments import Evidence, Hidden
from gateway.consent import Consent, Matter
from gateway.constrained.record import in_trail
from gateway.constrained.runs import ConstrainedRuns
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.decided import note
from gateway.effects.performer import EffectRequest
from gateway.errors import PolicyDeniedError, Reason, SandboxError, SanitizationError
from gateway.events import Audit, EventType, Verdict
from gateway.hookset import Hooks
from gateway.journal import StepJournal
from gateway.observing import Observers
from gateway.outputs import Outputs
from gateway.performing import Performing
from gateway.policy.decision import Decision
from gateway.policy.engine import PolicyEngine
from gateway.policy.redaction import NO_REDACTION, Redaction
from gateway.reusing import Reusing
from gateway.sandbox.abi import EffectAsked, StepEffects, StepFault, StepOutput
from gateway.sanitizer.schema import ParameterSchema
from gateway.screening import Behalf, Screening
from gateway.stages import AdmittedMission, AllowedEffect, Given, Granted, ReadyStep, secret_claim
from gateway.step_breakers import WAITS, breaker_of
from gateway.step_failures import own_fault, step_error
from gateway.vault.step_secrets import NO_SECRETS, NO_STEP_SECRETS, Secrets, StepSecrets
from gateway.watch import UNWATCHED, Watch

EFFECTS_MAX: Final = 64  # of one step
UNSIGNED_EVENTS_MAX: Final = 16_384  # a step waits while the log has more to sign; a quarter of the log's own queue


class StepPipeline:
    """Stages 4 to 7: from a ready step to its output. One instance serves all missions."""

    def __init__(
        self,
        *,
        hooks: Hooks,
        profiles: Callable[[str], Mapping[str, ExecutionConstraints]],
        policy: PolicyEngine,
        sanitizer: ConstrainedSanitizer,
        runs: ConstrainedRuns,
        reusing: Reusing | None = None,
        screening: Screening,
        observers: Observers,
        performing: Performing,
        consent: Consent,
        effect_schemas: Mapping[str, ParameterSchema],
        breakers: Breakers,
        audit: Audit,
        clock: Clock,
        secrets: Secrets = NO_SECRETS,
        watch: Watch = UNWATCHED,
    ) -> None:
        self._hooks = hooks
        self._profiles = profiles
        self._policy = policy
        self._sanitizer = sanitizer
        self._runs = runs
        self._reusing = reusing or Reusing(runs)
        self._screening = screening
        self._observers = observers
        self._performing = performing
        self._consent = consent
        self._outputs = Outputs(screening, observers)
        self._effect_schemas = effect_schemas
        self._breakers = breakers
        self._audit = audit
        self._clock = clock
        self._secrets = secrets
        self._watch = watch

    def adopt(self, effect_schemas: Mapping[str, ParameterSchema]) -> None:
        """From now on check the arguments of effects by these."""
        self._effect_schemas = effect_schemas

    async def run_step(self, admitted: AdmittedMission, index: int, attempt: StepAttempt) -> JsonValue:
        """Take one ready step, or one item of it, all the way and return its output.

        Raises:
            StepError: a stage said no, could not answer, or the module failed. A refusal halts the mission.
        """
        try:
            ready, granted, journal = await self._decided(admitted, index, attempt)  # (4), (5)
            output, granted = await self._run_behind_breaker(ready, granted, journal)  # (6) sandbox, (7) effects
            return await self._outputs.told(ready, output, granted.redaction)  # before that nobody hears of it
        except StepError:
            raise
        except EngineError as error:
            raise step_error(error) from error

    async def _run_behind_breaker(
        self, ready: ReadyStep, granted: Granted, journal: StepJournal
    ) -> tuple[JsonValue, Granted]:
        """Stages 6 and 7. The breaker hears of failures as the step's: only those say that a resource is used up."""
        with breaker_of(self._breakers, ready):
            try:
                return await self._run(ready, granted, journal)
            except StepError:
                raise
            except EngineError as error:
                raise step_error(error) from error

    async def _decided(
        self, admitted: AdmittedMission, index: int, attempt: StepAttempt
    ) -> tuple[ReadyStep, Granted, StepJournal]:
        """Stages 4 and 5, under one verdict: it is in the log before the module runs.

        Its checkpoint is not waited for, since a module alone changes nothing.
        """
        step = admitted.sanitized.plan.mission.steps[index]
        target = admitted.target(step.id, attempt.item)
        evidence: Evidence = {"kind": step.step_type}
        if attempt.number > 1:
            evidence["attempt"] = attempt.number
        with Verdict(
            admitted.trail, target, evidence, allowed=EventType.STEP_ALLOWED, refused=EventType.STEP_REFUSED
        ) as verdict:
            journal = admitted.journal.empty(step.id, attempt.item) or await admitted.journal.of(step.id, attempt.item)
            given = Given.of(admitted, target, self._clock.now(), journal.given)
            evidence |= {"now": given.now, "seed": given.seed}
            claim = secret_claim(admitted, index, attempt, given)
            held = await self._secrets.of_step(*claim) if claim else NO_STEP_SECRETS
            with self._watch.stage("resolve"):
                ready = await self._resolve(admitted, index, attempt, given, held, evidence)  # (4) sanitized again
            evidence["parameters"] = Hidden(ready.parameters)
            evidence |= {"still": True} if ready.still else {}
            self._runs.require(admitted.caller, ready.kind.hook)  # quota left, hook enabled
            granted = await self._authorize(ready, Granted(ready.kind.constraints), evidence)  # (5) Rego: step; screens
        if ready.hooks.at("observe", "step"):
            document = partial(ready.document, self._clock.now())
            self._observers.observe(ready.hooks, "step", ready.seen.subject, document, given, admitted.caller.tenant)
        await self._keep_pace(verdict.seq)
        return ready, granted, journal

    async def _keep_pace(self, seq: int) -> None:
        """Wait while the log has much to sign: steps that outran the disk would fill its queue, and then fail."""
        if seq - self._audit.size > UNSIGNED_EVENTS_MAX:
            await self._audit.durable(seq - UNSIGNED_EVENTS_MAX)

    async def _resolve(
        self,
        admitted: AdmittedMission,
        index: int,
        attempt: StepAttempt,
        given: Given,
        held: StepSecrets,
        evidence: Evidence,
    ) -> ReadyStep:
        """Stage 4: put values for references, let rewrites change them, and check the result as a stranger's."""
        plan = admitted.sanitized.plan
        step, template, hooks = plan.mission.steps[index], plan.templates[index], self._hooks.current
        kind = hooks.kind_of(step.step_type, admitted.sanitized.effects)
        taint = admitted.sanitized.taint[index]
        scope = attempt.scope
        if "mission.run" in kind.hook.effects:
            scope = escaped_scope(scope)  # what is resolved will be parsed again, as a mission
        parameters = step.parameters if template is None else resolve(template, scope, secret=held.stand_in)
        target = admitted.target(step.id, attempt.item)
        if hooks.at("rewrite", "parameters"):
            seen, behalf = admitted.step_seen(step, attempt, taint), _behalf(admitted, target)
            parameters = await self._screening.rewrite(hooks, "parameters", parameters, seen, given, behalf, evidence)
        field = f"steps[{index}].parameters"
        if not isinstance(parameters, Mapping):
            raise SanitizationError([Violation(code="schema.type", message="must be an object", field=field)])
        check = self._sanitizer.step
        if violations := check(admitted.trail, target, kind.schema.check, parameters, field=field, pending=None):
            raise SanitizationError(violations)
        return ReadyStep(
            admitted=admitted,
            step=step,
            hooks=hooks,
            kind=kind,
            parameters=parameters,
            taint=taint,
            profile=step.profile or kind.hook.profile,
            attempt=attempt,
            given=given,
            secrets=held,
            still=self._reusing.is_still(kind, held),
        )

    async def _authorize(self, ready: ReadyStep, granted: Granted, evidence: Evidence) -> Granted:
        """Stage 5: ask Rego about the step with its inputs, a person where Rego wants that, then the screens of steps.

        Returns what a run of it gets, never more than it had.
        """
        asked = ready.document(self._clock.now())
        evidence["module"] = ready.kind.hook.sha256
        evidence["document"] = Hidden(asked)
        with self._watch.stage("step_policy"):
            decision = await self._policy.decide("step", asked)
            note(decision, evidence)
            decision.require()
        answers: tuple[Decision, ...] = (decision,)
        if decision.require_approval is not None:
            consented = await self._consent.given(Matter.of_step(ready), decision, evidence)
            answers, asked = consented.decisions, consented.document
        profile = answers[-1].profile or ready.profile
        evidence["profile"] = profile
        _require_open(ready.admitted.sanitized.level.profile_violation(profile, "profile"))
        constraints = granted.constraints.narrow(self._profile(profile, answers[-1]))
        for each in (*ready.admitted.earlier, ready.admitted.decision, *answers):
            if each.profile is not None:
                constraints = constraints.narrow(self._profile(each.profile, each))
            if each.constraints:
                constraints = constraints.narrow_by(each.constraints)
        hooks = self._hooks.current  # after a wait as well: a screen that is new holds for what is under way
        if hooks.at("screen", "step"):
            seen, behalf = ready.seen, _behalf(ready.admitted, ready.target)
            with self._watch.stage("step_screens"):
                subject, given = seen.subject, ready.given
                screened = await self._screening.screen(hooks, "step", subject, asked, given, behalf, evidence)
            if screened.denied:
                raise PolicyDeniedError(screened.denied)
            constraints = constraints.narrow_by(screened.limits)
        evidence["fuel_max"] = constraints.fuel_max
        evidence["memory_bytes_max"] = constraints.memory_bytes_max
        evidence["output_bytes_max"] = constraints.output_bytes_max
        return replace(granted, constraints=constraints, profile=profile).also_redacting(answers)

    def _profile(self, name: str, decision: Decision) -> ExecutionConstraints:
        """Return a profile as the bundle that gave the decision has it."""
        if (profile := self._profiles(decision.bundle).get(name)) is None:
            raise PolicyDeniedError([Reason("policy.unknown_profile", f"there is no profile {name!r}")])
        return profile

    async def _run(self, ready: ReadyStep, granted: Granted, journal: StepJournal) -> tuple[JsonValue, Granted]:
        """Stages 6 and 7: run the module, perform what it asks for, run it again with the longer journal, until done.

        What is given is the same in every round, and fuel is counted over all of them, so that the rounds together are
        one deterministic function of what the log records and the journal. Each round asks for an effect, so there are
        at most `EFFECTS_MAX` and one.
        """
        while True:
            # (6) the module, alone
            with self._watch.stage("sandbox", granted.profile):
                answer, fuel_used = await self._reusing.run(ready, granted, journal.entries)
            if isinstance(answer, StepOutput):
                return answer.output, granted
            if isinstance(answer, StepFault):
                raise own_fault(answer)
            granted = replace(granted, constraints=self._runs.spend(ready, granted.constraints, fuel_used))
            # (7) checked, decided, intended, performed, journalled
            granted = await self._act(ready, granted, answer, journal)

    async def _act(self, ready: ReadyStep, granted: Granted, asked: StepEffects, journal: StepJournal) -> Granted:
        """Stage 7: a batch is checked as a whole, then performed, up to the first error.

        After a wait, of which nobody knows how long it takes, the step and what is left of the batch are decided again.
        """
        left, first = asked.effects, len(journal.entries)
        if first + len(left) > EFFECTS_MAX:
            raise SandboxError(f"a step may ask for {EFFECTS_MAX} effects", code="sandbox.too_many_effects")
        allowed = await self._allow_effects(ready, left, first)
        while any(effect.waited for effect in allowed):  # for a person, while the batch was checked
            granted = await self._decided_again(ready, granted, held=True)  # (5)
            allowed = await self._allow_effects(ready, left, first, before=allowed)
        while left:
            count = next((at for at, call in enumerate(left, start=1) if call.op in WAITS), len(left))
            waited, left = left[count - 1].op in WAITS, left[count:]
            with self._watch.stage("effects"):
                await self._performing.act(ready, allowed[:count], journal)
            if waited:
                granted = await self._decided_again(ready, granted)  # (5)
            if "error" in journal.entries[-1]:
                break
            allowed = await self._allow_effects(ready, left, len(journal.entries), before=allowed[count:])
        return granted

    async def _decided_again(self, ready: ReadyStep, granted: Granted, *, held: bool = False) -> Granted:
        """Stage 5 after a wait: under the policy that is then active; nothing is widened.

        `held` says that effects have waited for a person before one of them was performed.
        """
        evidence: Evidence = {"kind": ready.step.step_type, "again": True}
        if held:
            evidence["held"] = True
        with Verdict(
            ready.admitted.trail,
            ready.target,
            evidence,
            allowed=EventType.STEP_ALLOWED,
            refused=EventType.STEP_REFUSED,
        ):
            return await self._authorize(ready, granted, evidence)

    async def _allow_effects(
        self, ready: ReadyStep, asked: Sequence[EffectAsked], first: int, before: Sequence[AllowedEffect] = ()
    ) -> Sequence[AllowedEffect]:
        """Stage 7, the checks: each effect is declared, sanitized and decided before one is performed.

        `before` is what came of the same checks before a wait.
        """
        known: Sequence[AllowedEffect | None] = before or [None] * len(asked)
        return [
            await self._allow_effect(ready, call, index, each)
            for index, (call, each) in enumerate(zip(asked, known, strict=True), first)
        ]

    async def _allow_effect(
        self, ready: ReadyStep, call: EffectAsked, index: int, before: AllowedEffect | None
    ) -> AllowedEffect:
        evidence: Evidence = {"op": call.op, "index": index}
        if before is not None:
            evidence["again"] = True
        with Verdict(
            ready.admitted.trail,
            ready.target,
            evidence,
            allowed=EventType.EFFECT_ALLOWED,
            refused=EventType.EFFECT_REFUSED,
        ):
            if used := self._check_effect(ready, call, index):
                evidence["secrets"] = list(used)
            evidence["args"] = Hidden(call.args)
            asked = ready.effect_document(call, index, now=self._clock.now())
            evidence["document"] = Hidden(asked)
            with self._watch.stage("effect_policy"):
                decision = await self._policy.decide("effect", asked)
                note(decision, evidence)
                decision.require()
            answers: tuple[Decision, ...] = (decision,)
            waited = False
            if decision.require_approval is not None:
                consented = await self._consent.given(Matter.of_effect(ready, call, index), decision, evidence)
                answers, waited = consented.decisions, consented.waited
        request = EffectRequest(
            op=call.op,
            args=call.args,
            key=ready.effect_key(call, index),
            timeout_seconds=self._performing.seconds_max(call.op),
        )
        pointers = {pointer for each in answers for pointer in each.redact}
        pointers.update(before.redaction.pointers if before is not None else ())
        return AllowedEffect(
            request=request,
            scope=ready.effect_scope(call, index, answers[-1].bundle),
            redaction=Redaction.of_outcome(pointers) if pointers else NO_REDACTION,
            waited=waited,
        )

    def _check_effect(self, ready: ReadyStep, call: EffectAsked, index: int) -> tuple[str, ...]:
        """Refuse an effect that is not declared, or whose arguments are not of their types; return its secrets."""
        if call.op not in ready.kind.hook.effects:
            message = f"{call.op!r} is not among the effects that the hook {ready.kind.hook.name!r} declares"
            raise PolicyDeniedError([Reason("effect.undeclared", message)])
        _require_open(ready.admitted.sanitized.level.effect_violation(call.op, f"effects[{index}].op"))
        schema = self._effect_schemas.get(call.op)
        if schema is None:
            raise PolicyDeniedError([Reason("effect.unknown_op", f"{call.op!r} is no effect of this gateway")])
        field = f"effects[{index}].args"
        if violations := schema.check(call.args, field=field, pending=None):
            raise SanitizationError(violations)
        return ready.secrets.used(call.op, call.args, field=field)


def _require_open(violation: Violation | None) -> None:
    """Refuse what the mission's security level closes, whatever policy has said."""
    if violation is not None:
        raise SanitizationError([violation])


def _behalf(admitted: AdmittedMission, target: str) -> Behalf:
    """Return for whom the hooks of a step are run."""
    return Behalf(admitted.caller.tenant, in_trail(admitted.trail, target))
