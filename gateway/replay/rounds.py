"""The rounds of a recorded step, made again: the module runs with a growing journal, as it did.

It follows `gateway.pipeline` round by round, with the log in the place of everything that decided and performed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import orjson

from engine.constraints import ExecutionConstraints
from engine.constraints.limits import WALL_MS_CEILING
from engine.errors import StepError
from engine.values import JsonObject, JsonValue
from gateway.errors import SandboxError
from gateway.performing import JOURNAL_BYTES_MAX
from gateway.replay.digests import Digests
from gateway.replay.journal import RecordedJournal, Stopped
from gateway.replay.outcome import DifferenceFound, NotReproducible, Reason
from gateway.replay.ports import Modules
from gateway.replay.trace import Asked, AttemptTrace
from gateway.sandbox.abi import EFFECTS_MAX, EffectAsked, StepFault, StepOutput, decode_step_output
from gateway.sandbox.port import RunGiven, RunReport
from gateway.step_failures import own_fault

# How a run ends here, and says nothing of how it ended then.
_ENVIRONMENT: Final = frozenset({"constraint.timeout_exceeded", "sandbox.crashed", "sandbox.unavailable"})
_SPENT: Final = "constraint.cpu_exceeded"


@dataclass(frozen=True, slots=True)
class Output:
    """The module gave an output."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Fault:
    """The module failed, or a limit that is a function of its input ended it."""

    code: str


Ended: TypeAlias = Output | Fault | Stopped


@dataclass(slots=True)
class Rounds:
    """One attempt on its way. `document` makes the input of a round of the journal so far."""

    modules: Modules
    attempt: AttemptTrace
    journal: RecordedJournal
    document: Callable[[Sequence[JsonObject]], bytes]
    given: RunGiven
    digests: Digests
    entries: list[JsonObject] = field(default_factory=list)
    count: int = 0  # runs that were made
    _round: int = 0  # of the recorded ones, that was looked at

    async def run(self) -> Ended:
        """Return how the attempt ends.

        Raises:
            DifferenceFound: the module is not here, asks for other effects, or the journal is another.
            NotReproducible: it ended here in a way that says nothing, or the log does not say how it went on.
        """
        details = self.attempt.verdict.details
        limits = limits_of(details)
        while True:
            try:
                report = await run_once(
                    self.modules, details["module"], self.document(self.entries), limits, self.given
                )
                self.count += 1
                answer = decode_step_output(report.output)
                if isinstance(answer, StepFault):
                    return self._whole(Fault(_code_of(answer)))
            except SandboxError as error:
                self.count += 1
                return self._whole(Fault(error.code))
            if isinstance(answer, StepOutput):
                return self._whole(Output(answer.output))
            if (left := limits.fuel_max - report.fuel_used) < 1:
                return self._whole(Fault(_SPENT))
            ended = self._act(answer.effects)
            if not isinstance(ended, int):
                return self._whole(ended)
            limits = self._after_waits(ended, replace(limits, fuel_max=left))

    def _act(self, asked: Sequence[EffectAsked]) -> Ended | int:
        """Tell the module again what it was told; return how many effects that were, or how the step ended."""
        before = len(self.entries)
        if before + len(asked) > EFFECTS_MAX:
            return Fault("sandbox.too_many_effects")
        recorded = self._compared(asked)
        if recorded[-1].refused:
            return Stopped(recorded[-1].refused)
        if (stopped := self.attempt.stopped_held.get(before)) is not None:
            return Stopped(stopped)
        told = None
        for effect in recorded:
            answer = self.journal.entry(effect)
            if isinstance(answer, Stopped):
                return answer
            entry, told = answer
            self.entries.append(entry)
            if told is not None and told.details.get("violation"):
                return Stopped(str(told.details["code"]))
            if (again := self.attempt.again.get(len(self.entries))) and again.event_type == "step.refused":
                return Stopped(str(again.details.get("code", "internal")))
            if "error" in entry:
                break
        replayed_error = told is not None and told.event_type == "effect.replayed" and "error" in self.entries[-1]
        if not replayed_error and sum(len(orjson.dumps(entry)) for entry in self.entries) > JOURNAL_BYTES_MAX:
            return Fault("sandbox.journal_too_large")
        return before

    def _compared(self, asked: Sequence[EffectAsked]) -> Sequence[Asked]:
        """Return what the log has of a round; it is what is asked for now, up to the first that was refused."""
        rounds = self.attempt.rounds
        number, first = self._round, len(self.entries)
        self._round += 1
        if number >= len(rounds):
            if self.attempt.cut:
                raise NotReproducible("it was stopped in the middle, and the log does not say where")
            raise DifferenceFound(
                Reason.EFFECTS, f"it asks for {asked[0].op}, and the log has no such effect", replayed=asked[0].op
            )
        recorded = rounds[number]
        for at, (call, then) in enumerate(zip(asked, recorded, strict=False), start=first):
            mine = self.digests.of(call.args) if then.args else ""
            if (call.op, mine, at) != (then.op, then.args, then.index):
                message = f"effect {at} is {call.op}, and not the {then.op} that the log has, or has other arguments"
                raise DifferenceFound(Reason.EFFECTS, message, recorded=then.args or then.op, replayed=mine or call.op)
        if len(recorded) > len(asked) or (len(recorded) < len(asked) and not recorded[-1].refused):
            message = f"a round asks for {len(asked)} effects, and the log has {len(recorded)}"
            if len(recorded) < len(asked) and self.attempt.cut:
                raise NotReproducible("it was stopped in the middle, and the log does not say where")
            raise DifferenceFound(Reason.EFFECTS, message, recorded=str(len(recorded)), replayed=str(len(asked)))
        return recorded

    def _after_waits(self, before: int, limits: ExecutionConstraints) -> ExecutionConstraints:
        """Return what is left after the waits of a round, after each of which the step was decided again."""
        for held in self.attempt.held.get(before, ()):
            limits = limits.narrow(limits_of(held.details))
        for told in range(before + 1, len(self.entries) + 1):
            if (again := self.attempt.again.get(told)) is not None:
                limits = limits.narrow(limits_of(again.details))
        return limits

    def _whole(self, ended: Ended) -> Ended:
        """Return how it ended, unless the log has more rounds of it."""
        if len(self.attempt.rounds) > self._round:
            op = self.attempt.rounds[self._round][0].op
            raise DifferenceFound(Reason.EFFECTS, f"it does not ask for {op} any more", recorded=op)
        return ended


async def run_once(
    modules: Modules, sha256: str, document: bytes, limits: ExecutionConstraints, given: RunGiven
) -> RunReport:
    """Run a module.

    Raises:
        SandboxError: it failed, or met a limit that is the same everywhere.
        NotReproducible: this machine ended it.
        DifferenceFound: `module`.
    """
    try:
        return await modules.run(sha256, document, limits, given)
    except SandboxError as error:
        if error.code in _ENVIRONMENT:
            raise NotReproducible(f"here the run ended with {error.code}, which says nothing of then") from error
        raise


def limits_of(details: Any) -> ExecutionConstraints:
    """Return the recorded limits of a run. Wall time is nobody's function: it gets as much as there can be."""
    return ExecutionConstraints(
        wall_ms_max=WALL_MS_CEILING,
        fuel_max=details["fuel_max"],
        memory_bytes_max=details["memory_bytes_max"],
        output_bytes_max=details["output_bytes_max"],
    )


def _code_of(answer: StepFault) -> str:
    """Return the code of a failure that a module reports."""
    fault: StepError = own_fault(answer)
    return fault.code
