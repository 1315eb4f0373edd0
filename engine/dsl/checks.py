"""The rules of a Dag, all of them, applied when its block is left."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence

from engine.dsl.errors import Place, violation
from engine.dsl.node import Definition, VariableDefinition
from engine.dsl.sources import Constant, Item, Source, fits, reader, type_name
from engine.errors import StepError, Violation
from engine.fields import identifier
from engine.findings import Findings, suggestion
from engine.graph import IDS_SHOWN_MAX, Cycle, Graph, resolve_edges
from engine.json_copy import NotJsonError, encode, read_back
from engine.mission import MissionLimits
from engine.retry import RetryPolicy

_NAME_RULE = "is no name: letters, digits, _ and -, at most 128"


def violations_of(
    owner: object,
    definitions: Sequence[Definition],
    variables: Sequence[VariableDefinition],
    limits: MissionLimits,
) -> list[Violation]:
    """Return everything that is wrong with a Dag, in the order of its lines."""
    nodes = _first_of_each(definitions)
    declared = {variable.name: variable for variable in reversed(variables)}
    found: list[tuple[Place, Violation]] = []
    for definition in definitions:
        written = f" (written at {definition.written})" if definition.written is not None else ""
        subject = f"node {definition.name!r}{written}"
        for code, message in _Node(owner, definition, nodes, limits).wrong():
            found.append((definition.place, violation(definition.place, subject, code, message)))
    for variable in variables:
        for code, message in _wrong_variable(variable, declared):
            found.append((variable.place, violation(variable.place, f"variable {variable.name!r}", code, message)))
    found += _cycle(nodes)
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def _first_of_each(definitions: Sequence[Definition]) -> dict[str, Definition]:
    nodes: dict[str, Definition] = {}
    for definition in definitions:
        nodes.setdefault(definition.name, definition)
    return nodes


class _Node:
    """The rules of one node."""

    def __init__(
        self,
        owner: object,
        definition: Definition,
        nodes: Mapping[str, Definition],
        limits: MissionLimits,
    ) -> None:
        self._owner = owner
        self._definition = definition
        self._nodes = nodes
        self._limits = limits

    def wrong(self) -> Iterator[tuple[str, str]]:
        """Yield the code and the text of each rule that it breaks."""
        yield from self._name()
        yield from self._parameters()
        yield from self._options()
        yield from self._condition()
        yield from self._constants()
        said: set[tuple[str, str]] = set()
        for source in self._definition.sources():
            for wrong in self._source(source):
                if wrong not in said:  # one parameter more that reads the same does not make it two mistakes
                    said.add(wrong)
                    yield wrong

    def _name(self) -> Iterator[tuple[str, str]]:
        name = self._definition.name
        if not _is_identifier(name):
            yield "dag.bad_name", f"{name!r} {_NAME_RULE}; give one with name="
        first = self._nodes[name]
        if first is not self._definition:
            yield "dag.duplicate_name", f"there is a node of that name already, at {first.place}"

    def _parameters(self) -> Iterator[tuple[str, str]]:
        definition, call = self._definition, self._definition.call
        function = inspect.unwrap(call.function)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            yield "dag.generator", "a node returns its output; a function that yields has none"
        if definition.thread and inspect.iscoroutinefunction(function):
            yield "dag.async_thread", "an async function is run on the event loop; thread= is for functions that block"
        if definition.foreach is not None and not any(isinstance(b, Item) for b in call.bindings):
            yield "dag.no_item", "a node with foreach= has a first parameter without a default: the item"
        for name in call.unbound:
            yield "dag.no_source", f"the parameter {name!r} has no default, so nothing says where its value comes from"

    def _options(self) -> Iterator[tuple[str, str]]:
        definition, limits = self._definition, self._limits
        seconds = definition.timeout_seconds
        maximum = limits.step_timeout_seconds_max
        if seconds is not None and not (_is_number(seconds) and 0 < seconds <= maximum):
            yield "dag.bad_timeout", f"timeout_seconds is {seconds!r}; it must be more than 0 and at most {maximum:g}"
        retry: object = definition.retry
        if retry is not None and not isinstance(retry, RetryPolicy):
            yield "dag.bad_retry", f"retry is a RetryPolicy, not {retry!r}"
        limit = definition.items_parallel_limit
        if limit is not None and definition.foreach is None:
            yield "dag.no_foreach", "items_parallel_limit= is for a node with foreach="
        elif limit is not None and not (type(limit) is int and 1 <= limit <= limits.parallel_limit_max):
            yield (
                "dag.bad_limit",
                f"items_parallel_limit is {limit!r}; it must be from 1 to {limits.parallel_limit_max}",
            )
        if isinstance(definition.foreach, Constant):
            yield from _wrong_items(definition.foreach.value, limits)

    def _condition(self) -> Iterator[tuple[str, str]]:
        when = self._definition.when
        if when is None:
            return
        if inspect.iscoroutinefunction(when.function):
            yield "dag.async_condition", "when= is asked, not awaited; let a node do the waiting"
        for name in when.unbound:
            yield "dag.no_source", f"the parameter {name!r} of when= has no default, so nothing says what it is"

    def _constants(self) -> Iterator[tuple[str, str]]:
        for binding in self._definition.bindings():
            if isinstance(binding, Constant):
                try:
                    reader(binding)
                except StepError:
                    part = "".join(f"[{word!r}]" for word in binding.path)
                    yield (
                        "dag.no_such_part",
                        f"it reads {part} of a value that was given to include and does not have it",
                    )

    def _source(self, source: Source) -> Iterator[tuple[str, str]]:
        if source.owner is not self._owner:
            yield (
                "dag.foreign_source",
                f"the {source} is that of another Dag, {getattr(source.owner, 'name', '?')!r}; include that Dag here",
            )
        elif source.kind == "variables":
            return  # only `Dag.variable` makes one, and it declares it
        elif source.name == self._definition.name:
            yield "dag.self_dependency", "a node cannot depend on itself"
        elif source.name not in self._nodes:
            yield "dag.unknown_node", f"there is no node {source.name!r}{suggestion(source.name, self._nodes)}"


def _is_identifier(name: str) -> bool:
    findings = Findings()
    identifier(name, (), findings)
    return not findings


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong_items(items: object, limits: MissionLimits) -> Iterator[tuple[str, str]]:
    if not isinstance(items, list | tuple):
        yield "dag.bad_items", f"foreach= is a list or an output, not {type(items).__name__}"
    elif len(items) > limits.steps_max:
        yield "dag.too_many_items", f"foreach= has {len(items)} items; {limits.steps_max} are allowed"
    elif (reason := _not_json(items)) is not None:
        yield "dag.not_json", f"the items of foreach= are no JSON: {reason}"


def _not_json(value: object) -> str | None:
    try:
        read_back(encode(value), value)
    except NotJsonError as error:
        return str(error)
    return None


def _wrong_variable(
    variable: VariableDefinition, declared: Mapping[str, VariableDefinition]
) -> Iterator[tuple[str, str]]:
    if not _is_identifier(variable.name):
        yield "dag.bad_name", f"{variable.name!r} {_NAME_RULE}"
    first = declared[variable.name]
    if first is not variable:
        yield "dag.duplicate_variable", f"it is declared already, at {first.place}"
    if variable.required:
        return
    if (reason := _not_json(variable.default)) is not None:
        yield "dag.not_json", f"the default is no JSON: {reason}"
    elif not fits(variable.default, variable.expected):
        yield "dag.wrong_type", f"the default {variable.default!r} is no {type_name(variable.expected)}"


def _cycle(nodes: Mapping[str, Definition]) -> Iterator[tuple[Place, Violation]]:
    """Yield one cycle, if there is any, with the line of each node on it."""
    names = list(nodes)
    index = {name: at for at, name in enumerate(names)}
    parents, _ = resolve_edges(index, [definition.depends_on() for definition in nodes.values()])
    graph = Graph.of(names, index, parents)
    if isinstance(graph, Cycle):
        round_trip = [nodes[names[step]] for step in graph.steps]
        first = round_trip[0]
        text = cycle_text([(each.name, each.place) for each in round_trip])
        yield first.place, violation(first.place, f"node {first.name!r}", "dag.cycle", text)


def cycle_text(steps: Sequence[tuple[str, Place]]) -> str:
    """Return a cycle, each step with its line: `… wait for each other: a (x.py:3) → b (x.py:7) → a`."""
    shown = [f"{name} ({place})" for name, place in steps]
    if len(shown) > IDS_SHOWN_MAX:
        shown[IDS_SHOWN_MAX - 1 : -1] = [f"({len(shown) - IDS_SHOWN_MAX} more)"]
    return "these wait for each other: " + " → ".join([*shown, steps[0][0]])
