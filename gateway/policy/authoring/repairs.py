"""Changes that would make a statement hold, or stop to hold: guesses, read off the statement, that others verify.

`a == b` suggests to set one side to the other, where it has a place in the input or the data; `x in xs` to add x;
`not x in xs` to take it out; a lookup that finds nothing an entry like those beside it; a rule or a function what its
definitions suggest. What has no place, a count for one, suggests nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from gateway.policy.authoring.analysis import Analyst, DefinitionNode, Failing, RuleNode
from gateway.policy.authoring.edits import Change, Place
from gateway.policy.authoring.places import Context
from gateway.policy.authoring.probes import Given, names_of
from gateway.policy.authoring.program import Definition, SourceText, Statement, statements
from gateway.policy.authoring.variations import entry_for
from gateway.policy.rego_ast import COMPREHENSIONS, Node, ParsedModule, Path, dotted, split

MEMBERS_MAX: Final = 8
_OPTIONAL: Final = frozenset({("input", "mission", "labels"), ("input", "parameters")})
"""What a client may leave out: anything below. A document of the gateway has all its other fields."""
_WILD: Final = "*"  # never suggested: it opens more than was asked for
INTEGER_MAX: Final = 2**53
_DEPTH_MAX: Final = 6
_ORDER: Final = {"Lt": ("Gt", -1), "Le": ("Ge", 0), "Gt": ("Lt", 1), "Ge": ("Le", 0)}


@dataclass(frozen=True, slots=True)
class _Unknown:
    """No value."""


_UNKNOWN: Final = _Unknown()


class Repairer:
    """Reads changes off a tree."""

    def __init__(self, analyst: Analyst) -> None:
        self._analyst = analyst

    def rule(self, node: RuleNode, depth: int = 0) -> Iterator[Change]:
        """Yield changes that may make a rule hold."""
        if depth > _DEPTH_MAX:
            return
        for definition in node.definitions:
            yield from self._definition(definition, depth)

    def fired(self, definition: Definition) -> Iterator[Change]:
        """Yield changes that may keep a definition, all of whose statements hold, from holding."""
        context = self._analyst.context(definition.module)
        yield from self._broken(context, (), definition.bodies[0], 0)

    def _definition(self, node: DefinitionNode, depth: int) -> Iterator[Change]:
        if node.failing is not None:
            yield from self._failing(node.failing, depth)
        elif node.definition.value is not None:  # the body holds: the value is what is missing
            for context in self._contexts(node.context, node.given, node.definition.bodies[0]):
                yield from self._made(node.definition.value, context, depth)

    def _failing(self, failing: Failing, depth: int) -> Iterator[Change]:
        literal = failing.statement.literal
        contexts = list(failing.contexts())
        if "Every" in literal:
            yield from self._every(failing, contexts, depth)
        for need in failing.needs:
            yield from self.rule(need, depth + 1) if "NotExpr" not in literal else self._unmade_rule(need.path, depth)
        for context in contexts:
            if "Expr" in literal:
                yield from self._made(literal["Expr"]["expr"], context, depth)
            elif "NotExpr" in literal:
                yield from self._unmade(literal["NotExpr"]["expr"], context, depth)

    def _every(self, failing: Failing, contexts: list[Context], depth: int) -> Iterator[Change]:
        if failing.inner is not None:
            yield from self._failing(failing.inner, depth + 1)
        if failing.element is not None:
            for context in contexts:
                place = context.place(failing.statement.literal["Every"]["domain"])
                if place is not None:
                    yield Change(place, "remove", failing.element[1])

    # To make an expression hold

    def _made(self, node: Node, context: Context, depth: int) -> Iterator[Change]:
        kind, fields = split(node)
        if kind == "BoolExpr":
            yield from self._compared(fields, context, depth)
        elif kind == "Membership":
            yield from self._member(fields, context)
        elif kind == "AssignExpr":
            yield from self._made(fields["rhs"], context, depth)
        elif kind == "Call":
            yield from self._text(fields, context)
        elif kind in {"RefDot", "RefBrack", "Var"} and (place := context.place(node)) is not None:
            yield from self._entry(place, context)

    def _text(self, call: Node, context: Context) -> Iterator[Change]:
        """A text has to begin or to end with another: its last part behind that one, or before it."""
        name, params = dotted(call["fcn"]), call["params"]
        if name not in {("startswith",), ("endswith",)}:
            return
        place, text, part = context.place(params[0]), self._value(params[0], context), self._value(params[1], context)
        if place is not None and isinstance(text, str) and isinstance(part, str):
            last = text.rstrip("/").rpartition("/")[2]
            yield Change(place, "set", f"{part}{last}" if name == ("startswith",) else f"{text}{part}")

    def _compared(self, fields: Node, context: Context, depth: int) -> Iterator[Change]:
        sides = (fields["lhs"], fields["rhs"])
        for mine, other, mirrored in ((sides[0], sides[1], False), (sides[1], sides[0], True)):
            op = fields["op"] if not mirrored else _ORDER.get(fields["op"], (fields["op"], 0))[0]
            place, value = context.place(mine), self._value(other, context)
            if place is not None and not isinstance(value, _Unknown) and value != _WILD:
                if op == "Eq":
                    yield Change(place, "set", value)
                elif op in _ORDER and type(value) is int and abs(value) < INTEGER_MAX:
                    yield Change(place, "set", value + {"Lt": -1, "Gt": 1}.get(op, 0))
            if op == "Eq" and _is_empty(other):
                yield from self._emptied(mine, context, depth)

    def _member(self, fields: Node, context: Context) -> Iterator[Change]:
        value, members = self._value(fields["value"], context), self._value(fields["collection"], context)
        place = context.place(fields["collection"])
        if place is not None and not isinstance(value, _Unknown) and value != _WILD and isinstance(members, list):
            yield Change(place, "add", value)
        mine = context.place(fields["value"])
        if mine is not None and isinstance(members, list | dict):
            values = list(members.values()) if isinstance(members, dict) else members
            yield from (Change(mine, "set", each) for each in values[:MEMBERS_MAX] if each != _WILD)

    def _entry(self, place: Place, context: Context) -> Iterator[Change]:
        """A lookup that finds nothing, or false: true, or an entry like the others beside it."""
        known, value = context.found(place)
        if known and value is False:
            yield Change(place, "set", True)
        if known or place[0] != "data" or len(place) < 2:  # noqa: PLR2004 - a key, and what it is in
            return
        parent_known, parent = context.found(place[:-1])
        if parent_known and isinstance(parent, Mapping):
            entry = entry_for(place, self._analyst.prober.input)
            others = list(parent.values())[:2] if entry is None else [entry]
            yield from (Change(place, "set", each) for each in others)

    @staticmethod
    def _value(node: Node, context: Context) -> Any:
        """Return the value of an expression in a context; `_UNKNOWN` where it has none."""
        known, value = context.value(node)
        return value if known else _UNKNOWN

    # To keep one from holding

    def _broken(
        self, context: Context, given: tuple[Given, ...], body: tuple[Statement, ...], depth: int
    ) -> Iterator[Change]:
        for within in self._contexts(context, given, body):
            for statement in body:
                literal = statement.literal
                if "NotExpr" in literal:
                    yield from self._negated(literal["NotExpr"]["expr"], within, depth)
                elif "Expr" in literal:
                    yield from self._unmade(literal["Expr"]["expr"], within, depth)
                elif "SomeIn" in literal and "Var" in literal["SomeIn"]["value"]:
                    name = str(literal["SomeIn"]["value"]["Var"]["value"])
                    if name in within.names:
                        yield from self._taken(literal["SomeIn"]["collection"], within.names[name], within, depth)

    def _negated(self, node: Node, context: Context, depth: int) -> Iterator[Change]:
        """`not x` holds: x has to hold."""
        kind, fields = split(node)
        if kind == "Var" and str(fields["value"]) not in context.names:
            path = self._analyst.program.resolve(str(fields["value"]), context.module)
            if path is not None and path in self._analyst.program.definitions:
                yield from self.rule(self._analyst.rule(path), depth + 1)
                return
        if kind == "Call":
            path = self._path(fields, context.module)
            if path is not None:
                yield from self._call_made(path, fields["params"], context, depth)
                return
        yield from self._made(node, context, depth)

    def _unmade(self, node: Node, context: Context, depth: int) -> Iterator[Change]:
        kind, fields = split(node)
        if kind == "Membership":
            value = self._value(fields["value"], context)
            if not isinstance(value, _Unknown):
                yield from self._taken(fields["collection"], value, context, depth)
        elif kind == "BoolExpr" and fields["op"] in _ORDER:
            contrary = {"Lt": "Ge", "Le": "Gt", "Gt": "Le", "Ge": "Lt"}[fields["op"]]
            yield from self._compared({**fields, "op": contrary}, context, depth)
        elif kind == "BoolExpr" and fields["op"] == "Eq":
            places = (context.place(side) for side in (fields["lhs"], fields["rhs"]))
            yield from (Change(place, "remove") for place in places if place is not None and place[:-1] in _OPTIONAL)
        elif kind == "BoolExpr" and fields["op"] == "Ne":
            yield from self._compared({**fields, "op": "Eq"}, context, depth)
        elif kind in {"RefDot", "RefBrack", "Var"} and (place := context.place(node)) is not None:
            known, value = context.found(place)
            if known and value is True:
                yield Change(place, "set", False)
            elif known and len(place) > 1:
                yield Change(place, "remove")

    def _unmade_rule(self, path: Path, depth: int) -> Iterator[Change]:
        if depth <= _DEPTH_MAX:
            for definition in self._analyst.program.definitions.get(path, []):
                context = self._analyst.context(definition.module)
                yield from self._broken(context, (), definition.bodies[0], depth + 1)

    def _emptied(self, node: Node, context: Context, depth: int) -> Iterator[Change]:
        """A collection has to be empty."""
        members = self._value(node, context)
        if isinstance(members, list):
            for member in members[:MEMBERS_MAX]:
                yield from self._taken(node, member, context, depth)

    def _taken(self, collection: Node, member: Any, context: Context, depth: int) -> Iterator[Change]:
        """A member has to go from a collection: out of the list that it is, or that it is made of."""
        if depth > _DEPTH_MAX:
            return
        place = context.place(collection)
        if place is not None:
            known, found = context.found(place)
            if known and isinstance(found, list):
                yield Change(place, "remove", member)
            return
        kind, fields = split(collection)
        if kind in COMPREHENSIONS and "term" in fields:
            yield from self._uncollected(collection, member, context, (), (), depth)
        elif kind == "Var":
            yield from self._rule_without(fields, member, context, depth)
        elif kind == "Call" and (path := self._path(fields, context.module)) is not None:
            for definition, called, given in self._calls(path, fields["params"], context):
                if definition.value is not None:
                    inner = called.within({}, definition.bodies[0])
                    if split(definition.value)[0] in COMPREHENSIONS:
                        yield from self._uncollected(
                            definition.value, member, inner, given, definition.bodies[0], depth + 1
                        )

    def _rule_without(self, fields: Node, member: Any, context: Context, depth: int) -> Iterator[Change]:
        path = self._analyst.program.resolve(str(fields["value"]), context.module)
        for definition in self._analyst.program.definitions.get(path or (), []):
            if definition.value is not None and definition.rule.kind == "value":
                inner = self._analyst.context(definition.module)
                yield from self._taken(definition.value, member, inner, depth + 1)

    def _uncollected(
        self,
        node: Node,
        member: Any,
        context: Context,
        given: tuple[Given, ...],
        before: tuple[Statement, ...],
        depth: int,
    ) -> Iterator[Change]:
        """A comprehension has to lose a member: a statement of it has to stop to hold, where the member comes about."""
        fields = split(node)[1]
        source = SourceText(context.module)
        body = statements(source, fields["query"])
        term = fields["term"]
        prefix = (*given, *(Given(each.text, tuple(names_of([each]))) for each in before))
        for environment in self._analyst.prober.environments(context.module, prefix, body, (source.expression(term),)):
            if environment.values[0][:1] == (member,):
                within = context.within(environment.names, body)
                for statement in body:
                    literal = statement.literal
                    if "SomeIn" in literal and "Var" in literal["SomeIn"]["value"]:
                        name = str(literal["SomeIn"]["value"]["Var"]["value"])
                        if name in within.names:
                            taken = within.names[name]
                            yield from self._taken(literal["SomeIn"]["collection"], taken, within, depth + 1)
                    elif "Expr" in literal:
                        yield from self._unmade(literal["Expr"]["expr"], within, depth + 1)
                    elif "NotExpr" in literal:
                        yield from self._negated(literal["NotExpr"]["expr"], within, depth + 1)

    # Calls and contexts

    def _call_made(self, path: Path, params: list[Node], context: Context, depth: int) -> Iterator[Change]:
        """A function has to hold for these arguments."""
        if depth > _DEPTH_MAX:
            return
        for definition, called, given in self._calls(path, params, context):
            failing = self._analyst.failing(called, given, definition.bodies[0], depth)
            if failing is not None:
                yield from self._failing(failing, depth + 1)

    def _calls(
        self, path: Path, params: list[Node], context: Context
    ) -> Iterator[tuple[Definition, Context, tuple[Given, ...]]]:
        """Yield the definitions of a function for the arguments of a call, with their contexts."""
        values = [self._value(param, context) for param in params]
        if not any(isinstance(value, _Unknown) for value in values):
            yield from self._analyst.called(path, params, values, context)

    def _path(self, call: Node, module: ParsedModule) -> Path | None:
        name = dotted(call["fcn"])
        head = self._analyst.program.resolve(name[0], module) if name is not None else None
        path = (*head, *name[1:]) if head is not None and name is not None else None
        return path if path is not None and self._analyst.program.is_function(path) else None

    def _contexts(self, context: Context, given: tuple[Given, ...], body: tuple[Statement, ...]) -> Iterator[Context]:
        found = self._analyst.prober.environments(context.module, given, body, ())
        yield from islice((context.within(each.names, body) for each in found), MEMBERS_MAX)


def _is_empty(node: Node) -> bool:
    """Whether an expression is `set()`, `[]` or `{}`."""
    kind, fields = split(node)
    if kind == "Call":
        return dotted(fields["fcn"]) == ("set",)
    return (kind in {"Array", "Set"} and not fields["items"]) or (kind == "Object" and not fields["fields"])
