"""Names of imported packages, written out: `effect.decision` becomes `data.gateway.effect.decision`.

regorus evaluates a whole package where one is named through an import, and then answers differently (docs/adr/0002).
Policies have to write the rule in full; for tests, which name the package under test all the time, it is done here.
Lines stay as they are.
"""

from collections.abc import Iterator
from typing import Any

from gateway.errors import PolicyInvalidError
from gateway.policy.rego_ast import Node, Parse, ParsedModule, Rule, below, split
from gateway.policy.vetting import Module


def written_out(module: Module, parse: Parse) -> Module:
    """Return a file in which no reference goes through an import; a file that cannot be parsed as it is."""
    try:
        parsed = parse(module.path, module.text)
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
    for at in _dicts(node, called=False):
        for kind in ("RefDot", "RefBrack"):
            if kind in at and "Var" in at[kind]["refr"]:
                yield at[kind]["refr"]["Var"]


def declared(node: Any, module: ParsedModule) -> Iterator[str]:
    """Yield every name that is declared somewhere in a rule: arguments, `:=`, `some`, `every`."""
    for at in _dicts(node):
        if "SomeIn" in at:
            yield from _names([at["SomeIn"]["key"], at["SomeIn"]["value"]])
        if "Every" in at:
            yield from (module.slice(span) for span in (at["Every"]["key"], at["Every"]["value"]) if span)
        if "AssignExpr" in at and at["AssignExpr"]["op"] == "ColEq":
            yield from _names([at["AssignExpr"]["lhs"]])
        if "Func" in at:
            yield from _names(at["Func"]["args"])


def _dicts(node: Any, *, called: bool = True) -> Iterator[Node]:
    """Yield every object of a tree, in no order; `called` says whether the names of functions that are called, too."""
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, list):
            waiting += at
        elif isinstance(at, dict):
            yield at
            name = None if called else at.get("fcn")
            waiting += below(at) if name is None else (part for part in below(at) if part is not name)


def _names(nodes: list[Node | None]) -> Iterator[str]:
    for node in nodes:
        if node is None:
            continue
        kind, fields = split(node)
        if kind == "Var":
            yield str(fields["value"])
        elif kind == "Array":
            yield from _names(fields["items"])
