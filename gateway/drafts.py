"""Partial validation: what is wrong in a mission that is still being written, apart from what is not there yet.

A form that is filled in field by field breaks rules at every moment: nearly all by what it lacks. Here a member that is
absent, null or an empty string is *missing*, and so is whatever may come right by something being added: a list that is
too short, a choice of which no part is there yet, a name that a step added later may have. Everything else is *wrong*,
however much is added. What lacks nothing and is not wrong is judged as a whole, as for a submission.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from engine.document import Document
from engine.errors import MissionInvalidError, Violation
from engine.fields import step_type_spellings
from engine.loader import load_mission_value
from engine.mission import MissionLimits
from engine.values import JsonObject, JsonValue
from gateway.sanitizer.positions import with_positions
from gateway.sanitizer.schema import ParameterSchema
from gateway.security_levels import SecurityLevels

VIOLATIONS_MAX: Final = 64  # of each sort
# Of what the engine says: what something that is added may mend.
_MISSING: Final = frozenset(
    {"mission.missing_field", "mission.no_steps", "mission.unknown_dependency", "reference.unknown_step",
     "reference.unknown_variable", "reference.not_a_dependency"}
)  # fmt: skip
_EMPTY: Final = (None, "")
_CONTAINERS: Final = ("config", "retry", "foreach", "supervision")  # objects of fields, not of a client's own data


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What can be said of a mission that may not be finished, in the order of the document."""

    wrong: tuple[Violation, ...]
    missing: tuple[Violation, ...]

    @property
    def complete(self) -> bool:
        """Whether it could be submitted, as far as rules of form go."""
        return not self.wrong and not self.missing

    def document(self) -> dict[str, object]:
        """Return `{"complete","wrong","missing"}`, as `missiongate plan --partial` prints it."""
        wrong, missing = ([_document(found) for found in findings] for findings in (self.wrong, self.missing))
        return {"complete": self.complete, "wrong": wrong, "missing": missing}


def _document(finding: Violation) -> dict[str, object]:
    return {
        "code": finding.code,
        "message": finding.message,
        "field": finding.field,
        "line": finding.line,
        "column": finding.column,
    }


def read_draft(
    document: Document,
    *,
    schemas: Mapping[str, ParameterSchema],
    levels: SecurityLevels,
    limits: MissionLimits,
    secrets: Collection[str] = (),
) -> Draft:
    """Return what the engine and the schemas of the step kinds say of a document.

    Args:
        document: parsed; what is no YAML or JSON is refused before.
        schemas: of the parameters, by step kind.
        levels: that a mission may have.
        limits: what a mission may ask for.
        secrets: that it may refer to.
    """
    value = _without_empty(document.value)
    filled = replace(document, value=value)
    try:
        load_mission_value(filled, limits=limits, step_types=schemas, secrets=secrets)
        said: tuple[Violation, ...] = ()
    except MissionInvalidError as error:
        said = error.violations
    wrong = [violation for violation in said if violation.code not in _MISSING]
    missing = [violation for violation in said if violation.code in _MISSING]
    wrong += with_positions(_level(value, levels), document)
    for field, schema, parameters in _parameters(value, schemas):
        found = schema.check_draft(parameters, field=field)
        wrong += with_positions(found.wrong[: VIOLATIONS_MAX - len(wrong)], document)
        missing += with_positions(found.missing[: VIOLATIONS_MAX - len(missing)], document)
    return Draft(wrong=_in_order(wrong), missing=_in_order(missing))


def _level(mission: JsonValue, levels: SecurityLevels) -> tuple[Violation, ...]:
    config = mission.get("config") if isinstance(mission, Mapping) else None
    asked = config.get("security_level") if isinstance(config, Mapping) else None
    level = levels.of(asked) if isinstance(asked, str) else None
    return (level,) if isinstance(level, Violation) else ()


def _in_order(violations: list[Violation]) -> tuple[Violation, ...]:
    return tuple(sorted(violations, key=lambda found: (found.line is None, found.line or 0, found.column or 0)))


def _without_empty(value: JsonValue) -> JsonValue:
    """Return a mission without the fields that are null or an empty string; the client's own data stays as it is."""
    if not isinstance(value, Mapping):
        return value
    mission = _filled(value)
    steps = mission.get("steps")
    if isinstance(steps, list):
        mission["steps"] = [_filled(step) if isinstance(step, Mapping) else step for step in steps]
    return mission


def _filled(fields: JsonObject) -> dict[str, JsonValue]:
    out: dict[str, JsonValue] = {name: value for name, value in fields.items() if value not in _EMPTY}
    for name in _CONTAINERS:
        if isinstance(inner := out.get(name), Mapping):
            out[name] = _filled(inner)
    return out


def _parameters(
    mission: JsonValue, schemas: Mapping[str, ParameterSchema]
) -> list[tuple[str, ParameterSchema, JsonObject]]:
    """Return the parameters of every step whose kind is known, with their field; none there yet is none filled in."""
    steps = mission.get("steps") if isinstance(mission, Mapping) else None
    spellings = step_type_spellings(schemas)
    out: list[tuple[str, ParameterSchema, JsonObject]] = []
    for at, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, Mapping):
            continue
        step_type, parameters = step.get("step_type"), step.get("parameters", {})
        kind = spellings.get(step_type) if isinstance(step_type, str) else None
        if kind is not None and isinstance(parameters, Mapping):
            out.append((f"steps[{at}].parameters", schemas[kind], parameters))
    return out
