"""What a replay comes to for each step: the recorded end beside the one that was found."""

from collections.abc import Sequence
from typing import Any, Final, Union

from engine.errors import StepError
from engine.json_copy import NotJsonError, encode, read_back
from engine.mission import MissionLimits
from engine.outcome import CONDITION_FALSE
from engine.result import StepResult, StepState
from engine.values import JsonValue
from gateway.replay.attempts import Ground, Replayed, replay_attempt
from gateway.replay.digests import Digests
from gateway.replay.inputs import holds, items_of, referred
from gateway.replay.outcome import MESSAGE_CHARS_MAX, DifferenceFound, NotReproducible, Reason, StepOutcome, Verdict
from gateway.replay.rounds import Fault, Output
from gateway.replay.trace import AttemptTrace
from gateway.sandbox.version import EngineVersion

_OUTPUT_BYTES_MAX: Final = MissionLimits().output_bytes_max
_WALL: Final = "constraint.timeout_exceeded"
# Ends of a run that are functions of its input, among those of which only the host may speak.
_FUNCTIONS: Final = frozenset(
    {"constraint.cpu_exceeded", "constraint.memory_exceeded", "context.output_invalid", "context.output_too_large",
     "sandbox.trap", "sandbox.output_invalid", "sandbox.host_calls_exceeded", "sandbox.too_many_effects",
     "sandbox.journal_too_large"}
)  # fmt: skip
# Of what the host says, these are about the machine, the moment or somebody's will.
_ENVIRONMENT: Final = frozenset(
    {"audit", "breaker", "constraint", "context", "foreach", "internal", "interrupted", "mission", "quota", "rewrite",
     "sandbox", "step", "store", "worker"}
)  # fmt: skip


async def replay_step(ground: Ground, index: int, result: StepResult | None, engine: EngineVersion) -> StepOutcome:
    """Return what a replay of one step comes to; `result` is what the store has of it."""
    step_id, rounds, at = ground.plan.mission.steps[index].id, 0, None
    attempts = ground.trace.attempts.get(step_id, {})
    attempt = next(iter(attempts.values()), None)
    try:
        rounds, note = await _Step(ground, index, result).run(attempts)
    except NotReproducible as answer:
        return StepOutcome(
            step_id=step_id, verdict=Verdict.NOT_REPRODUCIBLE, message=answer.message[:MESSAGE_CHARS_MAX]
        )
    except _ItemDiffers as found:
        difference, at = found.difference, found.item
        attempt = attempts.get(at, attempt)
    except DifferenceFound as found:
        difference = found
    else:
        if note:
            return StepOutcome(step_id=step_id, verdict=Verdict.NOT_REPRODUCIBLE, message=note, rounds=rounds)
        return StepOutcome(step_id=step_id, verdict=Verdict.SAME, rounds=rounds)
    return _differs(ground, index, difference, at, attempt, engine)


def _differs(
    ground: Ground,
    index: int,
    found: DifferenceFound,
    item: int | None,
    attempt: AttemptTrace | None,
    engine: EngineVersion,
) -> StepOutcome:
    """Return a difference with what explains it."""
    reason, message = found.reason, found.message
    then = attempt.engine if attempt is not None else None
    if reason in {Reason.OUTPUT, Reason.EFFECTS} and then is not None and then != engine:
        reason, message = Reason.ENGINE, f"{message}; it ran with {then}, and this is {engine}"
    if reason is Reason.INPUT and (changed := _changed(ground, index)):
        message = f"{message}: the store's output of {', '.join(changed)} is not the one that the log names"
    return StepOutcome(
        step_id=ground.plan.mission.steps[index].id,
        verdict=Verdict.DIFFERS,
        reason=reason,
        message=message[:MESSAGE_CHARS_MAX],
        recorded=found.recorded,
        replayed=found.replayed,
        item=item,
    )


