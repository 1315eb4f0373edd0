"""A plan: a mission whose every rule has been checked, with its graph and its parsed references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.graph import Graph
from engine.mission import Mission
from engine.reference import Reference, Scope, Template
from engine.values import JsonValue


class Predicate(Protocol):
    """A condition, ready to be asked; `engine.condition.Condition` is one, and so is a Python program's own."""

    def holds(self, scope: Scope) -> bool:
        """Return whether the step is to run.

        Raises:
            StepError: it cannot be told; the step has failed.
        """


class ItemSource(Protocol):
    """Where the items of a fan-out come from; `engine.foreach.ForEachItems` is one."""

    @property
    def parallel_limit(self) -> int | None:
        """How many of them run at a time; None: as many as the mission allows."""

    def items(self, scope: Scope) -> Sequence[JsonValue]:
        """Return the items.

        Raises:
            StepError: they are no list; the step has failed.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What the scheduler takes. `engine.loader` is its only maker, so holding one proves that validation passed."""

    mission: Mission
    graph: Graph  # index i is `mission.steps[i]`
    templates: tuple[Template | None, ...]  # by step index; None: the parameters hold no reference
    conditions: Mapping[int, Predicate] = field(default_factory=dict)  # by step index, of those that have one
    fan_outs: Mapping[int, ItemSource] = field(default_factory=dict)  # by step index, of those that have one
    references: tuple[tuple[Reference, ...], ...] = ()  # by step index, of all that its text refers to; a document's

    def level_ids(self) -> list[list[str]]:
        """Return the step ids of each level, in document order."""
        ids = self.graph.ids
        return [[ids[step] for step in level] for level in self.graph.levels]
