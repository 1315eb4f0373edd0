"""Stages 1 to 3 of the way of a step: from a client's bytes to a mission that may start.

The numbers are those of docs/architecture.md; (4) to (7) are in `gateway.pipeline`, and what that says of stages that
raise holds here too: nothing catches in order to go on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from engine.clock import Clock, SystemClock
from engine.document import Document, document_of, parse_document
from engine.errors import MissionInvalidError, Violation
from engine.loader import load_mission_value
from engine.mission import Mission, MissionLimits
from engine.reference import has_reference
from engine.values import JsonObject
from gateway.commitments import Evidence, Hidden
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.drafts import Draft, read_draft
from gateway.errors import SanitizationError
from gateway.hookset import Hooks, HookSet
from gateway.identity import Principal
from gateway.observing import Observers
from gateway.policy import document
from gateway.policy.decision import Decision, denied
from gateway.policy.engine import PolicyEngine
from gateway.sanitizer.names import check_names
from gateway.sanitizer.positions import with_positions
from gateway.screening import Screening
from gateway.security_levels import SecurityLevel, SecurityLevels
from gateway.stages import SanitizedMission, without_missing
from gateway.summary import mission_subject, mission_summary
from gateway.taint import taint_of
from gateway.vault.step_secrets import NO_SECRETS, Secrets
from gateway.watch import UNWATCHED, Watch

VIOLATIONS_MAX: Final = 64  # of one mission


class Admission:
    """Stages 1 to 3."""

    def __init__(
        self,
        *,
        hooks: Hooks,
        levels: SecurityLevels,
        policy: PolicyEngine,
        limits: MissionLimits,
        sanitizer: ConstrainedSanitizer,
        screening: Screening | None = None,
        observers: Observers | None = None,
        secrets: Secrets = NO_SECRETS,
        unasked: tuple[str, ...] = (),
        clock: Clock | None = None,
        watch: Watch = UNWATCHED,
    ) -> None:
        """Decide by `policy` and by the screens of `hooks`; without `screening` a screen is a no.

        `clock` says when a decision is taken; it is the machine's where none is given.
        `unasked` names the screens that a gateway would ask, where this is none.
        """
        self.unasked = unasked
        self.hooks = hooks
        self._levels = levels
        self._policy = policy
        self._limits = limits
        self._sanitizer = sanitizer
        self._screening = screening
        self._observers = observers
        self._secrets = secrets
        self._clock = clock or SystemClock()
        self._watch = watch

    def adopt(self, levels: SecurityLevels) -> None:
        """From now on give missions these security levels; one that is admitted keeps its own."""
        self._levels = levels

    def sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        """Stage 1: parse within bounds, check every rule of a mission, and every name and parameter against its type.

        Raises:
            MissionInvalidError: not a mission, or one over a limit.
            SanitizationError: a name or a parameter breaks the rule of its type; at most `VIOLATIONS_MAX` are told.
            ConstraintViolationError: it took more CPU than a mission may.
        """
        with self._watch.stage("sanitize"):
            return self._sanitizer.mission(self._sanitize, form)

    def _parse(self, form: bytes | JsonObject) -> Document:
        return parse_document(form, self._limits) if isinstance(form, bytes) else document_of(form, self._limits)

    def _sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        return self._checked(self._parse(form))

    def _checked(self, parsed: Document) -> SanitizedMission:
        hooks = self.hooks.current
        names = self._secrets.rules  # of secrets that policy's data knows
        plan = load_mission_value(
            parsed, limits=self._limits, step_types=hooks.kinds, secrets=names
        )  # (1) shape, graph
        level = self._levels.of(plan.mission.config.security_level)
        violations = list(islice(_violations(plan.mission, hooks, level), VIOLATIONS_MAX))
        if violations or isinstance(level, Violation):
            raise SanitizationError(with_positions(violations, parsed))
        taint = taint_of(plan, hooks.effects)
        return SanitizedMission(
            plan=plan, digest=plan.mission.digest(), taint=taint, effects=hooks.effects, level=level
        )

    def as_part(self, sanitized: SanitizedMission, taint: frozenset[str], within: str) -> SanitizedMission:
        """Stage 1 of a mission that is a part of another, of the level `within`, which fills it with tainted data.

        Raises:
            SanitizationError: it asks for a wider level than that, or for what that level closes.
            HookRefusedError: a hook that it needs is there no longer, or may do more by now.
        """
        mission = sanitized.plan.mission
        level = self._levels.of(mission.config.security_level, within=within)
        hooks, effects = self.hooks.current, sanitized.effects  # another set, where they have changed in between
        violations = list(islice(_level_violations(mission, hooks, effects, level), VIOLATIONS_MAX))
        if violations or isinstance(level, Violation):
            raise SanitizationError(violations)
        return replace(sanitized.inheriting(taint), level=level)

    def draft(self, form: bytes | JsonObject) -> Draft:
        """Return what stage 1 says of a mission that may not be finished.

        Raises:
            MissionInvalidError: it is no document at all, or one over a limit.
        """
        return self._sanitizer.mission(self._draft, form)

    def _draft(self, form: bytes | JsonObject) -> Draft:
        parsed = self._parse(form)
        schemas = {name: kind.schema for name, kind in self.hooks.current.kinds.items()}
        draft = read_draft(
            parsed, schemas=schemas, levels=self._levels, limits=self._limits, secrets=self._secrets.rules
        )
        if draft.complete:
            try:
                self._checked(parsed)
            except (MissionInvalidError, SanitizationError) as error:
                return Draft(wrong=error.violations, missing=())
        return draft

    async def ask(
        self,
        sanitized: SanitizedMission,
        caller: Principal,
        evidence: Evidence | None = None,
        *,
        again: bool = False,
    ) -> Decision:
        """Stages 2 and 3: ask Rego about the whole mission, then screens; return the answer whatever it is.

        `evidence` is told which screens ran. Rego's no stands: no screen is asked then. See `Decision.require`.

        Asked `again` about one that was admitted, it looks for no secrets: only steps that need one fail without it.
        """
        asked = self.document(sanitized, caller, self._clock.now())
        if evidence is not None:
            evidence["policy_document"] = Hidden(asked)
        with self._watch.stage("mission_policy"):
            decision = await self._policy.decide("mission", asked)  # (2) the whole plan
        missing = [] if again else await self._secrets.missing(caller.tenant, sanitized.plan)
        return await self.screened(sanitized, caller, without_missing(decision, missing), evidence)  # (3)

    def document(self, sanitized: SanitizedMission, caller: Principal, now: datetime) -> bytes:
        """Return a mission as policy sees it that decides `now`."""
        return document.mission_document(
            caller,
            sanitized.plan,
            sanitized.digest,
            sanitized.taint,
            sanitized.level.name,
            now=now,
        )

    async def screened(
        self,
        sanitized: SanitizedMission,
        caller: Principal,
        decision: Decision,
        evidence: Evidence | None = None,
    ) -> Decision:
        """Stage 3: return what screens leave of policy's yes; a no is not shown to them."""
        hooks = self.hooks.current
        if decision.allow is not True or not hooks.at("screen", "mission"):
            return decision
        if self._screening is None:
            return denied("hook.unavailable", "there are screens, and nothing to run them in", bundle=decision.bundle)
        subject, summary = mission_subject(sanitized), mission_summary(caller, sanitized)
        told = {} if evidence is None else evidence
        with self._watch.stage("mission_screens"):
            return await self._screening.screen_mission(hooks, subject, summary, caller.tenant, decision, told)

    def observe(self, sanitized: SanitizedMission, caller: Principal) -> None:
        """Let observers see, later, a mission that is allowed."""
        hooks = self.hooks.current
        if self._observers is not None and self._screening is not None and hooks.at("observe", "mission"):
            subject, given = mission_subject(sanitized), self._screening.given()
            self._observers.observe(
                hooks, "mission", subject, lambda: mission_summary(caller, sanitized), given, caller.tenant
            )


def _violations(mission: Mission, hooks: HookSet, level: SecurityLevel | Violation) -> Iterator[Violation]:
    """Yield what is wrong with names, parameters and the security level."""
    yield from check_names(mission)
    for i, step in enumerate(mission.steps):
        schema = hooks.kinds[step.step_type].schema
        yield from schema.check(step.parameters, field=f"steps[{i}].parameters", pending=has_reference)
    yield from _level_violations(mission, hooks, hooks.effects, level)


def _level_violations(
    mission: Mission, hooks: HookSet, effects: Mapping[str, tuple[str, ...]], level: SecurityLevel | Violation
) -> Iterator[Violation]:
    """Yield what the mission's security level closes: the profiles of its steps, and the effects of their kinds."""
    if isinstance(level, Violation):
        yield level
        return
    for i, step in enumerate(mission.steps):
        hook = hooks.kind_of(step.step_type, effects).hook
        profile = level.profile_violation(step.profile or hook.profile, f"steps[{i}].profile")
        closed = (level.effect_violation(op, f"steps[{i}].step_type") for op in hook.effects)
        yield from (violation for violation in (profile, *closed) if violation is not None)
