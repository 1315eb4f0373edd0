"""What no decision depends on: rules that nothing reaches from the entrypoints, and imports that nothing names.

Conservative: a local variable that has a rule's name counts as a use of the rule, and a lookup that is computed counts
as a use of everything below. So what is told here is true; what is not told may still be unused.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.errors import PolicyInvalidError
from gateway.policy.engine import ENTRYPOINTS, rule_of
from gateway.policy.rego_ast import Node, ParsedModule, Path


def unreachable(modules: Sequence[ParsedModule]) -> Iterator[PolicyInvalidError]:
    """Yield each rule that no decision depends on, at its first line; as `policy.unreachable`."""
    first: dict[Path, tuple[ParsedModule, int]] = {}
    uses: dict[Path, set[Path]] = {}
    for module in modules:
        for rule in module.rules:
            path = (*module.package, rule.name)
            first.setdefault(path, (module, rule.line))
            uses.setdefault(path, set()).update(references(rule.node, module))
    reached: set[Path] = set()
    waiting = [path for name in ENTRYPOINTS if (path := tuple(rule_of(name).split("."))) in first]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += [rule for target in uses[path] for rule in rules_at(target, first)]
    for path in first.keys() - reached:
        module, line = first[path]
        yield module.refuse(line, "policy.unreachable", f"no decision depends on {'.'.join(path)}")


def unused_imports(modules: Sequence[ParsedModule]) -> Iterator[PolicyInvalidError]:
    """Yield each import that its file does not name; as `policy.unused_import`."""
    for module in modules:
        names = {name for rule in module.rules for name in variables(rule.node)}
        for alias, target in module.aliases.items():
            if alias not in names:
                yield module.refuse(
                    import_line(module, target), "policy.unused_import", f"{alias} is imported and not used"
                )


def references(node: Any, module: ParsedModule) -> Iterator[Path]:
    """Yield the paths under `data` that a node may refer to; imports, and rules beside it, are resolved."""
    if isinstance(node, list):
        for item in node:
            yield from references(item, module)
    elif isinstance(node, dict):
        if node.keys() & {"Var", "RefDot", "RefBrack"}:
            path = constant_path(node)
            if path and path[0] == "data":
                yield path
            elif path and path[0] in module.aliases:
                yield (*module.aliases[path[0]], *path[1:])
            elif path and path[0] != "input":
                yield (*module.package, *path)
            yield from references(_inside(node), module)
        else:
            for item in node.values():
                yield from references(item, module)


def _inside(node: Node) -> list[Node]:
    """Return what a reference looks up by, and what it begins with, if that is no name."""
    inside = []
    while node.keys() & {"RefDot", "RefBrack"}:
        if "RefBrack" in node:
            inside.append(node["RefBrack"]["index"])
            node = node["RefBrack"]["refr"]
        else:
            node = node["RefDot"]["refr"]
    return inside if "Var" in node else [*inside, node]


def constant_path(node: Node) -> Path:
    """Return the names that a reference begins with, up to the first index that is computed."""
    names: list[str] = []
    while "Var" not in node:
        if "RefDot" in node:
            names.append(str(node["RefDot"]["field"][1]))
            node = node["RefDot"]["refr"]
        elif "RefBrack" in node:
            index = node["RefBrack"]["index"]
            if "String" in index:
                names.append(str(index["String"]["value"]))
            else:
                names.clear()
            node = node["RefBrack"]["refr"]
        else:
            return ()  # of a call, or of a literal
    return (str(node["Var"]["value"]), *reversed(names))


def rules_at(target: Path, rules: Any) -> Iterator[Path]:
    """Yield the rules that a reference to `target` may evaluate."""
    for end in range(2, len(target) + 1):
        if target[:end] in rules:
            yield target[:end]
            return
    yield from (path for path in rules if path[: len(target)] == target)


def variables(node: Any) -> Iterator[str]:
    """Yield every name that occurs in a node of the syntax tree."""
    if isinstance(node, list):
        for item in node:
            yield from variables(item)
    elif isinstance(node, dict):
        if "Var" in node:
            yield str(node["Var"]["value"])
        for item in node.values():
            yield from variables(item)


def import_line(module: ParsedModule, target: Path) -> int:
    """Return the line on which a file imports `target`."""
    wanted = ["import", ".".join(target)]
    lines = module.text.split("\n")
    return next((at for at, line in enumerate(lines, start=1) if line.split()[:2] == wanted), 1)
