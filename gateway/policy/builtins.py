"""The builtins that a policy may call: those whose answers were compared with OPA's, and agree wherever both answer.

`NATIVE` are regorus' own, `SUPPLIED` are this gateway's (`gateway.policy.supplied`). A builtin is missing for one of
the reasons of `why_refused`, which says what to write instead. Where one raises an error and OPA leaves the value
undefined (a wrong type, say), the decision is refused, which is the safe side of the rule.
"""

from collections.abc import Mapping
from typing import Final

from gateway.policy.supplied import SUPPLIED, arity

NATIVE: Final[Mapping[str, int]] = {
    "array.concat": 2,
    "array.reverse": 1,
    "concat": 2,
    "contains": 2,
    "count": 1,  # of collections only: characters of a string are counted differently
    "endswith": 2,
    "intersection": 1,
    "is_array": 1,
    "is_boolean": 1,
    "is_null": 1,
    "is_number": 1,
    "is_object": 1,
    "is_set": 1,
    "is_string": 1,
    "json.patch": 2,
    "max": 1,
    "min": 1,
    "object.filter": 2,
    "object.get": 3,
    "object.keys": 1,
    "object.remove": 2,
    "object.union": 2,
    "regex.find_all_string_submatch_n": 3,  # this and the next four: with a plain literal pattern only
    "regex.find_n": 3,
    "regex.is_valid": 1,
    "regex.match": 2,
    "regex.replace": 3,
    "sort": 1,
    "split": 2,
    "startswith": 2,
    "strings.any_prefix_match": 2,
    "strings.any_suffix_match": 2,
    "trim": 2,
    "trim_left": 2,
    "trim_prefix": 2,
    "trim_right": 2,
    "trim_space": 1,
    "trim_suffix": 2,
    "type_name": 1,
    "union": 1,
}
"""Name of each builtin of regorus that agrees with OPA's, and how many operands it has."""

ARITY: Final[Mapping[str, int]] = {**NATIVE, **{name: arity(name) for name in SUPPLIED}}
ALLOWED: Final = frozenset(ARITY)

_WITHOUT_OUTPUT: Final = frozenset(
    name
    for name in ARITY
    if name.startswith(("crypto.", "io.jwt."))
    or name in {"array.flatten", "div", "minus", "mul", "plus", "rem", "strings.split_n"}
    or name in {"net.cidr_contains_matches", "net.cidr_intersects", "net.cidr_merge"}
)
OUTPUT: Final = ALLOWED - _WITHOUT_OUTPUT
"""Builtins that regorus knows as well, so that it takes one more operand for the result, `lower(input.a, x)`."""

COLLECTIONS: Final = frozenset(
    {
        "array.concat",
        "array.flatten",
        "array.reverse",
        "array.slice",
        "graph.reachable",
        "indexof_n",
        "intersection",
        "io.jwt.decode",
        "io.jwt.decode_verify",
        "json.filter",
        "json.remove",
        "net.cidr_contains_matches",
        "net.cidr_expand",
        "net.cidr_merge",
        "numbers.range",
        "numbers.range_step",
        "object.filter",
        "object.keys",
        "object.remove",
        "object.union",
        "object.union_n",
        "regex.find_all_string_submatch_n",
        "regex.find_n",
        "regex.split",
        "sort",
        "split",
        "strings.split_n",
        "time.clock",
        "time.date",
        "time.diff",
        "union",
        "urlquery.decode_object",
    }
)
"""Allowed, and sure to return an array, object or set."""

WHOLE: Final[Mapping[str, int]] = {
    **dict.fromkeys(["ceil", "floor", "round"], 53),
    **dict.fromkeys(["strings.count", "indexof", "count"], 32),
    "semver.compare": 1,
}
"""Allowed, and sure to return a whole number of at most so many bits: what arithmetic may be done with."""

_OUTSIDE: Final = {
    "http.": "`http.send` asks another service: have the host put what it says into the input, or into data.json",
    "net.lookup": "names are resolved by the host: compare addresses from the input",
    "opa.": "`opa.runtime` differs from host to host: put what a policy needs into data.json",
    "rand.": "a policy has no randomness: take a value from the input",
    "rego.": "a decision has no metadata or parser: give the reason its `rule` as text",
    "time.now_ns": "a policy has no clock: read `input.time`",
    "trace": "remove it: a decision keeps no trace",
    "print": "remove it; `missiongate policy eval` shows values",
    "uuid.rfc4122": "a policy has no randomness: take an identifier from the input",
}
_INSTEAD: Final = {
    "uuid.parse": "`regex.match` with a literal pattern",
    "regex.split": "`split`",
    "walk": "name the levels, `some k, v in input.x`, or let the host pass what is looked for",
    "time.parse_ns": "`time.parse_rfc3339_ns`",
    "regex.template_match": "`regex.match` with a literal pattern",
    "regex.globs_match": "`glob.match`",
    "glob.quote_meta": "a pattern without special signs",
    "graphql.": "a policy that reads GraphQL needs the engine `opa` (policy.engine)",
    "json.match_schema": "conditions on the fields, `is_string(input.x)`, or the engine `opa`",
    "json.verify_schema": "conditions on the fields, or the engine `opa`",
    "json.marshal_with_options": "`json.marshal`",
    "yaml.": "JSON, `json.unmarshal`",
    "crypto.x509.": "facts about a certificate that the host puts into the input, or the engine `opa`",
    "crypto.parse_private_keys": "nothing: a policy holds no private keys",
    "io.jwt.encode": "nothing: a policy signs no tokens",
    "providers.aws": "nothing: a policy signs no requests",
    "graph.reachable_paths": "`graph.reachable`",
    "object.union_n": "`object.union`",
    "cast_": "`is_array` and its like",
    "set_diff": "`a - b`",
    "re_match": "`regex.match`",
    "net.cidr_overlap": "`net.cidr_contains`",
    "strings.render_template": "`concat` or `sprintf`",
}


def why_refused(name: str) -> str:
    """Return the reason why a policy may not call `name`, and what to write instead."""
    for beginning, instead in _OUTSIDE.items():
        if name.startswith(beginning):
            return f"its answer depends on more than the input, so a decision could not be replayed; {instead}"
    for beginning, instead in _INSTEAD.items():
        if name.startswith(beginning):
            return f"regorus has no such builtin, or answers otherwise than OPA; use {instead}"
    return "there is no such builtin, or it has not been compared with OPA; use another, or the engine `opa`"
