"""Names of imported packages, written out: `effect.decision` becomes `data.gateway.effect.decision`.

regorus evaluates a whole package where one is named through an import, and then answers differently (docs/adr/0002).
Policies have to write the rule in full; for tests, which name the package under test all the time, it is done here.
Lines stay as they are.
"""

from collections.abc import Iterator
from typing import Any

from gateway.errors import PolicyInvalidError
from gateway.policy.rego_ast import Node, ParsedModule, Rule, parse_module, split
from gateway.policy.vetting import Module


def written_out(module: Module) -> Module:
    """Return a file in which no reference goes through an import; a file that cannot be parsed as it is."""
    try:
        parsed = parse_module(module.path, module.text)
    except PolicyInvalidError:
        return module
    raw = bytearray(module.text.encode())
    places = {place for rule in parsed.rules for place in _places(parsed, rule)}
    for start, end, name in sorted(places, reverse=True):
        raw[start:end] = name.encode()
    return Module(module.path, raw.decode())


def _places(module: ParsedModule, rule: Rule) -> Iterator[tuple[int, int, str]]:
    """Yield the span of each imported name that a reference begins with, and what to write there."""
    local = set(declared(rule.node, module))
    for node in reference_heads(rule.node):
        name = str(node["value"])
        if name in module.aliases and name not in local:
            yield node["span"]["start"], node["span"]["end"], ".".join(module.aliases[name])


def reference_heads(node: Any) -> Iterator[Node]:
    """Yield the first name of each reference with a path behind it; functions that are called are left out."""
    if isinstance(node, list):
        for item in node:
            yield from reference_heads(item)
    elif isinstance(node, dict):
        for kind in ("RefDot", "RefBrack"):
            if kind in node and "Var" in node[kind]["refr"]:
                yield node[kind]["refr"]["Var"]
        for name, item in node.items():
            if name != "fcn":
                yield from reference_heads(item)


def declared(node: Any, module: ParsedModule) -> Iterator[str]:
    """Yield every name that is declared somewhere in a rule: arguments, `:=`, `some`, `every`."""
    if isinstance(node, list):
        for item in node:
            yield from declared(item, module)
        return
    if not isinstance(node, dict):
        return
    if "SomeIn" in node:
        yield from _names([node["SomeIn"]["key"], node["SomeIn"]["value"]])
    if "Every" in node:
        yield from (module.slice(span) for span in (node["Every"]["key"], node["Every"]["value"]) if span)
    if "AssignExpr" in node and node["AssignExpr"]["op"] == "ColEq":
        yield from _names([node["AssignExpr"]["lhs"]])
    if "Func" in node:
        yield from _names(node["Func"]["args"])
    for item in node.values():
        yield from declared(item, module)


def _names(nodes: list[Node | None]) -> Iterator[str]:
    for node in nodes:
        if node is None:
            continue
        kind, fields = split(node)
        if kind == "Var":
            yield str(fields["value"])
        elif kind == "Array":
            yield from _names(fields["items"])
