"""A plan: a mission whose every rule has been checked, with its graph and its parsed references."""

from dataclasses import dataclass

from engine.graph import Graph
from engine.mission import Mission
from engine.reference import Template


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What the scheduler takes. `engine.loader` is its only maker, so holding one proves that validation passed."""

    mission: Mission
    graph: Graph  # index i is `mission.steps[i]`
    templates: tuple[Template | None, ...]  # by step index; None: the parameters hold no reference

    def level_ids(self) -> list[list[str]]:
        """Return the step ids of each level, in document order."""
        ids = self.graph.ids
        return [[ids[step] for step in level] for level in self.graph.levels]
