"""Input documents of authors, held to their JSON Schemas: a mistyped field is told, and not silently undefined."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import orjson

from engine.errors import Violation
from engine.values import JsonObject
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.strict_json import strict_loads

_CAPITAL: Final = re.compile("[A-Z]")  # in the keywords of JSON Schema
DOCUMENT_BYTES_MAX: Final = 16 * 1024 * 1024
VIOLATIONS_MAX: Final = 32
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_document(raw: bytes) -> Any | Violation:
    """Return the JSON value that `raw` spells, or what is wrong with it."""
    if len(raw) > DOCUMENT_BYTES_MAX:
        return Violation(code="policy.input_too_large", message=f"is over {DOCUMENT_BYTES_MAX} bytes", field="")
    try:
        return strict_loads(raw)
    except json.JSONDecodeError as error:
        return Violation(
            code="policy.input_not_json", message=error.msg, field="", line=error.lineno, column=error.colno
        )
    except (ValueError, RecursionError) as error:
        return Violation(code="policy.input_not_json", message=str(error), field="")


def check_document(value: Any, schema: JsonObject) -> tuple[Violation, ...]:
    """Return what a document's schema says against it, at most VIOLATIONS_MAX; empty where it is as the gateway's."""
    errors = jsonschema_rs.validator_for(dict(schema)).iter_errors(value)
    return tuple(islice((found for error in errors for found in _violations(error)), VIOLATIONS_MAX))


def entrypoint_of(value: Any) -> Entrypoint | None:
    """Return the entrypoint whose document `value` looks like; None where it looks like none."""
    if not isinstance(value, Mapping):
        return None
    for entrypoint in reversed(ENTRYPOINTS):  # an effect's document has all that a step's has
        if entrypoint in value and (entrypoint != "mission" or "step" not in value):
            return entrypoint
    return None


def field_path(path: Sequence[str | int]) -> str:
    """Return a path as people write it: `mission.steps[2].parameters["x-id"]`."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        elif _NAME.fullmatch(step):
            out += f".{step}" if out else step
        else:
            out += f"[{orjson.dumps(step).decode()}]"
    return out


def _violations(error: jsonschema_rs.ValidationError) -> list[Violation]:
    keyword, at = error.kind.name, tuple(error.instance_path)
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
        return [_violation(keyword, "is missing", (*at, str(error.kind.property)))]
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        message = "is no field of this document"
        return [_violation(keyword, message, (*at, name)) for name in error.kind.unexpected]
    return [_violation(keyword, error.message.partition("\n")[0], at)]


def _violation(keyword: str, message: str, path: Sequence[str | int]) -> Violation:
    rule = _CAPITAL.sub(lambda found: f"_{found[0].lower()}", keyword)
    return Violation(code=f"policy.input_{rule}", message=message, field=field_path(path))
