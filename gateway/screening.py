"""Runs the screens and the rewrites of a site: what a mission and a step must pass beside policy, in wasm.

A screen may say no, or give less; it cannot lift a no, nor give more. Whatever it does but answer is a no, unless
policy data says that it fails open: then it is an abstention, and recorded as a failure. A rewrite never fails open.
Which hooks ran, on which bytes, and what they said is evidence of the verdict, so that each can be run again.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from engine.clock import Clock, rfc3339
from engine.constraints.enforcer import Report
from engine.constraints.errors import ConstraintViolationError
from engine.values import JsonValue
from gateway.commitments import Evidence, Hidden
from gateway.constrained.record import in_log
from gateway.constrained.runs import ConstrainedRuns
from gateway.errors import PolicyDeniedError, Reason, SandboxError
from gateway.events import Audit, digest
from gateway.hook_failures import HookFailures
from gateway.hookset import HookSet, PlacedHook, Subject
from gateway.policy.decision import Decision
from gateway.sandbox.abi import StepFault
from gateway.sandbox.abi_hooks import (
    RewritePlace,
    ScreenReason,
    ScreenVerdict,
    decode_rewrite,
    decode_screen,
    encode_value,
)
from gateway.sandbox.port import Sandbox
from gateway.stages import Given, StepSeen

# What the same run might not meet again; every other failure is a function of its input.
_TRANSIENT: Final = frozenset({"constraint.timeout_exceeded", "sandbox.crashed", "sandbox.unavailable"})


@dataclass(frozen=True, slots=True)
class Screened:
    """What the screens of a place have said together: `denied` is empty where none says no."""

    denied: tuple[Reason, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)  # the strictest of all, by name


@dataclass(frozen=True, slots=True)
class Behalf:
    """For whom hooks are run: the tenant, whose breakers they are, and what hears of constraints that they break."""

    tenant: str
    report: Report


class Screening:
    """Runs screens and rewrites, one after the other, in their order."""

    def __init__(self, runs: ConstrainedRuns, failures: HookFailures, audit: Audit, clock: Clock) -> None:
        self._runs = runs
        self._failures = failures
        self._in_log = in_log(audit)
        self._clock = clock

    def given(self) -> Given:
        """Return clock and chance for hooks that look at a mission; a step's hooks have those of its attempt."""
        return Given(rfc3339(self._clock.now()), secrets.token_hex(16))

    async def screen(
        self,
        hooks: HookSet,
        place: str,
        subject: Subject,
        document: bytes,
        given: Given,
        behalf: Behalf,
        evidence: Evidence,
    ) -> Screened:
        """Ask the screens of a place about a document, up to the first no; `evidence` is told of each that ran.

        Raises:
            FaultError: none could be asked; whatever it is, it is a no.
        """
        told: list[Evidence] = []
        limits: dict[str, int] = {}
        for placed in hooks.at("screen", place):
            if not placed.is_about(subject):
                continue
            evidence["screens"] = told
            denied = await self._pass(placed, hooks.sandbox, document, given, behalf, limits, told)
            if denied:
                return Screened(denied)
        return Screened((), limits)

    async def screen_mission(
        self,
        hooks: HookSet,
        subject: Subject,
        document: bytes,
        tenant: str,
        decision: Decision,
        evidence: Evidence,
    ) -> Decision:
        """Return policy's yes as the screens leave it: narrowed, or a no."""
        given = self.given()
        evidence |= {"now": given.now, "seed": given.seed, "summary": Hidden(document)}
        screened = await self.screen(hooks, "mission", subject, document, given, Behalf(tenant, self._in_log), evidence)
        if screened.denied:
            return replace(decision, allow=False, reasons=screened.denied)
        limits = dict(decision.constraints)
        _narrow(limits, screened.limits)
        return replace(decision, constraints=MappingProxyType(limits))

    async def rewrite(
        self,
        hooks: HookSet,
        place: RewritePlace,
        value: JsonValue,
        seen: StepSeen,
        given: Given,
        behalf: Behalf,
        evidence: Evidence,
    ) -> JsonValue:
        """Return a step's value as the rewrites of a place leave it; each is given what the one before has made.

        Raises:
            PolicyDeniedError: one of them says no. SandboxError, ConstraintViolationError: one of them cannot answer.
        """
        told: list[Evidence] = []
        for placed in hooks.at("rewrite", place):
            if not placed.is_about(seen.subject):
                continue
            evidence["rewrites"] = told
            entry: Evidence = {"hook": placed.hook.key, "module": placed.hook.sha256}
            told.append(entry)
            entry |= {"settings": digest(placed.settings), "taint": seen.facts["taint"], **_limits(placed)}
            document = encode_value(place, value, seen.facts)
            entry["before"] = Hidden(value)
            answer = decode_rewrite(await self._run(placed, hooks.sandbox, document, given, behalf), place)
            if isinstance(answer, StepFault):
                raise PolicyDeniedError([_own_reason(placed, ScreenReason(answer.code, answer.message))])
            [value] = answer
            entry["after"] = Hidden(value)
        return value

    async def _pass(
        self,
        placed: PlacedHook,
        sandbox: Sandbox,
        document: bytes,
        given: Given,
        behalf: Behalf,
        limits: dict[str, int],
        told: list[Evidence],
    ) -> tuple[Reason, ...]:
        """Ask one screen; narrow `limits` by what it says, and return why it says no, if it does."""
        entry: Evidence = {"hook": placed.hook.key, "module": placed.hook.sha256, "verdict": "deny"}
        told.append(entry)
        try:
            verdict = await self._ask(placed, sandbox, document, given, behalf)
        except (SandboxError, ConstraintViolationError) as error:
            entry["fault"] = error.code
            if not placed.fails_open:
                message = f"the screen {placed.hook.key} could not answer: {error.message}"
                return (Reason(error.code, message, placed.hook.key),)
            entry["verdict"] = "abstain"
            self._failures.failed(placed, error.code)
            return ()
        entry["verdict"] = verdict.word
        if verdict.word == "deny":
            reasons = verdict.reasons or (ScreenReason("denied", f"denied by the screen {placed.hook.key}"),)
            return tuple(_own_reason(placed, reason) for reason in reasons)
        if verdict.narrow:
            entry["narrow"] = dict(verdict.narrow)
            _narrow(limits, verdict.narrow)
        return ()

    async def _ask(
        self, placed: PlacedHook, sandbox: Sandbox, document: bytes, given: Given, behalf: Behalf
    ) -> ScreenVerdict:
        """Return what a screen says; what may pass is tried again, as its profile says.

        Raises:
            SandboxError, ConstraintViolationError: it broke a limit, lied, or cannot say.
        """

        async def once() -> ScreenVerdict:
            answer = decode_screen(await self._run(placed, sandbox, document, given, behalf))
            if isinstance(answer, ScreenVerdict):
                return answer
            raise _CannotSayError(answer.message, code=placed.own_code(answer.code), may_pass=answer.retryable)

        return await placed.profile.retry_policy.execute_async(once, sleep=asyncio.sleep, retryable=_may_pass)

    async def _run(self, placed: PlacedHook, sandbox: Sandbox, document: bytes, given: Given, behalf: Behalf) -> bytes:
        report = await self._runs.run_hook(
            sandbox,
            placed.hook,
            placed.framed(document, given.now, given.seed),
            placed.constraints,
            given.for_run(),
            tenant=behalf.tenant,
            report=behalf.report,
        )
        return report.output


class _CannotSayError(SandboxError):
    """A screen's own error in place of a verdict; `may_pass` is its own word for it."""

    def __init__(self, message: str, *, code: str, may_pass: bool) -> None:
        super().__init__(message, code=code)
        self.may_pass = may_pass


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, _CannotSayError):
        return error.may_pass
    return isinstance(error, SandboxError | ConstraintViolationError) and error.code in _TRANSIENT


def _own_reason(placed: PlacedHook, reason: ScreenReason) -> Reason:
    return Reason(placed.own_code(reason.code), reason.message, placed.hook.key)


def _limits(placed: PlacedHook) -> dict[str, JsonValue]:
    """Return what a run of a hook gets, as far as its outcome is a function of it."""
    limits = placed.constraints
    return {name: getattr(limits, name) for name in ("fuel_max", "memory_bytes_max", "output_bytes_max")}


def _narrow(limits: dict[str, int], more: Mapping[str, int]) -> None:
    """Make each limit the stricter of both."""
    for name, limit in more.items():
        limits[name] = min(limit, limits.get(name, limit))
