"""Composition: the nodes of one Dag become nodes of another, under other names and with variables filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from engine.dsl.errors import Place
from engine.dsl.node import Call, Definition, Node, VariableDefinition
from engine.dsl.sources import Binding, Source, binding_of, fits, type_name, within
from engine.findings import suggestion

if TYPE_CHECKING:
    from engine.dsl.dag import Dag

T = TypeVar("T")


class Included:
    """The nodes that `include` has added, by those of the Dag that they come from."""

    def __init__(self, into: "Dag", other: "Dag", prefix: str) -> None:
        self._into = into
        self._other = other
        self._prefix = prefix

    def node(self, node: Node[T]) -> Node[T]:
        """Return the node that `node` of the other Dag has become; for `after`, and for the result.

        Raises:
            DagDefinitionError: `dag.foreign_source`, it is no node of the Dag that was included.
        """
        if node.owner is not self._other:
            raise self._into.refused("dag.foreign_source", f"{node!r} is no node of the Dag {self._other.name!r}")
        return Node(self._into, self._prefix + node.name, node.function)

    def output(self, node: Node[T]) -> T:
        """Return the output of the node that `node` of the other Dag has become.

        Raises:
            DagDefinitionError: as `node`.
        """
        return self.node(node).output


@dataclass(frozen=True, slots=True)
class Taken:
    """What an inclusion adds, and what is wrong with it: codes and messages."""

    definitions: list[Definition]
    variables: list[VariableDefinition]
    wrong: list[tuple[str, str]]


def included(
    into: object,
    other: "Dag",
    place: Place,
    prefix: str,
    variables: Mapping[str, object],
    after: tuple[Source, ...],
) -> Taken:
    """Return the definitions of `other` as those of `into`; variables that are not given become variables of `into`."""
    declared = {variable.name: variable for variable in other.variables}
    wrong = [wrong for name, value in variables.items() for wrong in _wrong(name, value, declared)]
    bindings: dict[str, Binding] = {name: binding_of(value) for name, value in variables.items()}
    kept = [
        replace(variable, name=prefix + variable.name, place=place)
        for name, variable in declared.items()
        if name not in bindings
    ]
    bindings |= {name: Source(into, "variables", prefix + name) for name in declared if name not in bindings}
    move = _Move(into, place, prefix, bindings)
    return Taken([move.definition(definition, after) for definition in other.definitions], kept, wrong)


def _wrong(name: str, value: object, declared: Mapping[str, VariableDefinition]) -> list[tuple[str, str]]:
    if name not in declared:
        return [("dag.unknown_variable", f"there is no variable {name!r} to include{suggestion(name, declared)}")]
    expected = declared[name].expected
    if not isinstance(value, Source) and not fits(value, expected):
        return [("dag.wrong_type", f"{value!r}, given to the included variable {name!r}, is no {type_name(expected)}")]
    return []


@dataclass(frozen=True, slots=True)
class _Move:
    """Rewrites what nodes read."""

    into: object
    place: Place
    prefix: str
    variables: Mapping[str, Binding]

    def definition(self, definition: Definition, after: tuple[Source, ...]) -> Definition:
        first = not definition.depends_on()
        return replace(
            definition,
            name=self.prefix + definition.name,
            place=self.place,
            written=definition.written or definition.place,
            call=self._call(definition.call),
            when=self._call(definition.when) if definition.when is not None else None,
            foreach=self._binding(definition.foreach) if definition.foreach is not None else None,
            after=(*map(self._source, definition.after), *(after if first else ())),
        )

    def _call(self, call: Call) -> Call:
        positional = tuple((name, self._binding(binding)) for name, binding in call.positional)
        keyword = tuple((name, self._binding(binding)) for name, binding in call.keyword)
        return replace(call, positional=positional, keyword=keyword)

    def _binding(self, binding: Binding) -> Binding:
        if not isinstance(binding, Source):
            return binding
        if binding.kind == "steps":
            return self._source(binding)
        return within(self.variables[binding.name], binding.path)

    def _source(self, source: Source) -> Source:
        return replace(source, owner=self.into, name=self.prefix + source.name)