def _changed(ground: Ground, index: int) -> Sequence[str]:
    """Return the steps that a step refers to, and whose outputs in the store are not those of the log."""
    outputs, ends = ground.scope.step_outputs, ground.trace.ends
    names = [name for name in referred(ground.plan, index) if name in outputs and name in ends]
    return [name for name in names if ground.digests.of(outputs[name]) != ends[name]["output"]]


class _ItemDiffers(Exception):  # noqa: N818 - no error of the program
    def __init__(self, item: int, difference: DifferenceFound) -> None:
        super().__init__(difference.message)
        self.item = item
        self.difference = difference


class _Step:
    """One step on its way: the log's end of it, the store's, and the replay's."""

    def __init__(self, ground: Ground, index: int, result: StepResult | None) -> None:
        self._ground = ground
        self._index = index
        self._result = result
        self._step = ground.plan.mission.steps[index]
        self._end = ground.trace.ends.get(self._step.id)

    async def run(self, attempts: dict[int | None, AttemptTrace]) -> tuple[int, str]:
        """Return how many runs were made, and what of the step could not be made again, if anything."""
        end = self._end
        if end is None:
            self._never_ran()
            return 0, ""
        self._stored(end)
        if self._index in self._ground.plan.fan_outs:
            return await self._fan_out(end, attempts)
        attempt = attempts.get(None)
        if attempt is None:
            raise NotReproducible("the log has its end, and lost its beginning when the gateway was killed")
        _require_function(end, attempt)
        replayed = await replay_attempt(self._ground, self._index, attempt, None, None)
        _compare(end, attempt, replayed, self._ground.digests)
        return replayed.rounds, ""

    def _never_ran(self) -> None:
        """Judge a step of which the log has no end."""
        code = self._ground.trace.skipped.get(self._step.id)
        if code is None:
            raise NotReproducible("the log has no end of it")
        if self._result is not None and self._result.status is not StepState.SKIPPED:
            raise DifferenceFound(Reason.OUTPUT, "the log says that it was skipped, and the store does not")
        if code != CONDITION_FALSE.code:
            raise NotReproducible(f"it never ran: {code}")
        if holds(self._ground.plan, self._index, self._ground.scope) is not False:
            raise DifferenceFound(Reason.INPUT, "its condition was false, and no longer is")

    def _stored(self, end: Any) -> None:
        """Hold what the store has of the step to the log.

        Raises:
            NotReproducible: the store has nothing of it.
            DifferenceFound: it has something else.
        """
        if self._result is None:
            raise NotReproducible("the store has no result of it")
        code = self._result.error.code if self._result.error is not None else ""
        if (self._result.status.value, code) != (end["status"], end.get("code", "")):
            message = "the store says that it ended otherwise than the log does"
            then, now = _said(end["status"], end.get("code", "")), _said(self._result.status.value, code)
            raise DifferenceFound(Reason.OUTPUT, message, recorded=then, replayed=now)
        if (mine := self._ground.digests.of(self._result.output)) != end["output"]:
            message = "the store has another output than the log names"
            raise DifferenceFound(Reason.OUTPUT, message, recorded=str(end["output"]), replayed=mine)

    async def _fan_out(self, end: Any, attempts: dict[int | None, AttemptTrace]) -> tuple[int, str]:
        """Make every item again that the log has an attempt at; what each gave stands in the step's output."""
        items = items_of(self._ground.plan, self._index, self._ground.scope) or ()
        outputs = self._result.output if self._result is not None else None
        known = isinstance(outputs, list)  # else the first failure stopped the others, wherever they were
        rounds, faults, notes = 0, 0, []
        for item, attempt in sorted((at, each) for at, each in attempts.items() if at is not None):
            if item >= len(items):
                raise DifferenceFound(Reason.INPUT, f"the log has an item {item}, and there are {len(items)} items")
            attempt.cut |= not known
            recorded = outputs[item] if isinstance(outputs, list) and item < len(outputs) else None
            try:
                _require_allowed(attempt)
                replayed = await replay_attempt(self._ground, self._index, attempt, item, (items[item],))
                rounds += replayed.rounds
                faults += _compare_item(recorded, attempt, replayed, self._ground.digests, known=known)
            except DifferenceFound as found:
                raise _ItemDiffers(item, found) from found
            except NotReproducible as answer:
                notes.append(f"item {item}: {answer.message}")
        if faults and not known:
            return rounds, ""  # one that fails is all that was recorded
        if end["status"] == StepState.COMPLETED.value and len(attempts) < len(items):
            notes.append(f"the log has attempts at {len(attempts)} of {len(items)} items")
        if end["status"] != StepState.COMPLETED.value and not faults and not notes:
            notes.append(f"it ended with {end.get('code', '')}, and no item fails here")
        return rounds, notes[0][:MESSAGE_CHARS_MAX] if notes else ""


