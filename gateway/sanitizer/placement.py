"""Where in a document a schema's `x-type`s apply: worked out once, then walked beside each document.

An `x-type` says what a string *is*, so it never decides which branch of `anyOf` matches: it applies wherever the
subschema that carries it could apply, and a place with two different ones is refused when the schema is compiled.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Schema: TypeAlias = Mapping[str, object]
Path: TypeAlias = tuple[str | int, ...]

PLACES_MAX: Final = 1_024
IN_PLACE: Final = ("allOf", "anyOf", "oneOf", "then", "else", "$ref")  # keywords that apply to the same instance


class PlacementError(Exception):
    """The schema's `x-type`s contradict each other."""


@dataclass(slots=True, eq=False)
class Place:
    """What applies to one instance. Built once, then only read; recursive schemas make it a cyclic graph."""

    type_name: str | None = None  # of a string
    key_type_name: str | None = None  # of an object's keys
    members: dict[str, "Place | None"] = field(default_factory=dict)
    other_members: "Place | None" = None
    first_elements: list["Place | None"] = field(default_factory=list)
    other_elements: "Place | None" = None

    def below(self) -> "list[Place | None]":
        """Return the places of members and elements."""
        return [*self.members.values(), self.other_members, *self.first_elements, self.other_elements]


@dataclass(frozen=True, slots=True)
class TypedString:
    """A string of a document, or a key, with the type that the schema gives it."""

    path: Path
    type_name: str
    value: str
    is_key: bool = False


def place(schema: Schema) -> Place:
    """Work out where the types of `schema` apply.

    Raises:
        PlacementError: one string would have two types, or the schema has too many places.
    """
    return _Builder(schema).build()


class _Builder:
    """Merges the subschemas that apply to one instance; the same set of them gives the same `Place`."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._places: dict[frozenset[int], Place] = {}
        self._waiting: list[tuple[Place, list[Schema]]] = []

    def build(self) -> Place:
        root = self._place([self._root])
        while self._waiting:
            self._fill(*self._waiting.pop())
        self._prune()
        return root if root is not None else Place()

    def _place(self, schemas: Iterable[object]) -> Place | None:
        """Return the place where `schemas` apply together, to be filled later; None if nothing applies."""
        applied = self._applied(schemas)
        if not applied:
            return None
        key = frozenset(map(id, applied))
        if key not in self._places:
            if len(self._places) == PLACES_MAX:
                raise PlacementError(f"there are more than {PLACES_MAX} ways in which its subschemas combine")
            self._places[key] = Place()
            self._waiting.append((self._places[key], applied))
        return self._places[key]

    def _fill(self, out: Place, applied: list[Schema]) -> None:
        out.type_name = _only(s.get("x-type") for s in applied)
        out.key_type_name = _only(_mapping(s.get("propertyNames")).get("x-type") for s in applied)
        for name in dict.fromkeys(n for s in applied for n in _mapping(s.get("properties"))):
            out.members[name] = self._place(
                _mapping(s.get("properties")).get(name, s.get("additionalProperties")) for s in applied
            )
        out.other_members = self._place(s.get("additionalProperties") for s in applied)
        for index in range(max(len(_sequence(s.get("prefixItems"))) for s in applied)):
            out.first_elements.append(self._place(_element(s, index) for s in applied))
        out.other_elements = self._place(s.get("items") for s in applied)

    def _prune(self) -> None:
        """Forget the places below which no string has a type, so that no document is walked for nothing."""
        places = list(self._places.values())
        useful = {id(p) for p in places if p.type_name or p.key_type_name}
        grown = True
        while grown:
            more = {id(p) for p in places if id(p) not in useful and any(id(b) in useful for b in p.below())}
            useful |= more
            grown = bool(more)
        for p in places:
            p.members = {name: b if id(b) in useful else None for name, b in p.members.items()}
            p.other_members = p.other_members if id(p.other_members) in useful else None
            p.first_elements = [b if id(b) in useful else None for b in p.first_elements]
            p.other_elements = p.other_elements if id(p.other_elements) in useful else None

    def _applied(self, schemas: Iterable[object]) -> list[Schema]:
        """Return the given subschemas and all that they apply in place, each once."""
        seen: dict[int, Schema] = {}
        waiting = [s for s in schemas if isinstance(s, Mapping)]
        while waiting:
            schema = waiting.pop()
            if id(schema) not in seen:
                seen[id(schema)] = schema
                waiting += self._in_place(schema)
        return list(seen.values())

    def _in_place(self, schema: Schema) -> Iterator[Schema]:
        for keyword in IN_PLACE:
            value = schema.get(keyword)
            if isinstance(value, str):
                value = self._root_definition(value)
            for found in value if isinstance(value, list) else [value]:
                if isinstance(found, Mapping):
                    yield found

    def _root_definition(self, reference: str) -> object:
        name = reference.removeprefix("#/$defs/")
        return _mapping(self._root.get("$defs")).get(name)


def _mapping(value: object) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _element(schema: Schema, index: int) -> object:
    first = _sequence(schema.get("prefixItems"))
    return first[index] if index < len(first) else schema.get("items")


def _only(names: Iterable[object]) -> str | None:
    """Return the one type name among `names`."""
    found = {n for n in names if isinstance(n, str)}
    if len(found) > 1:
        raise PlacementError(f"one string is given the types {' and '.join(sorted(found))}")
    return found.pop() if found else None


def typed_strings(root: Place, document: object) -> Iterator[TypedString]:
    """Yield the strings and keys of `document` that have a type; without recursion."""
    waiting: list[tuple[Place, object, Path]] = [(root, document, ())]
    while waiting:
        at, value, path = waiting.pop()
        if isinstance(value, str):
            if at.type_name is not None:
                yield TypedString(path, at.type_name, value)
        elif isinstance(value, dict):
            for name, member in value.items():
                if at.key_type_name is not None:
                    yield TypedString((*path, name), at.key_type_name, name, is_key=True)
                below = at.members.get(name, at.other_members)
                if below is not None:
                    waiting.append((below, member, (*path, name)))
        elif isinstance(value, list):
            first = at.first_elements
            for index, element in enumerate(value):
                below = first[index] if index < len(first) else at.other_elements
                if below is not None:
                    waiting.append((below, element, (*path, index)))
