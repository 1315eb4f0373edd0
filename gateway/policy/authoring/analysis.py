"""Why a rule does not hold: its definitions, in each the first statement that does not hold, and what that needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from gateway.policy.answer import Status
from gateway.policy.authoring.imports import declared
from gateway.policy.authoring.interpreter import Answer
from gateway.policy.authoring.places import Argument, Context, Element
from gateway.policy.authoring.probes import Environment, Given, Prober, names_of
from gateway.policy.authoring.program import Definition, Program, SourceText, Statement, statements
from gateway.policy.authoring.reach import references
from gateway.policy.rego_ast import SCALARS, Node, ParsedModule, Path, dotted, split

DEPTH_MAX: Final = 8
NODES_MAX: Final = 60
_LITERAL_CHARS_MAX: Final = 20_000
_OPERANDS_MAX: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The first statement of a body that does not hold, for any values of its names."""

    context: Context  # of the statements before it: without values of names
    given: tuple[Given, ...]
    prefix: tuple[Statement, ...]
    statement: Statement
    operands: tuple[str, ...]
    environments: tuple[Environment, ...]
    needs: tuple["RuleNode", ...] = ()  # rules in it, and functions, that do not hold
    element: tuple[str, Any] | None = None  # of an `every`: the first that does not fulfil it
    inner: "Failing | None" = None  # of an `every`: what of its body does not hold

    def contexts(self) -> Iterator[Context]:
        """Yield the context of each set of values."""
        for environment in self.environments:
            yield self.context.within(environment.names, self.prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionNode:
    """One definition of a rule that does not hold."""

    definition: Definition
    failing: Failing | None  # None: all statements hold, and the value is false, empty or undefined
    context: Context
    operands: tuple[str, ...] = ()  # of the value, where that is what is missing
    environments: tuple[Environment, ...] = ()
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNode:
    """One rule or function, and what it came to."""

    path: Path
    answer: Answer
    definitions: tuple[DefinitionNode, ...] = ()
    arguments: tuple[tuple[str, Any], ...] = ()  # of a function: what it was called with
    default: bool = False  # the value is the default

    @property
    def state(self) -> str:
        """true, false, undefined, error, empty, or `value` for anything else."""
        if not self.answer.defined:
            return "undefined" if self.answer.status is Status.UNDEFINED else "error"
        if not isinstance(self.answer.value, bool):
            return "empty" if lacking(self.answer) else "value"
        return "true" if self.answer.value else "false"


@dataclass(slots=True)
class Analyst:
    """Builds the tree of one question."""

    program: Program
    prober: Prober
    data: Any
    nodes: int = 0
    trail: list[Path] = field(default_factory=list)

    def context(self, module: ParsedModule) -> Context:
        """Return the context of a rule without arguments."""
        documents = {"input": self.prober.input, "data": self.data}
        return Context(self.program, module, documents, evaluate=self.value)

    def value(self, context: Context, node: Node) -> tuple[bool, Any]:
        """Return whether an expression has a value in a context, and which; it is evaluated."""
        text = SourceText(context.module).expression(node)
        given = [Given(f"{name} := {orjson.dumps(value).decode()}", (name,)) for name, value in context.names.items()]
        found = self.prober.environments(context.module, given, (), (text,))
        return (True, found[0].values[0][0]) if found and found[0].values[0] else (False, None)

    def rule(self, path: Path, depth: int = 0) -> RuleNode:
        """Return what a rule came to, and why, where it does not hold.

        Raises:
            SpentError: the budget is used up.
        """
        answer = self.prober.ask(".".join(path))
        found = self.program.definitions.get(path, [])
        default = path in self.program.defaults and not answer.holds
        if not lacking(answer) or depth > DEPTH_MAX or path in self.trail or self.nodes >= NODES_MAX:
            return RuleNode(path=path, answer=answer, default=default)
        self.nodes += 1
        self.trail.append(path)
        try:
            nodes = tuple(self.definition(each, self.context(each.module), (), depth) for each in found)
        finally:
            self.trail.pop()
        return RuleNode(path=path, answer=answer, definitions=nodes, default=default)

    def definition(
        self, definition: Definition, context: Context, given: tuple[Given, ...], depth: int
    ) -> DefinitionNode:
        """Return why one definition does not hold."""
        body = definition.bodies[0]
        failing = self.failing(context, given, body, depth)
        if failing is not None or definition.value is None:
            return DefinitionNode(definition=definition, failing=failing, context=context, given=given)
        source = SourceText(definition.module)
        texts = tuple(dict.fromkeys(source.expression(node) for node in _parts(definition.value)))[:_OPERANDS_MAX]
        found = self.prober.environments(definition.module, given, body, texts)
        return DefinitionNode(
            definition=definition, failing=None, context=context, given=given, operands=texts, environments=found
        )

    def failing(
        self, context: Context, given: tuple[Given, ...], body: tuple[Statement, ...], depth: int
    ) -> Failing | None:
        """Return the first statement of a body that does not hold; None where all hold."""
        index = self.prober.first_failing(context.module, given, body)
        if index is None or index >= len(body):
            return None
        prefix, statement = body[:index], body[index]
        source = SourceText(context.module)
        nodes = list(operands(statement.literal))[:_OPERANDS_MAX]
        texts = tuple(dict.fromkeys(source.expression(node) for node in nodes))
        environments = self.prober.environments(context.module, given, prefix, texts)
        failing = Failing(
            context=context, given=given, prefix=prefix, statement=statement, operands=texts, environments=environments
        )
        if "Every" in statement.literal:
            return self._every(failing, depth)
        needs = (*self._rules(failing, depth), *self._functions(failing, depth))
        return replace(failing, needs=needs)

    def _rules(self, failing: Failing, depth: int) -> Iterator[RuleNode]:
        """Yield the rules that a statement refers to, and that do not hold; of a `not`, those that do."""
        negated = "NotExpr" in failing.statement.literal
        module = failing.context.module
        local = set(declared(failing.statement.node, module)) | {n for g in failing.given for n in g.names}
        local |= names_of(failing.prefix)
        seen: set[Path] = set()
        for target in references(failing.statement.node, module):
            rule = self.program.rule_at(target)
            if rule is None or rule in seen or self.program.is_function(rule):
                continue
            if rule[:-1] == module.package and rule[-1] in local:
                continue
            seen.add(rule)
            node = self.rule(rule, depth + 1)
            if lacking(node.answer) is not negated and (negated or self.program.definitions[rule]):
                yield node

    def _functions(self, failing: Failing, depth: int) -> Iterator[RuleNode]:
        """Yield the functions that a statement is, with what they were called with, where they do not hold."""
        literal = failing.statement.literal
        expression = literal.get("Expr", {}).get("expr", {})
        call = expression.get("Call") or (expression.get("AssignExpr", {}).get("rhs") or {}).get("Call")
        if call is None:
            return
        path = self._function(call, failing.context.module)
        if path is None or depth > DEPTH_MAX:
            return
        for context in list(failing.contexts())[:1]:
            node = self.function(path, call["params"], failing, context, depth)
            if node is not None:
                yield node

    def _function(self, call: Node, module: ParsedModule) -> Path | None:
        name = dotted(call["fcn"])
        head = self.program.resolve(name[0], module) if name is not None else None
        path = (*head, *name[1:]) if head is not None and name is not None else None
        return path if path is not None and self.program.is_function(path) and path not in self.trail else None

    def function(
        self, path: Path, params: Sequence[Node], failing: Failing, context: Context, depth: int
    ) -> RuleNode | None:
        """Return why a function does not hold for the arguments of a call; None where these are not known."""
        source = SourceText(failing.context.module)
        texts = tuple(source.expression(param) for param in params)
        found = self.prober.environments(failing.context.module, failing.given, failing.prefix, texts)
        if not found or any(not values for values in found[0].values) or self.nodes >= NODES_MAX:
            return None
        values = [each[0] for each in found[0].values]
        self.nodes += 1
        self.trail.append(path)
        try:
            called = self.called(path, params, values, context)
            nodes = [self.definition(each, inner, given, depth + 1) for each, inner, given in called]
        finally:
            self.trail.pop()
        named = tuple(zip(_argument_names(self.program.definitions[path][0]), values, strict=False))
        return RuleNode(path=path, answer=Answer(Status.UNDEFINED), definitions=tuple(nodes), arguments=named)

    def called(
        self, path: Path, params: Sequence[Node], values: Sequence[Any], context: Context
    ) -> Iterator[tuple[Definition, Context, tuple[Given, ...]]]:
        """Yield the definitions of a function that are for the arguments of a call, and what their names are."""
        for each in self.program.definitions[path]:
            given = arguments(each, values)
            if given is None:
                continue
            pairs = [
                (str(argument["Var"]["value"]), param, value)
                for argument, param, value in zip(each.arguments, params, values, strict=False)
                if "Var" in argument
            ]
            names = {name: value for name, _, value in pairs}
            origins = {name: Argument(param, context) for name, param, _ in pairs}
            inner = replace(context, module=each.module, names=names, origins=origins)
            yield each, inner, given

    def _every(self, failing: Failing, depth: int) -> Failing:
        """Find the first element that does not fulfil an `every`, and why."""
        fields = failing.statement.literal["Every"]
        module = failing.context.module
        source = SourceText(module)
        name, domain = module.slice(fields["value"]), source.expression(fields["domain"])
        key = module.slice(fields["key"]) if fields["key"] is not None else None
        body = statements(source, fields["query"])
        texts = "; ".join(each.text for each in body)
        some = f"some {key}, {name} in {domain}" if key else f"some {name} in {domain}"
        bad = Given(f"{some}\n\tcount([1 | {texts}]) == 0", (name,))
        prefix = tuple(Given(each.text, tuple(names_of([each]))) for each in failing.prefix)
        found = self.prober.environments(module, (*failing.given, *prefix, bad), (), ())
        if not found:
            return failing
        element = found[0].names[name]
        context = failing.context.within(found[0].names, failing.prefix)
        origins = {**context.origins, name: Element(fields["domain"])}
        context = replace(context, origins=origins)
        given = [*failing.given, *prefix]
        literal = orjson.dumps(element).decode()
        inner = None
        if len(literal) <= _LITERAL_CHARS_MAX and not key:
            inner = self.failing(context, (*given, Given(f"{name} := {literal}", (name,))), body, depth + 1)
        return replace(failing, element=(name, element), inner=inner)


def lacking(answer: Answer) -> bool:
    """Whether a rule gives nothing: it is undefined, false or empty."""
    return not answer.holds or answer.value in ([], {})


def operands(literal: Node) -> Iterator[Node]:
    """Yield the expressions whose values tell why a statement does not hold."""
    if "NotExpr" in literal:
        yield from _parts(literal["NotExpr"]["expr"])
    elif "Expr" in literal:
        yield from _parts(literal["Expr"]["expr"])
    elif "SomeIn" in literal:
        yield literal["SomeIn"]["collection"]
    elif "Every" in literal:
        yield literal["Every"]["domain"]


def _parts(node: Node) -> Iterator[Node]:
    kind, fields = split(node)
    if kind in {"BoolExpr", "ArithExpr", "BinExpr"}:
        sides = [fields["lhs"], fields["rhs"]]
    elif kind == "Membership":
        sides = [fields["value"], fields["collection"]]
    elif kind == "Call":
        sides = list(fields["params"])
    elif kind == "AssignExpr":
        yield from _parts(fields["rhs"])
        return
    else:
        sides = [node, *_indices(node)]
    for side in sides:
        if split(side)[0] not in SCALARS:
            yield side


def _indices(node: Node) -> Iterator[Node]:
    """Yield what a reference looks up by, the outermost first."""
    while (step := split(node))[0] in {"RefDot", "RefBrack"}:
        if step[0] == "RefBrack":
            yield step[1]["index"]
        node = step[1]["refr"]


def arguments(definition: Definition, values: Sequence[Any]) -> tuple[Given, ...] | None:
    """Return statements that give a definition's arguments their values; None where it is not for these values."""
    given = []
    for argument, value in zip(definition.arguments, values, strict=False):
        kind, fields = split(argument)
        literal = orjson.dumps(value).decode()
        if len(literal) > _LITERAL_CHARS_MAX:
            return None
        if kind != "Var":
            if (None if kind == "Null" else fields["value"]) != value:
                return None
        elif fields["value"] != "_":
            given.append(Given(f"{fields['value']} := {literal}", (str(fields["value"]),)))
    return tuple(given)


def _argument_names(definition: Definition) -> list[str]:
    return [str(node["Var"]["value"]) if "Var" in node else "_" for node in definition.arguments]