def _require_allowed(attempt: AttemptTrace) -> None:
    details = attempt.verdict.details
    if attempt.verdict.event_type == "step.refused":
        raise NotReproducible(f"it was refused before it ran: {details.get('code', 'internal')}")


def _require_function(end: Any, attempt: AttemptTrace) -> None:
    """Return if the recorded end is a function of what is recorded.

    Raises:
        NotReproducible: a machine, a moment or a person had a part in it.
    """
    _require_allowed(attempt)
    code = str(end.get("code", ""))
    if code and code not in _FUNCTIONS and code.partition(".")[0] in _ENVIRONMENT:
        raise NotReproducible(f"it ended with {code}, which is no function of its inputs")


def _compare(end: Any, attempt: AttemptTrace, replayed: Replayed, digests: Digests) -> None:
    """Hold how an attempt ended again to how it ended."""
    ended, code = replayed.ended, str(end.get("code", ""))
    completed = end["status"] == StepState.COMPLETED.value
    if isinstance(ended, Output):
        kept = _kept(ended.value)
        if isinstance(kept, Fault):
            now, same = kept.code, not completed and kept.code == code
        else:
            now = digests.of(kept)
            same = completed and now == end["output"]
    else:
        now, same = ended.code, not completed and ended.code == code
    if same:
        return
    if attempt.cut and not attempt.rewrites and isinstance(ended, Output):
        raise NotReproducible("the gateway was killed in it; whether its output was rewritten is lost with that")
    then = str(end["output"]) if completed else code
    raise DifferenceFound(Reason.OUTPUT, "the module gives something else", recorded=then, replayed=now)


def _compare_item(
    recorded: JsonValue, attempt: AttemptTrace, replayed: Replayed, digests: Digests, *, known: bool
) -> int:
    """Hold an item to its part of the step's output, where there is any; return 1 if it fails."""
    ended = replayed.ended
    value = _kept(ended.value) if isinstance(ended, Output) else Fault(ended.code)
    if isinstance(value, Fault):
        if recorded is not None:
            raise DifferenceFound(Reason.OUTPUT, "the item fails", recorded=digests.of(recorded), replayed=value.code)
        return 1
    if not known or digests.of(value) == digests.of(recorded):
        return 0
    if recorded is None:
        why = _WALL if _WALL in attempt.violations else "a reason that the log does not have"
        raise NotReproducible(f"it failed for {why}")
    raise DifferenceFound(
        Reason.OUTPUT, "the module gives something else", recorded=digests.of(recorded), replayed=digests.of(value)
    )


def _kept(value: JsonValue) -> Union[JsonValue, Fault]:  # noqa: UP007 - JsonValue is a forward reference
    """Return an output as the context of a mission keeps it, or why it does not; `engine.context` has the rules."""
    try:
        encoded = encode(value)
        kept: JsonValue = read_back(encoded, value)
    except (NotJsonError, StepError):
        return Fault("context.output_invalid")
    return kept if len(encoded) <= _OUTPUT_BYTES_MAX else Fault("context.output_too_large")


def _said(status: str, code: str) -> str:
    return f"{status} {code}".strip()
