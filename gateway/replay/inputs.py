"""The parameters of a recorded step, made again: references resolved from what is recorded, handles as they were."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.document import parse_document
from engine.errors import StepError
from engine.escaping import escaped_scope
from engine.loader import load_mission_value
from engine.mission import MissionLimits
from engine.plan import Plan
from engine.reference import ItemScope, Reference, Scope, resolve
from engine.values import JsonValue
from gateway.replay.digests import Digests
from gateway.replay.outcome import DifferenceFound, Reason

# As wide as any gateway can be configured: what was admitted once is read, whatever the limits are today.
_LIMITS: Final = MissionLimits(
    document_bytes_max=16 * 1024 * 1024, values_max=5_000_000, steps_max=100_000, parallel_limit_max=10_000
)
_SECRET: Final = re.compile(rb"\$\{secrets\.([A-Za-z0-9_-]{1,128})\}")


@dataclass(frozen=True, slots=True)
class RecordedScope:
    """What references of a step see: variables, and the outputs that the store has."""

    variables: Mapping[str, JsonValue]
    step_outputs: Mapping[str, JsonValue]


def read_plan(document: bytes) -> Plan:
    """Return the plan of a stored mission; which step kinds and secrets there are today does not matter.

    Raises:
        MissionInvalidError: it is no mission.
    """
    parsed = parse_document(document, _LIMITS)
    steps = parsed.value.get("steps") if isinstance(parsed.value, Mapping) else None
    kinds = [step.get("step_type") for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []
    names = {name.decode() for name in _SECRET.findall(document)}
    known = {kind for kind in kinds if isinstance(kind, str)}
    return load_mission_value(parsed, limits=_LIMITS, step_types=known, secrets=names)


def items_of(plan: Plan, index: int, scope: Scope) -> Sequence[JsonValue] | None:
    """Return the items of a fan-out; None: the step is none.

    Raises:
        DifferenceFound: `input`, what they are made of is no list.
    """
    source = plan.fan_outs.get(index)
    if source is None:
        return None
    try:
        return source.items(scope)
    except StepError as error:
        raise DifferenceFound(Reason.INPUT, f"its items cannot be found: {error.message}") from error


def holds(plan: Plan, index: int, scope: Scope) -> bool | None:
    """Return whether a step's condition holds; None: it has none, or it cannot be told."""
    condition = plan.conditions.get(index)
    try:
        return None if condition is None else condition.holds(scope)
    except StepError:
        return None


def candidates(
    plan: Plan, index: int, scope: Scope, item: tuple[JsonValue] | None, secret: Callable[[Reference], str]
) -> Iterator[JsonValue]:
    """Yield what the parameters of a step can have been: as they are, and as a kind that runs missions gets them.

    Which of the two it was follows from the module's manifest of that day; the digest in the log knows it.

    Raises:
        StepError: a reference leads nowhere.
    """
    step, template = plan.mission.steps[index], plan.templates[index]
    if template is None:
        yield step.parameters
        return
    seen: Scope = scope if item is None else ItemScope(scope, item[0])
    yield resolve(template, seen, secret=secret)
    yield resolve(template, escaped_scope(seen), secret=secret)


def found(values: Iterator[JsonValue], recorded: str, digests: Digests) -> JsonValue:
    """Return the value that the log names.

    Raises:
        DifferenceFound: `input`, it is none of them.
    """
    first = ""
    try:
        for value in values:
            mine = digests.of(value)
            if mine == recorded:
                return value
            first = first or mine
    except StepError as error:
        if not first:
            raise DifferenceFound(
                Reason.INPUT, f"its parameters cannot be resolved: {error.message}", recorded=recorded
            ) from error
    message = "its parameters are not those that the log names"
    raise DifferenceFound(Reason.INPUT, message, recorded=recorded, replayed=first)


def referred(plan: Plan, index: int) -> Collection[str]:
    """Return the ids of the steps whose outputs a step refers to, sorted."""
    return sorted({reference.name for reference in plan.references[index] if reference.source == "steps"})
