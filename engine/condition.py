"""Conditions of steps: `when` as data, parsed once, asked when everything that the step waits for has ended.

    {"eq" | "ne" | "lt" | "gt": ["${reference}", value]}    {"in": ["${reference}", [value, …]]}
    {"exists": ["${reference}"]}                            {"all" | "any": [condition, …]}    {"not": condition}

Nothing is coerced: `eq` compares as JSON does, so 1 equals 1.0, and neither `true` nor "1"; `lt` and `gt` compare two
numbers, or two texts by code points, and anything else fails the step. A path that leads nowhere fails the step as
well, unless `exists` asks for it. `all` and `any` look no further than they must, from the first part on, so
`exists` can guard what follows it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from engine.errors import StepError
from engine.findings import Findings, Path, shown, suggestion
from engine.reference import Reference, Scope, lookup, parse_alone, refuse_references
from engine.values import JsonObject, JsonValue

_EXISTS: Final = "exists"
_PAIR: Final = 2  # a reference, and a value


class _Node(Protocol):
    def holds(self, scope: Scope) -> bool:
        """Return whether this part of the condition is true."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One `when`, parsed."""

    document: JsonObject  # as the client wrote it
    uses: tuple[tuple[Path, Reference], ...]  # where in the mission, and what; of `exists` without its path
    _root: _Node

    def holds(self, scope: Scope) -> bool:
        """Return whether the step is to run.

        Raises:
            StepError: a path that does not exist (`reference.unresolved`), or values that have no order
                (`condition.type`). The same values give the same answer, so it is not tried again.
        """
        return self._root.holds(scope)


def parse_condition(value: JsonValue, path: Path, findings: Findings, *, nodes_max: int) -> Condition:
    """Return the condition that stands at `path`; what is wrong with it is told to `findings`, and it is false then.

    What its references name is not looked at here, nor whether it comes before the step.
    """
    parser = _Parser(findings, nodes_max)
    root = parser.node(value, path)
    return Condition(
        value if isinstance(value, dict) else {},
        tuple(parser.uses),
        root if root is not None and parser.sound else _NEVER,
    )


