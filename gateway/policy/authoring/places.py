"""Where values come from: the place in the input or in the data that an expression of a rule stands for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from gateway.policy.authoring.edits import Place, at
from gateway.policy.authoring.program import Program, Statement
from gateway.policy.rego_ast import Node, ParsedModule, Path, split

_DEPTH_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a function: the expression that was given for it, where it was given."""

    node: Node
    context: "Context"


@dataclass(frozen=True, slots=True)
class Element:
    """A name that goes through a collection."""

    collection: Node


Origin: TypeAlias = Argument | Element | Node
Evaluate: TypeAlias = Callable[["Context", Node], tuple[bool, Any]]


@dataclass(frozen=True, slots=True)
class Context:
    """The names of one body, with one set of values, over one input and one data document."""

    program: Program
    module: ParsedModule
    documents: Mapping[str, Any]  # "input" and "data"
    names: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    evaluate: "Evaluate | None" = None  # for values that no place has: those of rules and calls

    def within(self, names: Mapping[str, Any], statements: tuple[Statement, ...]) -> "Context":
        """Return the context behind statements of the same body."""
        origins = {**self.origins, **origins_of(statements)}
        return Context(self.program, self.module, self.documents, {**self.names, **names}, origins, self.evaluate)

    def place(self, node: Node, depth: int = 0) -> Place | None:
        """Return the place that an expression stands for, whether there is something or not; None where it is none."""
        if depth > _DEPTH_MAX:
            return None
        kind, fields = split(node)
        if kind == "Var":
            return self._named(str(fields["value"]), depth + 1)
        if kind in {"RefDot", "RefBrack"}:
            base = self.place(fields["refr"], depth + 1)
            if base is None:
                return None
            known, key = (True, fields["field"][1]) if kind == "RefDot" else self.value(fields["index"], depth + 1)
            fits = known and isinstance(key, str | int) and not isinstance(key, bool)
            return self._through((*base, key), depth) if fits else None
        return None

    def value(self, node: Node, depth: int = 0) -> tuple[bool, Any]:
        """Return whether an expression has a value, and which."""
        kind, fields = split(node)
        if kind in {"String", "RawString", "Number", "Bool"}:
            return True, fields["value"]
        if kind == "Null":
            return True, None
        if kind == "Var" and str(fields["value"]) in self.names:
            return True, self.names[str(fields["value"])]
        place = self.place(node, depth + 1)
        if place is not None:
            return self.found(place)
        return (False, None) if self.evaluate is None else self.evaluate(self, node)

    def found(self, place: Place) -> tuple[bool, Any]:
        """Return whether there is something at a place, and what."""
        return at(self.documents[str(place[0])], place[1:])

    def _named(self, name: str, depth: int) -> Place | None:
        origin = self.origins.get(name)
        if isinstance(origin, Argument):
            return origin.context.place(origin.node, depth)
        if isinstance(origin, Element):
            base = self.place(origin.collection, depth)
            return None if base is None else self._index(base, self.names.get(name))
        if origin is not None:
            return self.place(origin, depth)
        if name in self.names:
            return None
        path = self.program.resolve(name, self.module)
        return None if path is None else self._through(path, depth)

    def _through(self, place: Place, depth: int) -> Place | None:
        """Follow rules that are other names of a reference; any other rule has no place."""
        if place[0] != "data":
            return place
        names: Path = tuple(part for part in place if isinstance(part, str))
        rule = self.program.rule_at(names)
        if rule is None:
            return place
        alias = self.program.alias(rule)
        if alias is None or depth > _DEPTH_MAX:
            return None
        node, module = alias
        base = replace(self, module=module, names={}, origins={}).place(node, depth + 1)
        return None if base is None else (*base, *place[len(rule) :])

    def _index(self, base: Place, value: Any) -> Place | None:
        known, container = self.found(base)
        if not known:
            return None
        if isinstance(container, list):
            return next(((*base, index) for index, item in enumerate(container) if item == value), None)
        if isinstance(container, Mapping):
            return next(((*base, key) for key, item in container.items() if item == value), None)
        return None


def origins_of(statements: tuple[Statement, ...]) -> dict[str, Origin]:
    """Return what the names that statements declare come from, where it is one expression."""
    out: dict[str, Origin] = {}
    for statement in statements:
        literal = statement.literal
        if "SomeIn" in literal and "Var" in literal["SomeIn"]["value"]:
            out[str(literal["SomeIn"]["value"]["Var"]["value"])] = Element(literal["SomeIn"]["collection"])
        expression = literal.get("Expr", {}).get("expr", {})
        if "AssignExpr" in expression and "Var" in expression["AssignExpr"]["lhs"]:
            out[str(expression["AssignExpr"]["lhs"]["Var"]["value"])] = expression["AssignExpr"]["rhs"]
    return out
