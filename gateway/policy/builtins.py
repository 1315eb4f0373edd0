"""The builtins that a policy may call: those whose answers were compared with OPA's, and agree wherever both answer.

A builtin is missing here for one of four reasons, and `why_refused` names it. Where regorus raises an error and OPA
leaves the value undefined (a wrong type, say), the decision is refused, which is the safe side of the rule.
"""

from typing import Final

COLLECTIONS: Final = frozenset(
    {
        "array.concat",
        "array.reverse",
        "array.slice",
        "intersection",
        "object.filter",
        "object.keys",
        "object.remove",
        "object.union",
        "sort",
        "split",
        "union",
    }
)
"""Allowed, and sure to return an array, object or set."""

ALLOWED: Final = COLLECTIONS | frozenset(
    {
        "concat",
        "contains",
        "count",  # of collections only: characters of a string are counted differently
        "endswith",
        "format_int",
        "glob.match",  # with a plain literal pattern only
        "indexof",
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "max",
        "min",
        "object.get",
        "regex.match",  # with a plain literal pattern only
        "replace",
        "sprintf",  # in a reason's message only
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "substring",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
    }
)

_OUTSIDE: Final = ("http.", "net.lookup", "opa.", "rand.", "rego.", "time.", "trace", "print", "uuid.")
_DIFFERENT: Final = (
    "json.",
    "walk",
    "lower",
    "upper",
    "net.",
    "semver.",
    "bits.",
    "regex.",
    "glob.",
    "sum",
    "product",
    "to_number",
    "base64",
    "units.",
    "round",
    "ceil",
    "floor",
    "abs",
    "numbers.",
)


def why_refused(name: str) -> str:
    """Return the reason why a policy may not call `name`, for the message of the refusal."""
    if name.startswith(_OUTSIDE):
        return "its answer depends on more than the input, so a decision could not be replayed"
    if name.startswith(_DIFFERENT):
        return "regorus and OPA answer differently for some inputs, or were not shown to agree"
    return "there is no such builtin, or it has not been compared with OPA"
