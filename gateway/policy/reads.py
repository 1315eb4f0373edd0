"""Which parts of its input an entry point's answer depends on, as far as the text of a bundle and its data say.

What is found is never too little: two documents that agree on all of it have one answer. It may be too much. Of each
rule that the decision may come to, every reference to `input` counts, down to its first step that is computed; a name
for a part of the input counts as that whole part.

Left out is what the bundle's own data shut off: the statements of a body after one that cannot hold (`some c in
data.x.closings`, where there are none; `not unrestricted`, where it holds by data alone), and an `else` after a body
that surely holds. Such a statement is about data alone, so no input, and no order of statements, makes it hold.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from engine.values import JsonObject
from gateway.policy.builtins import ALLOWED
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.rego_ast import Node, ParsedModule, Path, Rule, dotted, split, variables
from gateway.policy.vetting import rule_kinds, rule_tables
from gateway.policy.vetting_names import RuleTable

Reads: TypeAlias = tuple[Path, ...]
"""Paths of texts from the input, none below another; the empty path is all of it."""

EVERYTHING: Final[Reads] = ((),)
_INPUT: Final = "input"
_DEPTH_MAX: Final = 32  # of rules that are constants of data by way of other rules
_UNKNOWN: Final = object()  # what data alone do not say
_ABSENT: Final = object()


class InputReads:
    """Says of one bundle what its decisions look at."""

    def __init__(self, parsed: Sequence[ParsedModule], data: JsonObject) -> None:
        """Prepare for all modules of a bundle.

        Raises:
            PolicyInvalidError: they do not fit together.
        """
        self._data = data
        self._kinds = rule_kinds(parsed, ALLOWED)
        self._above = frozenset(path[:end] for path in self._kinds for end in range(1, len(path)))
        self._constants: dict[Path, object] = {}  # what is known of them; each is looked at once
        self._rules: dict[Path, list[_Part]] = defaultdict(list)
        for module, table in zip(parsed, rule_tables(parsed, self._kinds, ALLOWED, data=data), strict=True):
            for rule in module.rules:
                self._rules[(*module.package, rule.name)].append(_Part(table, rule, _declared(module, rule)))

    def of(self, entrypoint: Entrypoint) -> Reads:
        """Return what the decisions of an entry point depend on."""
        waiting, seen, found = [tuple(rule_of(entrypoint).split("."))], set[Path](), set[Path]()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            for part in self._rules.get(path, ()):
                for name, *steps in _references(list(self._live(part))):
                    resolved = part.table.resolve(name)
                    if resolved == (_INPUT,):
                        found.add(tuple(steps))
                    elif resolved is not None:
                        waiting += self._rules_at((*resolved, *steps))
        return _outermost(found)

    def _rules_at(self, path: Path) -> list[Path]:
        """Return the rules that a reference may evaluate."""
        above = [path[:end] for end in range(2, len(path) + 1) if path[:end] in self._kinds]
        if above or path not in self._above:
            return above[:1]
        return [each for each in self._kinds if each[: len(path)] == path]

    # --- what of a rule may be evaluated ---

    def _live(self, part: "_Part") -> Iterator[Any]:
        """Yield what of a rule its answer may depend on."""
        node = part.rule.node
        if part.rule.default:
            yield node["value"]
            return
        if not node["bodies"]:
            yield node["head"]
        for i, body in enumerate(node["bodies"]):
            statements, holds = self._body(part, body["query"])
            yield from statements
            if holds is not False:
                yield node["head"] if i == 0 else body["assign"]
            if holds is True:
                return

    def _body(self, part: "_Part", query: Node) -> tuple[list[Node], bool | None]:
        """Return the statements that may be looked at, and whether all of them hold, whatever the input."""
        live: list[Node] = []
        all_hold: bool | None = True
        for statement in query["stmts"]:
            live.append(statement)
            holds = self._holds(part, statement, 0)
            if holds is False:
                return live, False
            if holds is None:
                all_hold = None
        return live, all_hold

    def _holds(self, part: "_Part", statement: Node, depth: int) -> bool | None:
        """Return whether a statement holds by data alone; None: the input may have a say."""
        kind, fields = split(statement["literal"])
        if statement.get("with_mods") or kind not in {"Expr", "NotExpr", "SomeIn"}:
            return None
        value = self._value(part, fields["collection" if kind == "SomeIn" else "expr"], depth)
        if kind == "SomeIn":
            return False if value is _ABSENT or value in ([], {}) else None
        if value is _UNKNOWN:
            return None
        return (value is _ABSENT or value is False) is (kind == "NotExpr")

    # --- what data alone say ---

    def _value(self, part: "_Part", node: Node, depth: int) -> object:
        """Return the value of a plain reference to data, or to a rule that is one, or `_ABSENT`; else `_UNKNOWN`."""
        path = dotted(node)
        if path is None or path[0] in part.declared or depth > _DEPTH_MAX:
            return _UNKNOWN
        resolved = part.table.resolve(path[0])
        if resolved is None or resolved[0] != "data":
            return _UNKNOWN
        return self._at((*resolved, *path[1:]), depth)

    def _at(self, path: Path, depth: int) -> object:
        for end in range(2, len(path) + 1):
            if path[:end] in self._kinds:
                return _under(self._constant(path[:end], depth + 1), path[end:])
        return _UNKNOWN if path in self._above else _under(self._data, path[1:])

    def _constant(self, path: Path, depth: int) -> object:
        """Return what a rule always is: a part of data by another name, or true; `_UNKNOWN` where it may vary."""
        if path not in self._constants:
            self._constants[path] = self._always(path, depth)
        return self._constants[path]

    def _always(self, path: Path, depth: int) -> object:
        parts = [part for part in self._rules[path] if not part.rule.default]
        if self._kinds[path] != "value" or len(parts) != 1:
            return _UNKNOWN
        (part,) = parts
        _, head = split(part.rule.node["head"])
        bodies = part.rule.node["bodies"]
        if bodies and not all(self._holds(part, each, depth) is True for each in bodies[0]["query"]["stmts"]):
            return _UNKNOWN
        assign = head.get("assign")
        value = True if assign is None else self._value(part, assign["value"], depth)
        has_default = len(parts) < len(self._rules[path])
        return _UNKNOWN if value is _ABSENT and has_default else value  # where data have nothing, it stands in


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the rules of a name, and what names mean in it."""

    table: RuleTable
    rule: Rule
    declared: frozenset[str]  # local names, which may be those of rules and imports, too


