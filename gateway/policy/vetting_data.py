"""Lookups in data.json: OPA's store reads a path of texts, so `data.xs["0"]` is an element of an array there.

regorus has values: a text is no place of an array, and a number is a key of an object by way of its own spelling,
through an import not even that. What is looked up in a *named* value, `xs := data.xs; xs[x]`, both find alike.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from functools import cached_property
from typing import Final, TypeAlias

from engine.values import JsonValue

_NUMERAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Computed(Enum):
    """A step of a lookup that is known when the rule is evaluated."""

    ANY = auto()  # every element: the lookup itself gives the name its values
    PLACE = auto()  # a number
    VALUE = auto()  # anything


Step: TypeAlias = str | int | Computed


class Stored:
    """The values that a lookup may have reached, taken together: each of them is looked at once for all lookups."""

    def __init__(self, values: Sequence[JsonValue]) -> None:
        """Take the values as they are; nothing is looked at before it is asked for."""
        self.values = values

    @cached_property
    def _arrays(self) -> bool:
        return any(isinstance(value, list) for value in self.values)

    @cached_property
    def _numerals(self) -> bool:
        return any(_NUMERAL.fullmatch(key) for value in self.values if isinstance(value, dict) for key in value)

    @cached_property
    def _by_key(self) -> dict[Step, "Stored"]:
        found: dict[Step, list[JsonValue]] = {}
        for value in self.values:
            for key, one in _elements(value):
                found.setdefault(key, []).append(one)
        return {key: Stored(values) for key, values in found.items()}

    @cached_property
    def _all(self) -> "Stored":
        return Stored([one for value in self.values for _, one in _elements(value)])

    def fault(self, steps: Iterable[Step]) -> str | None:
        """Return what of a lookup the engines read differently, or None."""
        at = self
        for step in steps:
            if at._arrays and (isinstance(step, str) or step is Computed.VALUE):
                return 'an array of data.json, in which OPA finds the text "0" as well as the number'
            if at._numerals and not isinstance(step, str) and step is not Computed.ANY:
                return "an object of data.json with a number as a key, which the engines spell differently"
            at = at._all if isinstance(step, Computed) else at._by_key.get(step, _NOTHING)
        return None

    def is_array(self, path: Iterable[str]) -> bool:
        """Whether a path of keys leads to an array."""
        at = self
        for key in path:
            at = at._by_key.get(key, _NOTHING)
        return any(isinstance(value, list) for value in at.values)


def _elements(value: JsonValue) -> Iterable[tuple[Step, JsonValue]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


_NOTHING: Final = Stored(())
