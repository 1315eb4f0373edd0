"""The part of JSON Schema, Draft 2020-12, that step kinds and effects may use.

A closed list: a keyword that is misspelt, that reaches for another document, or whose effect on `x-type` nobody can
say at a glance, is an error when the schema is compiled, not a hole when it is used.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

SCHEMA_BYTES_MAX: Final = 256 * 1024
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/$defs/"

Step: TypeAlias = tuple[str, object]  # a pointer and what it points at

_ONE: Final = frozenset(
    {"additionalProperties", "items", "contains", "not", "if", "then", "else", "propertyNames",
     "unevaluatedItems", "unevaluatedProperties"}
)  # fmt: skip
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
_ANNOTATIONS: Final = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)
_ASSERTIONS: Final = frozenset(
    {"$ref", "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
     "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains",
     "maxProperties", "minProperties", "required", "dependentRequired", "x-type"}
)  # fmt: skip
_KNOWN: Final = _ANNOTATIONS | _ASSERTIONS | _ONE | _LIST | _NAMED

# Below these an `x-type` would have to be evaluated to know where it applies, or would be turned round.
_WITHOUT_TYPES: Final = frozenset(
    {"not", "if", "contains", "patternProperties", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"}
)
_BOUNDS_A_STRING: Final = ("x-type", "enum", "const", "maxLength")


class DialectError(Exception):
    """A schema uses something that this dialect has not; the message begins with a JSON pointer."""


def check_dialect(schema: Mapping[str, object], type_names: frozenset[str]) -> None:
    """Return if every keyword of `schema` is one that this dialect has, used as it may be.

    Raises:
        DialectError: it is not.
    """
    waiting: list[tuple[str, object, bool]] = [("", schema, True)]
    while waiting:
        pointer, subschema, types_allowed = waiting.pop()
        if isinstance(subschema, bool):
            continue
        if not isinstance(subschema, Mapping):
            raise DialectError(f"{pointer or '/'}: is no schema")
        _check_keywords(pointer, subschema, type_names, types_allowed=types_allowed)
        for keyword, value in subschema.items():
            allowed = types_allowed and keyword not in _WITHOUT_TYPES
            waiting += ((p, s, allowed) for p, s in _subschemas(f"{pointer}/{keyword}", keyword, value))


def _subschemas(pointer: str, keyword: str, value: object) -> Iterator[Step]:
    if keyword in _ONE:
        yield pointer, value
    elif keyword in _LIST and isinstance(value, list):
        yield from ((f"{pointer}/{index}", element) for index, element in enumerate(value))
    elif keyword in _NAMED and isinstance(value, Mapping):
        yield from ((f"{pointer}/{name}", member) for name, member in value.items())


def _check_keywords(
    pointer: str, subschema: Mapping[str, object], type_names: frozenset[str], *, types_allowed: bool
) -> None:
    for keyword, value in subschema.items():
        if keyword not in _KNOWN:
            raise DialectError(f"{pointer}/{keyword}: this keyword is not supported")
        if keyword == "$schema" and (pointer or value != DRAFT):
            raise DialectError(f"{pointer}/$schema: must be {DRAFT}, at the root")
        if keyword == "$defs" and pointer:
            raise DialectError(f"{pointer}/$defs: must be at the root")
        if keyword == "$ref" and not (isinstance(value, str) and _is_local(value)):
            raise DialectError(f"{pointer}/$ref: must be {_REFERENCE}NAME; no other document is ever fetched")
        if keyword == "x-type" and value not in type_names:
            raise DialectError(f"{pointer}/x-type: there is no such type; there are {', '.join(sorted(type_names))}")
        if keyword == "x-type" and not types_allowed:
            raise DialectError(f"{pointer}/x-type: may not stand below any of {', '.join(sorted(_WITHOUT_TYPES))}")
    _check_string(pointer, subschema)


def _check_string(pointer: str, subschema: Mapping[str, object]) -> None:
    """A string has a maximum, and what has the type of a string says that it is one."""
    kinds = subschema.get("type")
    may_be_string = kinds == "string" or (isinstance(kinds, list) and "string" in kinds)
    if may_be_string and not any(keyword in subschema for keyword in _BOUNDS_A_STRING):
        raise DialectError(f"{pointer}: a string needs a maximum: one of {', '.join(_BOUNDS_A_STRING)}")
    if "x-type" in subschema and not may_be_string and not pointer.endswith("/propertyNames"):
        raise DialectError(f'{pointer}/x-type: needs "type": "string" beside it, or other values would pass unchecked')


def _is_local(reference: str) -> bool:
    name = reference.removeprefix(_REFERENCE)
    return name != reference and name.isascii() and name.replace("_", "").replace("-", "").isalnum()
