"""Rules as written, taken apart: definitions with their statements, what a name stands for, what a text says."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.policy.authoring.reach import variables
from gateway.policy.rego_ast import Node, ParsedModule, Path, Rule, parse_module, split
from gateway.policy.rego_source import TOKEN

TEXT_CHARS_MAX: Final = 600
_OPENING: Final = frozenset("[{(")
_CLOSING: Final = frozenset("]})")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a body."""

    node: Node
    literal: Node
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition of a rule or function. `else` parts are part of the definition that they follow."""

    path: Path
    module: ParsedModule
    rule: Rule
    text: str  # whole
    arguments: tuple[Node, ...]
    bodies: tuple[tuple[Statement, ...], ...]  # the body, then those of `else`; ordered so that names come first
    value: Node | None  # what the head gives, with the first body: a value, or the key of a set
    value_text: str

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.module.path

    @property
    def line(self) -> int:
        """The line that it begins on."""
        return self.rule.line

    @property
    def head(self) -> str:
        """The first line, for people."""
        return self.text.split("\n", 1)[0][:TEXT_CHARS_MAX]


class Program:
    """The rules of a bundle by path."""

    def __init__(self, modules: Iterable[ParsedModule]) -> None:
        self.modules = tuple(modules)
        self.definitions: dict[Path, list[Definition]] = {}
        self.defaults: dict[Path, tuple[ParsedModule, Rule]] = {}
        for module in self.modules:
            source = SourceText(module)
            for rule in module.rules:
                path = (*module.package, rule.name)
                if rule.default:
                    self.defaults[path] = (module, rule)
                    self.definitions.setdefault(path, [])
                else:
                    self.definitions.setdefault(path, []).append(_definition(source, path, rule))

    @classmethod
    def of(cls, modules: Iterable[tuple[str, str]]) -> "Program":
        """Parse modules that were vetted."""
        return cls(parse_module(path, text) for path, text in modules)

    def resolve(self, name: str, module: ParsedModule) -> Path | None:
        """Return what a name that is no local variable stands for."""
        if name in {"input", "data"}:
            return (name,)
        if (*module.package, name) in self.definitions:
            return (*module.package, name)
        return module.aliases.get(name)

    def rule_at(self, path: Path) -> Path | None:
        """Return the rule that a path leads to, or into; None where it leads to data."""
        return next((path[:end] for end in range(2, len(path) + 1) if path[:end] in self.definitions), None)

    def is_function(self, path: Path) -> bool:
        """Whether there is a function at a path."""
        found = self.definitions.get(path, [])
        return bool(found) and found[0].rule.kind == "function"

    def alias(self, path: Path) -> tuple[Node, ParsedModule] | None:
        """Return the reference that a rule is another name of (`config := data.gateway.config`), or None."""
        found = self.definitions.get(path, [])
        if len(found) != 1 or found[0].rule.kind != "value" or path in self.defaults:
            return None
        definition = found[0]
        if definition.value is None or len(definition.bodies) > 1:
            return None
        plain = split(definition.value)[0] in {"Var", "RefDot", "RefBrack"}
        return (definition.value, definition.module) if plain else None


class SourceText:
    """The text of one file under spans; regorus' spans of strings are without the quotes."""

    def __init__(self, module: ParsedModule) -> None:
        self.module = module
        self.raw = module.text.encode()
        self._strings = list(_strings(module.text))

    def of(self, start: int, end: int) -> str:
        """Return the text between two offsets, quotes at its ends included."""
        first, last = self._whole(start, end)
        return self.raw[first:last].decode()

    def span(self, span: Node) -> str:
        """Return the text under a span."""
        return self.of(span["start"], span["end"])

    def expression(self, node: Node) -> str:
        """Return the text of an expression, parts that its own span leaves out included."""
        start, end = self.extent(node)
        return self.raw[start:end].decode()

    def extent(self, node: Node) -> tuple[int, int]:
        """Return where an expression begins and ends."""
        start, end = self._whole(*_extent(node))
        for _ in range(_unopened(self.raw[start:end].decode())):
            start = self._opening(start)
        text = self.raw[start:end].decode()
        text = _closed(text) if node.keys() & {"Call", "Set"} else text.rstrip()
        return start, start + len(text.encode())

    def _whole(self, start: int, end: int) -> tuple[int, int]:
        for first, last in self._strings:
            if first < start < last:
                start = first
            if first < end < last:
                end = last
        return start, end

    def _opening(self, start: int) -> int:
        """Return the last opening bracket before an offset: regorus begins an object at its last field."""
        return max((self.raw.rfind(bracket, 0, start) for bracket in (b"{", b"[", b"(")), default=start)


