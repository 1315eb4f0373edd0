"""Variables that a query binds without declaring them: `x = input.a`, `input.xs[i]`, `split(x, "/", parts)`.

OPA calls a variable safe when some statement gives it its values; so does this, by the same fixed point: a statement
gives values to its variables once those that it needs have theirs. What stays without is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.policy.builtins import ARITY, OUTPUT
from gateway.policy.rego_ast import COMPREHENSIONS, Node, children, dotted, split
from gateway.policy.vetting_names import Scope

WILDCARD: Final = "_"


@dataclass(slots=True)
class _Statement:
    """What one statement needs and gives."""

    needs: set[str] = field(default_factory=set)
    gives: dict[str, list[Node]] = field(default_factory=dict)  # by looking something up, with the lookups
    sides: list[set[str]] = field(default_factory=list)  # variables of patterns: of two sides, each can give the other
    values: Mapping[str, Node] = field(default_factory=dict)  # what a single variable is equal to


def bind(query: Node, scope: Scope) -> dict[str, int]:
    """Declare in `scope` what the statements of `query` bind without a declaration.

    Returns:
        For each name the place of the statement that binds it.
    """
    pending = [(place, _of(split(statement["literal"]), scope)) for place, statement in enumerate(query["stmts"])]
    bound: dict[str, int] = {}
    values: dict[str, Node] = {}
    progress = True
    while progress:
        progress = False
        for place, statement in list(pending):
            if not statement.needs <= bound.keys():
                continue
            given = statement.gives.keys() - bound.keys()
            scope.places |= {name: found[0] for name in given if len(found := statement.gives[name]) == 1}
            if not statement.sides or any(side <= bound.keys() | given for side in statement.sides):
                given |= set().union(*statement.sides) - bound.keys()
                pending.remove((place, statement))
            progress = progress or bool(given)
            bound.update(dict.fromkeys(given, place))
            values |= {name: node for name, node in statement.values.items() if name in given}
    scope.names |= {name: values.get(name) for name in bound}
    scope.implied |= bound.keys()
    scope.looped |= bound.keys() - values.keys()
    return bound


def _of(literal: tuple[str, Node], scope: Scope) -> _Statement:
    kind, fields = literal
    out = _Statement()
    if kind != "Expr":
        return out
    kind, inner = split(fields["expr"])
    if kind == "AssignExpr":
        if inner["op"] == "ColEq":
            _value(inner["rhs"], scope, out)
            return out
        sides = (inner["lhs"], inner["rhs"])
        out.sides = [_pattern(side, scope, out) for side in sides]
        out.values = {
            str(side["Var"]["value"]): other
            for side, other in (sides, sides[::-1])
            if "Var" in side and "Var" not in other
        }
    elif (target := output_operand(fields["expr"])) is not None:
        for operand in inner["params"][:-1]:
            _value(operand, scope, out)
        out.sides = [set(), _pattern(target, scope, out)]
    else:
        _value(fields["expr"], scope, out)
    return out


def output_operand(node: Node) -> Node | None:
    """Return the operand of a call that takes its result, `x` of `lower(input.a, x)`, where there is one."""
    kind, fields = split(node)
    name = ".".join(dotted(fields["fcn"]) or ()) if kind == "Call" else ""
    if name not in OUTPUT or len(fields["params"]) != ARITY[name] + 1:
        return None
    last: Node = fields["params"][-1]
    return last


def is_fresh(node: Node, scope: Scope) -> bool:
    """Whether `node` is a variable that nothing around it declares or names."""
    if "Var" not in node:
        return False
    name = str(node["Var"]["value"])
    return name != WILDCARD and not scope.holds(name) and scope.table.resolve(name) is None


def _pattern(node: Node, scope: Scope, out: _Statement) -> set[str]:
    """Return the variables that `node` can be given; what else is in it is a value."""
    if is_fresh(node, scope):
        return {str(node["Var"]["value"])}
    if "Array" in node:
        return set().union(*(_pattern(item, scope, out) for item in node["Array"]["items"]))
    _value(node, scope, out)
    return set()


def _value(node: Node, scope: Scope, out: _Statement) -> None:
    kind, fields = split(node)
    if kind in COMPREHENSIONS:
        return
    if is_fresh(node, scope):
        out.needs.add(str(fields["value"]))
    elif kind == "RefBrack":
        if is_fresh(fields["index"], scope):
            out.gives.setdefault(str(fields["index"]["Var"]["value"]), []).append(fields)
        else:
            _value(fields["index"], scope, out)
        _value(fields["refr"], scope, out)
    else:
        for child in children(node):
            _value(child, scope, out)
