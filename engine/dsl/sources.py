"""Where a parameter of a node gets its value: an output, a variable, a constant, or the item of a fan-out.

To a type checker `extract.output` is a `list[int]`; to Python it is a `Source`, which says where that list will be.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, Union, get_args, get_origin, is_typeddict

import orjson

from engine.reference import Reference, Scope, lookup
from engine.values import JsonValue

T = TypeVar("T")
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

Getter: TypeAlias = Callable[[Scope, JsonValue], Any]  # of the scope and the item


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The output of a node, or a variable, of one Dag; `source["rows"][0]` is a part of it."""

    owner: object  # the Dag
    kind: Literal["steps", "variables"]
    name: str
    path: tuple[str, ...] = ()

    def __getitem__(self, key: str | int) -> "Source":
        """Return the source of one member of an object, or of one item of a list."""
        if not (type(key) is str or (type(key) is int and key >= 0)):
            raise TypeError(f"a key or an index from 0 is expected, not {key!r}; a node can compute anything else")
        return replace(self, path=(*self.path, str(key)))

    __iter__ = None  # else Python would iterate by asking for [0], [1] and so on, without end

    def __bool__(self) -> NoReturn:
        """Refuse: at the definition there is no value yet."""
        raise TypeError(f"{self} has no value while the Dag is defined; ask in a node, or in `when`")

    def __str__(self) -> str:
        """Return what it is: `output of 'extract'`."""
        what = "output of" if self.kind == "steps" else "variable"
        return f"{what} {self.name!r}" + "".join(f"[{part!r}]" for part in self.path)

    def reference(self) -> Reference:
        """Return the reference that finds the value."""
        return Reference(self.kind, self.name, self.path)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value that is known at the definition; `path` leads into it."""

    value: Any
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """The item of a fan-out."""


Binding: TypeAlias = Source | Constant | Item


def binding_of(value: object) -> Binding:
    """Return what a default, or a value given to `include`, stands for."""
    return value if isinstance(value, Source) else Constant(value)


def within(binding: Binding, path: tuple[str, ...]) -> Binding:
    """Return the part of a binding that `path` leads to."""
    return binding if isinstance(binding, Item) or not path else replace(binding, path=(*binding.path, *path))


def own(value: JsonValue) -> Any:
    """Return a value that nobody else holds; scalars cannot be changed and are returned as they are."""
    return value if type(value) in _SCALARS else orjson.loads(orjson.dumps(value))


def reader(binding: Binding) -> Getter:
    """Return how the value is found while the Dag runs; it is to be read, never written.

    Raises:
        StepError: a constant has no such part (`reference.unresolved`).
    """
    match binding:
        case Item():
            return lambda _scope, item: item
        case Source():
            reference = binding.reference()
            return lambda scope, _item: lookup(reference, scope)
        case Constant(value, path):
            if path:
                value = lookup(Reference("variables", "it", path), _One({"it": value}, {}))
            return lambda _scope, _item: value


def getter(binding: Binding) -> Getter:
    """Return how the value is had while the Dag runs; every call gives a copy of its own."""
    read = reader(binding)
    if not isinstance(binding, Constant):
        return lambda scope, item: own(read(scope, item))
    if isinstance(binding.value, list | dict | set):
        return lambda scope, item: copy.deepcopy(read(scope, item))
    return read


@dataclass(frozen=True, slots=True)
class _One:
    """A scope of variables only."""

    variables: Mapping[str, JsonValue]
    step_outputs: Mapping[str, JsonValue]


def fits(value: object, expected: object) -> bool:
    """Return whether a value is of the declared type of a variable; contents of containers are not looked at.

    As in JSON, an integer is a float, and a bool is neither.
    """
    origin = get_origin(expected) or expected
    if origin in {Union, UnionType}:
        return any(fits(value, each) for each in get_args(expected))
    if origin is Literal:
        return value in get_args(expected)
    if is_typeddict(origin):
        return isinstance(value, Mapping)
    if not isinstance(origin, type) or origin in {Any, object}:
        return expected is not None or value is None
    if isinstance(value, bool):
        return origin is bool
    if origin is float:
        return isinstance(value, int | float)
    return isinstance(value, origin)


def type_name(expected: object) -> str:
    """Return the type as a program writes it."""
    return expected.__name__ if isinstance(expected, type) and not get_args(expected) else str(expected)
