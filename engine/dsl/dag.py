"""The Dag: nodes are functions, dependencies are the defaults of their parameters, and what is wrong is never run.

    with Dag("etl") as etl:
        count = etl.variable("count", int, default=3)

        @etl.node
        async def extract(count: int = count) -> list[int]:
            return list(range(count))

        @etl.node
        def total(rows: list[int] = extract.output) -> int:
            return sum(rows)

    result = await etl.run()
    result.output(total)

Everything is checked once, when the block is left. Running binds values to positions that are known by then.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, Unpack, cast, overload

from engine.dsl.checks import violations_of
from engine.dsl.compiling import CompiledDag, compiled, wrong_config
from engine.dsl.describing import described, mermaid
from engine.dsl.errors import DagDefinitionError, Place, place_of, place_of_caller, violation
from engine.dsl.include import Included, included
from engine.dsl.node import (
    Decorator,
    Definition,
    EachDecorator,
    Node,
    NodeOptions,
    OptionalDecorator,
    OptionalEachDecorator,
    VariableDefinition,
    call_of,
)
from engine.dsl.running import DagBatch, DagResult, RunOptions, checked_variables, run_dag, stream_dag
from engine.dsl.sources import Source, binding_of
from engine.errors import Violation
from engine.mission import MissionConfig, MissionLimits
from engine.plan import Plan
from engine.ports import StepRunner
from engine.stream import IN_FLIGHT_MAX, Batches
from engine.values import JsonObject

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - the type of an item

_REQUIRED: Final = object()


class Dag:
    """A graph of Python functions, defined in a `with` block and run any number of times after it."""

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        config: MissionConfig | None = None,
        limits: MissionLimits | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.config = config if config is not None else MissionConfig()
        self.limits = limits if limits is not None else MissionLimits()
        self.definitions: list[Definition] = []
        self.variables: list[VariableDefinition] = []
        self._place = place_of_caller()
        self._found: list[Violation] = []  # what is known before the block is left
        self._state: Literal["new", "open", "sound", "broken"] = "new"
        self._compiled: CompiledDag | None = None

    # --- definition ---

    def __enter__(self) -> Self:
        if self._state != "new":
            raise self.refused("dag.closed", "a Dag has one block")
        self._state = "open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = "broken"
        if error is not None:
            return
        found = self._found + violations_of(self, self.definitions, self.variables, self.limits)
        if (wrong := wrong_config(self.config, self.limits)) is not None:
            found.append(violation(self._place, f"Dag {self.name!r}", "dag.bad_option", wrong))
        if not self.definitions:
            found.append(violation(self._place, f"Dag {self.name!r}", "dag.empty", "a Dag has at least one node"))
        if found:
            raise DagDefinitionError(found, of=f"the Dag {self.name!r}")
        self._compiled = compiled(
            self.name, self.description, self.config, self.limits, self.definitions, self.variables
        )
        self._state = "sound"

    @overload
    def node(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Node[T]: ...
    @overload
    def node(self, function: Callable[..., T], /) -> Node[T]: ...
    @overload
    def node(
        self,
        *,
        foreach: None = None,
        when: None = None,
        continue_on_error: Literal[False] = False,
        **options: Unpack[NodeOptions],
    ) -> Decorator: ...
    @overload
    def node(
        self,
        *,
        foreach: None = None,
        when: Callable[..., bool] | None = None,
        continue_on_error: bool = False,
        **options: Unpack[NodeOptions],
    ) -> OptionalDecorator: ...
    @overload
    def node(
        self,
        *,
        foreach: Sequence[I],
        when: None = None,
        continue_on_error: Literal[False] = False,
        **options: Unpack[NodeOptions],
    ) -> EachDecorator[I]: ...
    @overload
    def node(
        self,
        *,
        foreach: Sequence[I],
        when: Callable[..., bool] | None = None,
        continue_on_error: bool = False,
        **options: Unpack[NodeOptions],
    ) -> OptionalEachDecorator[I]: ...
    def node(  # type: ignore[misc]  # mypy does not see that `Any` takes every option
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        foreach: object = None,
        when: Callable[..., bool] | None = None,
        continue_on_error: bool = False,
        **options: Any,
    ) -> Any:
        """Make a node of a function, sync or async: `@etl.node`, or `@etl.node(after=[…], timeout_seconds=2)`.

        Args:
            function: what the node does.
            foreach: a list or an output: the node is run for each item, which is its first parameter, and its output
                is the list of theirs.
            when: asked before the node; it takes outputs and variables as its defaults, as a node does. False: the
                node is Skipped, and those that depend on it get None.
            continue_on_error: if the node fails, those that depend on it get None.
            options: see `NodeOptions`.

        Raises:
            DagDefinitionError: `dag.closed`, outside the block. Everything else is told when the block is left.
        """
        self._check_open()

        def define(defined: Callable[..., Any]) -> Node[Any]:
            name = options.get("name") or str(getattr(defined, "__name__", "node"))
            definition = Definition(
                name=name,
                place=place_of(defined),
                call=call_of(defined, has_item=foreach is not None),
                after=tuple(self._named(each) for each in options.get("after", ())),
                when=call_of(when) if when is not None else None,
                foreach=binding_of(foreach) if foreach is not None else None,
                items_parallel_limit=options.get("items_parallel_limit"),
                retry=options.get("retry"),
                timeout_seconds=options.get("timeout_seconds"),
                continue_on_error=continue_on_error,
                thread=options.get("thread", False),
            )
            self.definitions.append(definition)
            return Node(self, name, defined)

        return define if function is None else define(function)

    def variable(self, name: str, expected: type[T], *, default: T | object = _REQUIRED) -> T:
        """Declare a variable and return it, to be the default of a parameter. Without a default, a run must give it.

        Raises:
            DagDefinitionError: `dag.closed`, outside the block.
        """
        self._check_open()
        required = default is _REQUIRED
        value = None if required else default
        self.variables.append(
            VariableDefinition(name=name, place=place_of_caller(), expected=expected, default=value, required=required)
        )
        return cast("T", Source(self, "variables", name))

    def output_of(self, name: str, expected: type[T]) -> T:
        """Return the output of a node by its name, which may be defined further down."""
        del expected  # for the type checker; nothing but that node can say what it gives
        return cast("T", Source(self, "steps", name))

    def include(
        self,
        other: "Dag",
        *,
        prefix: str,
        variables: Mapping[str, object] | None = None,
        after: Sequence[Node[Any] | str] = (),
    ) -> Included:
        """Add every node of another Dag, its name prefixed, and return how to get at their outputs.

        Args:
            other: a Dag whose block has been left.
            prefix: of the names of its nodes, and of its variables that are not given here.
            variables: values or outputs for its variables.
            after: what its first nodes wait for.

        Raises:
            DagDefinitionError: `dag.closed`, outside the block. Everything else is told when the block is left.
        """
        self._check_open()
        place = place_of_caller()
        if other._state != "sound":  # noqa: SLF001 - of this class
            self._note(place, "dag.include", f"the Dag {other.name!r} cannot be included before its block is left")
            return Included(self, other, prefix)
        taken = included(self, other, place, prefix, variables or {}, tuple(map(self._named, after)))
        self.definitions += taken.definitions
        self.variables += taken.variables
        for code, message in taken.wrong:
            self._note(place, code, message)
        return Included(self, other, prefix)

    # --- use ---

    def plan(self) -> Plan:
        """Return the plan, which `runner` runs.

        Raises:
            DagDefinitionError: the block has not been left, or not without errors.
        """
        return self._checked().plan

    def runner(self) -> StepRunner:
        """Return what runs the nodes of `plan`, for a `MissionRun` of one's own.

        Raises:
            DagDefinitionError: as `plan`.
        """
        return self._checked().runner

    async def run(
        self, *, variables: JsonObject | None = None, prior: DagResult | None = None, **options: Unpack[RunOptions]
    ) -> DagResult:
        """Run the Dag to its end and return its result; failures of nodes are in the result, never raised.

        Args:
            variables: by name; the others have their defaults.
            prior: an earlier result of this Dag: what succeeded is kept, and not run again.
            options: see `RunOptions`.

        Raises:
            DagDefinitionError: as `plan`.
            RefusalError: a variable is missing (`dag.missing_variable`), unknown or of another type; an option is
                out of range (`dag.bad_option`); `prior` is that of another Dag (`dag.foreign_source`).
        """
        checked = self._checked()
        given = checked_variables(self.variables, variables or {})
        return await run_dag(self, checked.configured(options), given, options, prior)

    def run_sync(
        self, *, variables: JsonObject | None = None, prior: DagResult | None = None, **options: Unpack[RunOptions]
    ) -> DagResult:
        """Run the Dag in an event loop of its own; as `run`, for programs that have none."""
        return asyncio.run(self.run(variables=variables, prior=prior, **options))

    def stream(
        self,
        batches: Batches,
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        ordered: bool = True,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[DagBatch]:
        """Run the Dag once for each batch, which is the variables of one run; see `engine.stream.stream_mission`.

        Raises:
            DagDefinitionError: as `plan`.
            RefusalError: an option is out of range (`dag.bad_option`).
        """
        checked = self._checked().configured(options)
        return stream_dag(self, checked, self.variables, batches, options, in_flight_max=in_flight_max, ordered=ordered)

    def describe(self, *, style: Literal["text", "mermaid"] = "text") -> str:
        """Return the levels of the Dag as text, or the graph for Mermaid.

        Raises:
            DagDefinitionError: as `plan`.
        """
        plan = self._checked().plan
        return mermaid(plan) if style == "mermaid" else described(plan, self.definitions, self.variables)

    def _checked(self) -> CompiledDag:
        if self._compiled is None:
            wrong = self._state == "broken"
            message = "its block was left with errors" if wrong else "its block has not been left"
            raise self.refused("dag.broken" if wrong else "dag.open", message)
        return self._compiled

    def _check_open(self) -> None:
        if self._state != "open":
            raise self.refused("dag.closed", f"it is defined in its block only: with Dag({self.name!r}) as …")

    def _named(self, node: Node[Any] | str) -> Source:
        if isinstance(node, Node):
            return Source(node.owner, "steps", node.name)
        return Source(self, "steps", node)

    def _note(self, place: Place, code: str, message: str) -> None:
        self._found.append(violation(place, f"Dag {self.name!r}", code, message))

    def refused(self, code: str, message: str) -> DagDefinitionError:
        """Return an error at the line of the program that is calling."""
        of = f"the Dag {self.name!r}"
        return DagDefinitionError([violation(place_of_caller(), of, code, message)], of=of)
