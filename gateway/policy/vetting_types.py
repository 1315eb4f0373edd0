"""What type an expression surely has: OPA does not load a policy whose types cannot meet, so neither does vetting.

Only the outermost type is looked at, and only what is certain: literals, comprehensions, results of builtins, names of
those, rules that are sets or objects. What OPA's own checker knows beyond that (the fields of objects, the elements of
arrays), `opa check` finds.
"""

from typing import Final

from gateway.policy.builtin_types import SIGNATURES, result
from gateway.policy.rego_ast import Node, dotted, split
from gateway.policy.vetting_names import Scope, named

ANY: Final = "*"
_OF_KIND: Final = {
    "String": "s",
    "RawString": "s",
    "Number": "n",
    "UnaryExpr": "n",
    "Bool": "b",
    "BoolExpr": "b",
    "Membership": "b",
    "Null": "z",
    "Array": "a",
    "ArrayCompr": "a",
    "Object": "o",
    "ObjectCompr": "o",
    "Set": "t",
    "SetCompr": "t",
    "BinExpr": "t",
    "ArithExpr": "nt",
}
_NAMES: Final = {"s": "string", "n": "number", "b": "boolean", "z": "null", "a": "array", "o": "object", "t": "set"}
_RULES: Final = {"set": "t", "object": "o"}


def types_of(node: Node, scope: Scope) -> str:
    """Return the letters of `gateway.policy.builtin_types` that `node` may have where it is defined."""
    kind, fields = split(node)
    if kind == "Call":
        name = ".".join(dotted(fields["fcn"]) or ())
        return result(name) if name in SIGNATURES else ANY
    if kind == "Var":
        return named(fields, scope, types_of, _RULES, ANY)
    return _OF_KIND.get(kind, ANY)


def elements_of(node: Node, scope: Scope) -> str:
    """Return the types of the elements of an array or set that is written out."""
    kind, fields = split(node)
    if kind not in {"Array", "Set"} or not fields["items"]:
        return ANY
    types = [types_of(item, scope) for item in fields["items"]]
    return ANY if ANY in types else "".join(types)


def can_meet(left: str, right: str) -> bool:
    """Whether a value may have a type of both."""
    return ANY in {left, right} or not set(left).isdisjoint(right)


def in_words(types: str) -> str:
    """Return types for a message: `string or null`."""
    return " or ".join(_NAMES[letter] for letter in types)
