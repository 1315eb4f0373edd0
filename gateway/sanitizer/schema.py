"""Checks an object of parameters against its JSON Schema: bounds, then shape, then what each string is.

Shape is judged by `jsonschema-rs`, with `pattern` on Rust's `regex`, which is linear in its input like RE2 (see
docs/adr/0006-sanitizer.md). Types (`x-type`) are judged by this package, wherever the schema puts them.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import jsonschema_rs
import orjson

from engine.errors import Violation
from engine.reference import has_reference
from engine.values import JsonObject
from gateway.addresses import PUBLIC_ONLY, AddressPolicy
from gateway.errors import HookRefusedError
from gateway.sanitizer.dialect import SCHEMA_BYTES_MAX, DialectError, check_dialect
from gateway.sanitizer.limits import DEFAULT_LIMITS, ParameterLimits, check_limits
from gateway.sanitizer.placement import Path, Place, PlacementError, place, typed_strings
from gateway.sanitizer.sanitize import CHECKS, violation

Pending = Callable[[str], bool]

VIOLATIONS_MAX: Final = 64
_PATTERN_BYTES_MAX: Final = 1024 * 1024  # one pattern, compiled
_NAMES_MAX: Final = 8  # unknown members that are named one by one
_NAME_CHARS_MAX: Final = 64  # of an unknown member, in a field path

# Keywords whose answer about a container may change once a reference inside it is resolved.
_DEPENDS_ON_VALUES: Final = frozenset(
    {"anyOf", "oneOf", "not", "const", "enum", "uniqueItems", "contains", "maxContains", "minContains",
     "unevaluatedProperties", "unevaluatedItems"}
)  # fmt: skip
# What growth mends: of these a value that is being written has broken none for good.
_GROWING: Final = frozenset(
    {"required", "minLength", "minItems", "minProperties", "contains", "minContains", "dependentRequired"}
)
_EMPTY: Final = "is not filled in yet"
_LIMIT_KEYWORDS: Final = frozenset({"maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"})
# The library's messages repeat names, which are the client's; values are masked already.
_ABOUT_NAMES: Final = {
    "propertyNames": "has a key that is not allowed here",
    "unevaluatedProperties": "has a member that is not allowed here",
}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class DraftFindings:
    """What is wrong whatever is added, and what is not there yet."""

    wrong: tuple[Violation, ...]
    missing: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class ParameterSchema:
    """A schema, prepared once and used for every document."""

    _shape: jsonschema_rs.Draft202012Validator
    _types: Place
    _addresses: AddressPolicy
    _limits: ParameterLimits

    @classmethod
    def compile(
        cls,
        schema: JsonObject,
        *,
        addresses: AddressPolicy = PUBLIC_ONLY,
        limits: ParameterLimits = DEFAULT_LIMITS,
    ) -> "ParameterSchema":
        """Prepare `schema`, in the dialect of docs/sanitization.md.

        Raises:
            HookRefusedError: it is none (`schema.invalid`): a keyword or type that does not exist, another document,
                a pattern that needs backtracking, a string without a maximum, two types for one string.
        """
        own = _private_copy(schema)
        try:
            check_dialect(own, frozenset(CHECKS))
            shape = jsonschema_rs.Draft202012Validator(
                own,
                pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES_MAX),
                offline=True,
                mask="it",
            )
            return cls(shape, place(own), addresses, limits)
        except (DialectError, PlacementError) as err:
            raise HookRefusedError(f"schema: {err}", code="schema.invalid") from err
        except (jsonschema_rs.ValidationError, ValueError) as err:
            raise HookRefusedError(f"schema: {_first_line(err)}", code="schema.invalid") from err

    def check(self, parameters: JsonObject, *, field: str, pending: Pending | None = None) -> tuple[Violation, ...]:
        """Return what is wrong with `parameters`, at most `VIOLATIONS_MAX`; empty means that they may be used as is.

        A string for which `pending` answers True holds a reference that is not resolved yet: whatever is said about
        that leaf, its type included, waits for the check of the resolved parameters.
        """
        if finding := check_limits(parameters, self._limits):
            return (violation("parameters", finding, field),)
        found = list(self._check_types(parameters, field, pending))
        if not self._shape.is_valid(parameters):
            found += self._check_shape(parameters, field, pending)
        return tuple(found[:VIOLATIONS_MAX])

    def check_draft(self, parameters: JsonObject, *, field: str) -> "DraftFindings":
        """Return what is wrong with parameters that are still being written, apart from what is not there yet.

        References wait as in `check`; each sort of finding is at most `VIOLATIONS_MAX`.
        """
        if finding := check_limits(parameters, self._limits):
            return DraftFindings((violation("parameters", finding, field),), ())
        empty = set(_empty_fields(parameters, field))
        wrong: list[Violation] = []
        missing: list[Violation] = []
        for found in self._check_types(parameters, field, has_reference):
            (missing if found.field in empty else wrong).append(found)
        for error in islice(self._shape.iter_errors(parameters), VIOLATIONS_MAX * 4):
            if not _waits(error, has_reference):
                (missing if _may_come(error) else wrong).extend(_violations(error, field))
        told = {found.field: replace(found, message=_EMPTY) if found.field in empty else found for found in missing}
        return DraftFindings(tuple(wrong[:VIOLATIONS_MAX]), tuple(told.values())[:VIOLATIONS_MAX])

    def _check_types(self, parameters: JsonObject, field: str, pending: Pending | None) -> Iterator[Violation]:
        for string in typed_strings(self._types, parameters):
            finding = CHECKS[string.type_name](string.value, self._addresses)
            if finding is not None and not (pending is not None and not string.is_key and pending(string.value)):
                yield violation(string.type_name, finding, field_path(field, string.path))

    def _check_shape(self, parameters: JsonObject, field: str, pending: Pending | None) -> list[Violation]:
        found: list[Violation] = []
        for error in islice(self._shape.iter_errors(parameters), VIOLATIONS_MAX * 4):
            if pending is not None and _waits(error, pending):
                continue
            found += _violations(error, field)
        return found


def _empty_fields(value: object, field: str) -> Iterator[str]:
    """Yield the fields that are null or an empty string, at any depth."""
    waiting: list[tuple[str, object]] = [(field, value)]
    while waiting:
        at, held = waiting.pop()
        if held is None or held == "":
            yield at
        elif isinstance(held, dict):
            waiting += [(field_path(at, (name,)), inner) for name, inner in held.items()]
        elif isinstance(held, list):
            waiting += [(field_path(at, (index,)), inner) for index, inner in enumerate(held)]


def _may_come(error: jsonschema_rs.ValidationError) -> bool:
    """Return whether what `error` says may come right by something being filled in, rather than changed."""
    kind = error.kind
    if kind.name in _GROWING or error.instance is None or error.instance == "":
        return True
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.OneOfNotValid | jsonschema_rs.ValidationErrorKind.AnyOf):
        return any(all(map(_may_come, branch)) for branch in kind.context)
    return False


def _private_copy(schema: JsonObject) -> dict[str, object]:
    """Return a copy that nobody else can change, once it is known to be bounded JSON."""
    if finding := check_limits(schema, ParameterLimits(bytes_max=SCHEMA_BYTES_MAX)):
        raise HookRefusedError(f"schema: {finding.message}", code="schema.invalid")
    copy: object = orjson.loads(orjson.dumps(schema))
    if not isinstance(copy, dict):
        raise HookRefusedError("schema: is no object", code="schema.invalid")
    return copy


def _first_line(err: Exception) -> str:
    return str(err).split("\n", 1)[0][:256]


def _waits(error: jsonschema_rs.ValidationError, pending: Pending) -> bool:
    """Return whether `error` is about a value that is not resolved yet."""
    instance = error.instance
    if isinstance(instance, str):
        return pending(instance) and error.kind.name != "propertyNames"
    return error.kind.name in _DEPENDS_ON_VALUES and _holds_pending(instance, pending)


def _holds_pending(value: object, pending: Pending) -> bool:
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if isinstance(at, str):
            if pending(at):
                return True
        elif isinstance(at, dict):
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
    return False


def _violations(error: jsonschema_rs.ValidationError, field: str) -> list[Violation]:
    """Return `error` with the code `schema.<keyword>`, at the member that it is about."""
    keyword = error.kind.name
    at = field_path(field, error.instance_path)
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
        return [_shape_violation(keyword, "is missing", field_path(at, (str(error.kind.property),)))]
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        names = [name[:_NAME_CHARS_MAX] for name in error.kind.unexpected[:_NAMES_MAX]]
        return [_shape_violation(keyword, "is not a parameter of this step kind", field_path(at, (n,))) for n in names]
    return [_shape_violation(keyword, _ABOUT_NAMES.get(keyword) or _first_line(error), at)]


def _shape_violation(keyword: str, message: str, field: str) -> Violation:
    return Violation(
        code=f"schema.{keyword}",
        message=message,
        field=field,
        kind="limit" if keyword in _LIMIT_KEYWORDS else "malformed",
    )


def field_path(prefix: str, path: Path | Sequence[str | int]) -> str:
    """Return `prefix` with `path` behind it: `steps[2].parameters.headers["x-id"]`."""
    parts = [prefix]
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_NAME.fullmatch(step):
            parts.append(f".{step}" if parts != [""] else step)
        else:
            parts.append(f"[{json.dumps(step)}]")  # ASCII: nothing in a field path may be invisible
    return "".join(parts)
