"""A node: one function of a Dag, with where its parameters come from and how it is run."""

import inspect
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypedDict, TypeVar, cast, overload

from engine.dsl.errors import Place
from engine.dsl.sources import Binding, Item, Source, binding_of
from engine.retry import RetryPolicy

T = TypeVar("T")
I_co = TypeVar("I_co", covariant=True)
P = ParamSpec("P")

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Node(Generic[T]):
    """A node of a Dag that gives a `T`."""

    __slots__ = ("_owner", "function", "name")

    def __init__(self, owner: object, name: str, function: Callable[..., Any]) -> None:
        self._owner = owner
        self.name = name
        self.function = function  # as it was written, for tests

    @property
    def owner(self) -> object:
        """The Dag."""
        return self._owner

    @property
    def output(self) -> T:
        """What the node gives, as the default of a parameter: `def total(rows: list[int] = extract.output)`."""
        return cast("T", Source(self._owner, "steps", self.name))

    def __repr__(self) -> str:
        """Return its name."""
        return f"<Node {self.name!r}>"


class NodeOptions(TypedDict, total=False):
    """How a node is run; every one may be left out."""

    name: str  # of the node; else the function's
    after: Sequence[Node[Any] | str]  # waits for these as well, whose outputs it does not use
    retry: RetryPolicy
    timeout_seconds: float  # of one attempt
    thread: bool  # a sync function that blocks: it is run in a thread, and the others go on
    items_parallel_limit: int  # of a fan-out: items that run at a time


class Decorator(Protocol):
    """Makes a node of a function."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Node[T]: ...
    @overload
    def __call__(self, function: Callable[..., T], /) -> Node[T]: ...


class OptionalDecorator(Protocol):
    """Makes a node whose output may be missing: its condition did not hold, or it failed and the Dag goes on."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Node[T | None]: ...
    @overload
    def __call__(self, function: Callable[..., T], /) -> Node[T | None]: ...


class EachDecorator(Protocol[I_co]):
    """Makes a node that is run for each item; the first parameter is the item."""

    @overload
    def __call__(self, function: Callable[Concatenate[I_co, P], Coroutine[Any, Any, T]], /) -> Node[list[T]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[I_co, P], T], /) -> Node[list[T]]: ...


class OptionalEachDecorator(Protocol[I_co]):
    """As `EachDecorator`, where the list may be missing, and so may be some of it."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[I_co, P], Coroutine[Any, Any, T]], /
    ) -> Node[list[T | None] | None]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[I_co, P], T], /) -> Node[list[T | None] | None]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function and where each of its parameters gets its value."""

    function: Callable[..., Any]
    positional: tuple[tuple[str, Binding], ...] = ()
    keyword: tuple[tuple[str, Binding], ...] = ()
    unbound: tuple[str, ...] = ()  # parameters without a source

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Where its values come from."""
        return tuple(binding for _, binding in (*self.positional, *self.keyword))


def call_of(function: Callable[..., Any], *, has_item: bool = False) -> Call:
    """Return the call of a function; with `has_item`, the first parameter without a default is the item."""
    positional: list[tuple[str, Binding]] = []
    keyword: list[tuple[str, Binding]] = []
    unbound: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in _VARIADIC:
            continue
        row = keyword if parameter.kind is inspect.Parameter.KEYWORD_ONLY else positional
        if parameter.default is not inspect.Parameter.empty:
            row.append((name, binding_of(parameter.default)))
        elif has_item and not any(isinstance(b, Item) for _, b in (*positional, *keyword)):
            row.append((name, Item()))
        else:
            unbound.append(name)
    return Call(function, tuple(positional), tuple(keyword), tuple(unbound))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Definition:
    """A node as it was written, not yet checked. An included one is rewritten for its new Dag."""

    name: str
    place: Place
    written: Place | None = None  # of an included one: where its function is; `place` is where it is included
    call: Call
    after: tuple[Source, ...] = ()
    when: Call | None = None
    foreach: Binding | None = None
    items_parallel_limit: int | None = None
    retry: RetryPolicy | None = None
    timeout_seconds: float | None = None
    continue_on_error: bool = False
    thread: bool = False

    def bindings(self) -> list[Binding]:
        """Return everything that the node reads or waits for, in the order of its parameters."""
        condition = self.when.bindings if self.when is not None else ()
        items = () if self.foreach is None else (self.foreach,)
        return [*self.call.bindings, *items, *self.after, *condition]

    def sources(self) -> list[Source]:
        """Return the outputs and variables among `bindings`."""
        return [binding for binding in self.bindings() if isinstance(binding, Source)]

    def depends_on(self) -> tuple[str, ...]:
        """Return the names of the nodes that it waits for, each once."""
        return tuple(dict.fromkeys(source.name for source in self.sources() if source.kind == "steps"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariableDefinition:
    """A variable as it was declared."""

    name: str
    place: Place
    expected: object  # a type
    default: Any = None
    required: bool = field(default=False)