def ordered(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Return statements so that names are declared before they are used, as engines order them; else as written."""
    waiting, out, known = list(statements), list[Statement](), set[str]()
    names = {id(each): set(outer_names(each.literal)) for each in statements}
    everything = set().union(*names.values()) if names else set()
    while waiting:
        ready = next((each for each in waiting if _needs(each, everything) - names[id(each)] <= known), waiting[0])
        waiting.remove(ready)
        known |= names[id(ready)]
        out.append(ready)
    return tuple(out)


def outer_names(literal: Node) -> Iterator[str]:
    """Yield the names that a statement declares for those after it."""
    if "SomeIn" in literal:
        for pattern in (literal["SomeIn"]["key"], literal["SomeIn"]["value"]):
            if pattern is not None and "Var" in pattern and pattern["Var"]["value"] != "_":
                yield str(pattern["Var"]["value"])
    expression = literal.get("Expr", {}).get("expr", {})
    if "AssignExpr" in expression and expression["AssignExpr"]["op"] == "ColEq":
        left = expression["AssignExpr"]["lhs"]
        for node in left["Array"]["items"] if "Array" in left else [left]:
            if "Var" in node and node["Var"]["value"] != "_":
                yield str(node["Var"]["value"])


def _needs(statement: Statement, declared_here: set[str]) -> set[str]:
    return set(variables(statement.node)) & declared_here


def _definition(source: SourceText, path: Path, rule: Rule) -> Definition:
    node = rule.node
    variant, head = split(node["head"])
    value = head["key"] if variant == "Set" else (head.get("assign") or {}).get("value")
    bodies = [statements(source, body["query"]) for body in node["bodies"]]
    return Definition(
        path=path,
        module=source.module,
        rule=rule,
        text=source.span(node["span"]),
        arguments=tuple(head["args"]) if variant == "Func" else (),
        bodies=tuple(bodies) or ((),),
        value=value,
        value_text=source.expression(value) if value is not None else "true",
    )


def statements(source: SourceText, query: Node) -> tuple[Statement, ...]:
    """Return the statements of a query, in an order in which they can be evaluated."""
    found = []
    for node in query["stmts"]:
        start = node["span"]["start"]
        line = source.raw[:start].count(b"\n") + 1
        found.append(Statement(node, node["literal"], source.span(node["span"]), line))
    return ordered(found)


def _extent(node: Any) -> tuple[int, int]:
    """Return the first and the last offset of all spans in an expression: a binary one has its operator's place."""
    low, high = 1 << 60, 0
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, list):
            waiting += at
        elif isinstance(at, dict):
            if "start" in at and "end" in at and "line" in at:
                low, high = min(low, at["start"]), max(high, at["end"])
            else:
                waiting += at.values()
    return low, high


def _closed(text: str) -> str:
    """Return a call up to its closing parenthesis: regorus ends one without arguments at the next token."""
    depth = 0
    for token in TOKEN.finditer(text):
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
        if depth == 0 and token[0] in _CLOSING:
            return text[: token.end()]
    return text


def _unopened(text: str) -> int:
    """Return how many brackets are closed that were not opened."""
    depth = low = 0
    for token in TOKEN.finditer(text):
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
        low = min(low, depth)
    return -low


def _strings(text: str) -> Iterator[tuple[int, int]]:
    at, done = 0, 0
    for token in TOKEN.finditer(text):
        at += len(text[done : token.start()].encode())
        size = len(token[0].encode())
        if token[0][0] in '"`' and size > 1:
            yield at, at + size
        at += size
        done = token.end()
