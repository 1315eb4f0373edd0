"""Operands of `not`, named before it, as OPA's compiler does: `not f(g(x))` becomes `v := g(x)` and `not f(v)`.

OPA evaluates the operands of a call outside of the `not` that it stands in, regorus inside: where one is undefined, OPA
answers undefined and regorus true (docs/adr/0002). A policy has to name them itself. In tests it is done here, in what
regorus is given, so that tests may be written as OPA takes them. Lines stay as they are.

Source: v1/ast/compile.go of OPA 1.22.0, `expandExpr`: operands get the statement's own `with`.
"""

from collections.abc import Iterator
from typing import Any

from gateway.errors import PolicyInvalidError
from gateway.policy.authoring.program import SourceText
from gateway.policy.rego_ast import COMPREHENSIONS, SCALARS, Node, Parse, below, split
from gateway.policy.vetting import Module

_NAME = "test__operand"


def hoisted(module: Module, parse: Parse) -> Module:
    """Return a file with the operands of each `not` named; a file that cannot be parsed as it is.

    Every body has to be in braces, which is how `layout` writes them.
    """
    try:
        parsed = parse(module.path, module.text)
    except PolicyInvalidError:
        return module
    source = SourceText(parsed)
    edits: list[tuple[int, int, str]] = []
    for rule in parsed.rules:
        for statement in _negations(rule.node):
            edits += _edits(source, statement, len(edits))
    raw = bytearray(source.raw)
    for start, end, text in sorted(edits, reverse=True):
        raw[start:end] = text.encode()
    return Module(module.path, raw.decode())


def _negations(node: Any) -> Iterator[Node]:
    """Yield the statements that are a `not`, but for those inside of one."""
    if isinstance(node, list):
        for item in node:
            yield from _negations(item)
    elif isinstance(node, dict):
        if "literal" in node and "NotExpr" in node["literal"]:
            yield node
            return
        for item in below(node):
            yield from _negations(item)


def _edits(source: SourceText, statement: Node, count: int) -> list[tuple[int, int, str]]:
    modifiers = statement.get("with_mods") or []
    end = statement["span"]["end"]
    withs = " " + source.of(modifiers[0]["span"]["start"], end) if modifiers else ""
    before, edits = "", []
    for at, node in enumerate(_operands(statement["literal"]["NotExpr"]["expr"])):
        first, last = source.extent(node)
        name = f"{_NAME}_{count + at}"
        before += f"{name} := {source.expression(node)}{withs}; "
        edits.append((first, last, name))
    start = statement["span"]["start"]
    return [(start, start, before), *edits] if edits else []


def _operands(node: Node) -> Iterator[Node]:
    """Yield the operands that OPA evaluates before the statement."""
    kind, fields = split(node)
    if kind == "Call":
        yield from (param for param in fields["params"] if _may_lack(param))
    elif kind == "Membership":
        yield from (side for side in (fields["value"], fields["collection"]) if _may_lack(side))
    elif kind == "BoolExpr":
        for side in (fields["lhs"], fields["rhs"]):
            reference = split(side)[0] in {"RefDot", "RefBrack", "Var"}
            if fields["op"] == "Eq" and reference:
                yield from _operands(side)
            elif _may_lack(side):
                yield side
    elif kind in {"RefDot", "RefBrack"}:
        while (step := split(node))[0] in {"RefDot", "RefBrack"}:
            if step[0] == "RefBrack" and _may_lack(step[1]["index"]):
                yield step[1]["index"]
            node = step[1]["refr"]
        if "Call" in node:
            yield node


def _may_lack(node: Node) -> bool:
    """Whether an operand may be undefined; a wildcard is none."""
    kind, fields = split(node)
    return kind not in SCALARS | COMPREHENSIONS and not (kind == "Var" and fields["value"] == "_")