def _declared(module: ParsedModule, rule: Rule) -> frozenset[str]:
    """Return the names that a rule gives a meaning of its own, anywhere in it."""
    found: set[str] = set()
    waiting: list[Any] = [rule.node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            for kind, fields in value.items():
                match kind:
                    case "AssignExpr":
                        found.update(variables(fields["lhs"]), variables(fields["rhs"]) if fields["op"] == "Eq" else ())
                    case "SomeIn":
                        found.update(variables([fields["key"], fields["value"]]))
                    case "SomeVars":
                        found.update(module.slice(span) for span in fields["vars"])
                    case "Every":
                        found.update(module.slice(span) for span in (fields["key"], fields["value"]) if span)
                    case "Func":
                        found.update(variables(fields["args"]))
    return frozenset(found)


def _under(value: object, path: Path) -> object:
    for key in path:
        if value is _UNKNOWN or (not isinstance(value, Mapping) and value is not _ABSENT):
            return _UNKNOWN
        value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value


def _references(part: Any) -> Iterator[Path]:
    """Yield each reference in a part of the tree by its name and its first steps, as far as they are texts."""
    waiting = [part]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            kind = next(iter(value), "")
            if kind in {"Var", "RefDot", "RefBrack"} and len(value) == 1:
                path, rest = _steps(value)
                waiting += rest
                if path:
                    yield path
            else:
                waiting += value.values()


def _steps(node: Node) -> tuple[Path, list[Node]]:
    """Return the plain beginning of a reference, and what of it has to be looked at apart."""
    steps: list[str | None] = []
    rest: list[Node] = []
    kind, fields = split(node)
    while kind in {"RefDot", "RefBrack"}:
        if kind == "RefDot":
            steps.append(str(fields["field"][1]))
        elif "String" in fields["index"]:
            steps.append(str(fields["index"]["String"]["value"]))
        else:
            steps.append(None)
            rest.append(fields["index"])
        node = fields["refr"]
        kind, fields = split(node)
    if kind != "Var":
        return (), [*rest, node]
    plain: list[str] = [str(fields["value"])]
    for step in reversed(steps):
        if step is None:
            break
        plain.append(step)
    return tuple(plain), rest


def _outermost(paths: set[Path]) -> Reads:
    """Return the paths that lie below no other one, in an order of their own."""
    return tuple(sorted(path for path in paths if not any(path[:end] in paths for end in range(len(path)))))
