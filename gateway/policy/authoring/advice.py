"""What to write instead, by the code of a refusal whose message does not say it; docs/vetting.md has a table of all."""

from collections.abc import Mapping
from typing import Final

_INSTEAD: Final[Mapping[str, str]] = {
    "policy.not_undefined": "x := input.x, then `not f(x)`; or a rule of its own, and `not ready`",
    "policy.in_value": '`"a" in input.ys` as a statement of a body',
    "policy.in_mixed": "two rules, or `some y in […]; x == y`",
    "policy.unification": "`v := x.k` to name a value, `a == b` to compare two",
    "policy.pattern": "`v := x.k` for a pattern of an object; a literal with [0-9] and the like for one of a text",
    "policy.head_undefined": "v := input.m[k] in the body, and v in the head",
    "policy.undeclared": "some i, x in input.a",
    "policy.some": "some x in input.a",
    "policy.wildcard": "some xs in input.a; some x in xs",
    "policy.package_reference": "data.lib.table, the rule in full; calls, `lib.f(x)`, are fine",
    "policy.count": "count([x | some x in input.x])",
    "policy.arithmetic": "plus, minus, mul, div, rem, sum or product, which take whole numbers; or a comparison",
    "policy.number": "1 for 1.0, 1000 for 1e3",
    "policy.sprintf": "concat and format_int; or sprintf with %s, %d and %v, and a value for each",
    "policy.with": "nothing: a test may, in a file named …_test.rego",
    "policy.recursion": "a rule that goes through the levels there are, each of them named",
    "policy.rule_head": "one head and one body for each rule; several rules may have one name",
    "policy.shadows_builtin": "another name",
    "policy.shadowed": "another name for the variable",
    "policy.rule_conflict": "another name for one of the two",
    "policy.data_conflict": "data under another key: what is under a package's path is the package's",
    "policy.outside_roots": "a path under one of the roots, or the root in .manifest",
    "policy.too_deep": "a rule for the inner part, and its name in the outer one",
    "policy.not_supported": "all data in the root's data.json",
    "policy.entrypoint_missing": 'package gateway.<entrypoint>: default decision := {"allow": false, "reasons": []}',
    "policy.unused_import": "nothing in its place: `opa check --strict` refuses it",
}


def advice(code: str) -> str:
    """Return what to write instead of what `code` refuses; "" where the message says it all."""
    return _INSTEAD.get(code, "")