def json_equal(one: JsonValue, other: JsonValue) -> bool:
    """Return whether two JSON values are the same; numbers are compared exactly, a boolean is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(json_equal(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return one == other  # numbers, texts and null; of two kinds, False


def _ordered(one: JsonValue, other: JsonValue) -> bool:
    """Return whether `one` comes before `other`.

    Raises:
        StepError: they have no order (`condition.type`).
    """
    if _is_number(one) and _is_number(other):
        return one < other  # type: ignore[operator]
    if isinstance(one, str) and isinstance(other, str):
        return one < other
    raise StepError(
        "only two numbers or two texts can be compared by lt and gt", code="condition.type", retryable=False
    )


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_among(value: JsonValue, values: JsonValue) -> bool:
    return isinstance(values, list) and any(json_equal(value, each) for each in values)


_COMPARISONS: Final[Mapping[str, Callable[[JsonValue, JsonValue], bool]]] = {
    "eq": json_equal,
    "ne": lambda one, other: not json_equal(one, other),
    "lt": _ordered,
    "gt": lambda one, other: _ordered(other, one),
    "in": _is_among,
}
_OPERATORS: Final = (*_COMPARISONS, _EXISTS, "all", "any", "not")


@dataclass(frozen=True, slots=True)
class _Comparison:
    operator: str
    left: Reference
    right: JsonValue

    def holds(self, scope: Scope) -> bool:
        try:
            return _COMPARISONS[self.operator](lookup(self.left, scope), self.right)
        except StepError as error:
            message = f"when: {self.operator} of {self.left}: {error.message}"
            raise StepError(message, code=error.code, retryable=False) from error


@dataclass(frozen=True, slots=True)
class _Exists:
    reference: Reference

    def holds(self, scope: Scope) -> bool:
        try:
            lookup(self.reference, scope)
        except StepError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _All:
    parts: tuple[_Node, ...]

    def holds(self, scope: Scope) -> bool:
        return all(part.holds(scope) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Any:
    parts: tuple[_Node, ...]

    def holds(self, scope: Scope) -> bool:
        return any(part.holds(scope) for part in self.parts)


_NEVER: Final = _Any(())


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Node

    def holds(self, scope: Scope) -> bool:
        return not self.part.holds(scope)


class _Parser:
    """One walk over a condition: at most `nodes_max` nodes, and so many calls deep, whatever the document holds."""

    def __init__(self, findings: Findings, nodes_max: int) -> None:
        self.uses: list[tuple[Path, Reference]] = []
        self.sound = True  # nothing is wrong with it so far
        self._findings = findings
        self._nodes_max = nodes_max
        self._nodes = 0

    def node(self, value: JsonValue, path: Path) -> _Node | None:
        self._nodes += 1
        if self._nodes > self._nodes_max:
            self.sound = False
            if self._nodes == self._nodes_max + 1:  # once
                message = f"a condition has at most {self._nodes_max} parts; a transform step can compute more"
                self._findings.add(path, "condition.too_large", message, kind="limit")
            return None
        if not isinstance(value, dict):
            return self._wrong(
                path, "mission.wrong_type", 'a condition such as {"eq": ["${steps.ID.output}", 1]} is due'
            )
        if len(value) != 1:
            message = f"a condition is an object with one operator, and this has {len(value)}; combine with all or any"
            return self._wrong(path, "condition.syntax", message)
        ((operator, operand),) = value.items()
        return self._operation(operator, operand, (*path, operator))

    def _operation(self, operator: str, operand: JsonValue, path: Path) -> _Node | None:
        match operator:
            case "not":
                part = self.node(operand, path)
                return _Not(part) if part is not None else None
            case "all" | "any":
                return self._combination(operator, operand, path)
            case "exists":
                return self._exists(operand, path)
            case "eq" | "ne" | "lt" | "gt" | "in":
                return self._comparison(operator, operand, path)
        message = f"there is no operator '{shown(operator)}'{suggestion(operator, _OPERATORS)}"
        return self._wrong(path, "condition.syntax", message, at_key=True)

    def _combination(self, operator: str, operand: JsonValue, path: Path) -> _Node | None:
        if not isinstance(operand, list) or not operand:
            return self._wrong(path, "condition.syntax", f"{operator} takes a list of at least one condition")
        left = max(self._nodes_max - self._nodes, 0) + 1  # one too many is told, and no more are looked at
        parts = [self.node(part, (*path, at)) for at, part in enumerate(operand[:left])]
        sound = tuple(part for part in parts if part is not None)
        return _All(sound) if operator == "all" else _Any(sound)

    def _exists(self, operand: JsonValue, path: Path) -> _Node | None:
        if not isinstance(operand, list) or len(operand) != 1:
            return self._wrong(path, "condition.syntax", "exists takes a list of one reference")
        reference = self._reference(operand[0], (*path, 0), beginning_only=True)
        return _Exists(reference) if reference is not None else None

    def _comparison(self, operator: str, operand: JsonValue, path: Path) -> _Node | None:
        if not isinstance(operand, list) or len(operand) != _PAIR:
            return self._wrong(path, "condition.syntax", f"{operator} takes a list of a reference and a value")
        reference = self._reference(operand[0], (*path, 0))
        value, at = operand[1], (*path, 1)
        refuse_references(value, at, self._report)
        if operator == "in" and not isinstance(value, list):
            return self._wrong(at, "mission.wrong_type", "a list of values is expected here")
        if operator in {"lt", "gt"} and not (_is_number(value) or isinstance(value, str)):
            return self._wrong(at, "mission.wrong_type", "a number or a string is expected here")
        return _Comparison(operator, reference, value) if reference is not None else None

    def _reference(self, value: JsonValue, path: Path, *, beginning_only: bool = False) -> Reference | None:
        if not isinstance(value, str):
            self._wrong(path, "mission.wrong_type", "a reference such as ${steps.ID.output} is expected here")
            return None
        reference = parse_alone(value, path, self._report)
        if reference is not None:
            used = Reference(reference.source, reference.name) if beginning_only else reference
            self.uses.append((path, used))
        return reference

    def _report(self, path: Path, code: str, message: str) -> None:
        self._wrong(path, code, message)

    def _wrong(self, path: Path, code: str, message: str, *, at_key: bool = False) -> _Node | None:
        """Report a fault, and return that there is no node."""
        self.sound = False
        self._findings.add(path, code, message, at_key=at_key)
        return None
