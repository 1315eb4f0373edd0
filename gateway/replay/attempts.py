"""One recorded attempt at a step, or at an item of it, made again from its parameters to its output."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from engine.mission import MissionStep
from engine.plan import Plan
from engine.reference import Reference
from engine.values import JsonObject, JsonValue
from gateway.errors import SecretError
from gateway.policy.redaction import Redaction
from gateway.replay.digests import Digests
from gateway.replay.inputs import RecordedScope, candidates, found
from gateway.replay.journal import RecordedJournal
from gateway.replay.outcome import DifferenceFound, NotReproducible, Reason
from gateway.replay.ports import Handles, Modules, Records
from gateway.replay.rewrites import Source, rewritten
from gateway.replay.rounds import Ended, Output, Rounds
from gateway.replay.trace import AttemptTrace, MissionTrace
from gateway.sandbox.abi import encode_step
from gateway.stages import STILL, Given
from gateway.store.records import MissionRecord
from gateway.vault.reader import Attempt
from gateway.vault.step_secrets import NO_STEP_SECRETS, StepSecrets, declared_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every attempt of a mission is made again on."""

    record: MissionRecord
    plan: Plan
    trace: MissionTrace
    scope: RecordedScope
    records: Records
    modules: Modules
    handles: Handles | None
    digests: Digests  # by the mission's key


@dataclass(frozen=True, slots=True)
class Replayed:
    """How an attempt ended again, and in how many runs of its module."""

    ended: Ended
    rounds: int


async def replay_attempt(
    ground: Ground, index: int, attempt: AttemptTrace, item: int | None, value: tuple[JsonValue] | None
) -> Replayed:
    """Make an attempt again; `value` holds the item, where the step has any.

    Raises:
        DifferenceFound, NotReproducible: it does not come so far.
    """
    step, details = ground.plan.mission.steps[index], attempt.verdict.details
    if "parameters" not in details or any("settings" not in each for each in details.get("rewrites", ())):
        raise NotReproducible("the log is of an earlier version, which recorded too little")
    number = int(details.get("attempt", 1))
    given = Given(details["now"], details["seed"])
    told = STILL if details.get("still") else given  # the module; hooks and secrets have the other
    facts = _facts(step, number, item)
    parameters = await _parameters(ground, index, attempt, item, value, given, facts)
    if not isinstance(parameters, dict):
        raise DifferenceFound(Reason.INPUT, "its parameters are no object")

    def document(entries: Sequence[JsonObject]) -> bytes:
        return encode_step(
            step_id=step.id,
            name=step.name,
            step_type=step.step_type,
            attempt=number,
            parameters=parameters,
            journal=entries,
            now=told.now,
            seed=told.seed,
        )

    try:
        effects = await ground.records.effects(ground.record.id, step.id, item)
    except (ValueError, TypeError) as error:
        raise DifferenceFound(Reason.JOURNAL, "what the store has of its effects cannot be understood") from error
    journal = RecordedJournal(attempt, effects, ground.trace.kept_effects, ground.digests)
    rounds = Rounds(ground.modules, attempt, journal, document, told.for_run(), ground.digests)
    ended = await rounds.run()
    if isinstance(ended, Output):
        redaction = Redaction.of(attempt.masked)
        output, _ = redaction.apply(ended.value)
        if attempt.rewrites:
            source = Source(ground.modules, ground.records, ground.digests)
            output = await rewritten(source, "output", attempt.rewrites, output, facts, given)
            output, _ = redaction.apply(output)
        ended = Output(output)
    return Replayed(ended, rounds.count)


async def _parameters(
    ground: Ground,
    index: int,
    attempt: AttemptTrace,
    item: int | None,
    value: tuple[JsonValue] | None,
    given: Given,
    facts: JsonObject,
) -> JsonValue:
    """Return the parameters that the log names: resolved, and as rewrites left them."""
    details = attempt.verdict.details
    secrets = await _secrets(ground, index, item, given)
    rewrites = details.get("rewrites", [])
    recorded = str(rewrites[0]["before"] if rewrites else details["parameters"])

    def stand_in(reference: Reference) -> str:
        return secrets.stand_in(reference)

    resolved = found(candidates(ground.plan, index, ground.scope, value, stand_in), recorded, ground.digests)
    source = Source(ground.modules, ground.records, ground.digests)
    parameters = await rewritten(source, "parameters", rewrites, resolved, facts, given)
    if (mine := ground.digests.of(parameters)) != details["parameters"]:
        message = "its parameters are not those that the log names"
        raise DifferenceFound(Reason.INPUT, message, recorded=str(details["parameters"]), replayed=mine)
    return parameters


async def _secrets(ground: Ground, index: int, item: int | None, given: Given) -> StepSecrets:
    """Return the handles that stood for the secrets of an attempt; their values are not looked at."""
    names = declared_secrets(ground.plan, index)
    if not names:
        return NO_STEP_SECRETS
    if ground.handles is None:
        raise NotReproducible("it uses secrets, and there is no vault here")
    step_id = ground.plan.mission.steps[index].id
    claimant = Attempt(
        tenant=ground.record.tenant, mission_id=ground.record.id, step_id=step_id, item=item, seed=given.seed
    )
    try:
        return StepSecrets(by_name=await asyncio.to_thread(ground.handles.handles, claimant, names))
    except SecretError as error:
        raise NotReproducible(f"it uses secrets, and the vault does not answer: {error.message}") from error


def _facts(step: MissionStep, number: int, item: int | None) -> JsonObject:
    """Return an attempt as hooks see it; `gateway.stages.AdmittedMission.step_seen` has the same fields."""
    return {"id": step.id, "name": step.name, "step_type": step.step_type, "attempt": number, "item": item}
