"""Which ready step starts next: the strategies, as two orders over one graph."""

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Final

from engine.graph import Graph
from engine.result import StepResult


class DocumentOrder:
    """A step is ready when nothing that it waits for is unfinished; of the ready, the first of the document is next.

    A step that waits for others costs one list entry. `outcomes` is the ledger's list: a step that has an outcome is
    never ready.
    """

    def __init__(self, graph: Graph, outcomes: Sequence[StepResult | None]) -> None:
        self._children: Final = graph.children
        self._outcomes: Final = outcomes
        self._waiting = list(graph.indegree)  # unfinished dependencies of each step
        self._ready: list[int] = []  # a heap

        self.on_level_done: Callable[[], None] | None = None  # called inside `peek` between levels, and after the last

    def begin(self) -> None:
        """Find the first ready steps; what was kept from an earlier execution has been released before."""
        outcomes = self._outcomes
        self._ready = [
            i for i, count in enumerate(self._waiting) if not count and outcomes[i] is None
        ]  # sorted: a heap

    def release(self, index: int) -> None:
        """Count down what waits for a step; what waits for nothing more is ready."""
        waiting = self._waiting
        for child in self._children[index]:
            waiting[child] -= 1
            if not waiting[child]:
                self._became_ready(child)

    def ended(self, index: int) -> None:
        """Hear that a step has an outcome."""

    def peek(self) -> int | None:
        """Return the next step, which stays the next until it is popped."""
        return self._ready[0] if self._ready else None

    def pop(self) -> None:
        """Take the next step off."""
        heappop(self._ready)

    def push(self, index: int) -> None:
        """Let a step that was popped be ready again: a fan-out that has more items."""
        heappush(self._ready, index)

    def clear(self) -> None:
        """Let no step be ready any more."""
        self._ready.clear()

    def is_waiting(self, index: int) -> bool:
        """Return whether something that the step waits for is unfinished."""
        return self._waiting[index] > 0

    def _became_ready(self, index: int) -> None:
        if self._outcomes[index] is None:
            heappush(self._ready, index)


class LevelOrder(DocumentOrder):
    """A level starts when every step of the one before has ended."""

    def __init__(self, graph: Graph, outcomes: Sequence[StepResult | None]) -> None:
        super().__init__(graph, outcomes)
        self._levels: Final = graph.levels
        self._open: set[int] = set()  # steps of the level that have not ended
        self.level = -1

    def begin(self) -> None:
        """Do nothing: the first `peek` opens the first level."""

    def ended(self, index: int) -> None:
        """Hear that a step has an outcome, or one that waits for its level's."""
        self._open.discard(index)

    def peek(self) -> int | None:
        """Return the next step; open the next level where this one has ended."""
        while not self._ready and not self._open and self.level < len(self._levels):
            level = self.level
            if level >= 0 and self.on_level_done is not None:
                self.on_level_done()
                if self.level != level:  # whoever was told has asked for the next step, or stopped the mission
                    continue
            self.level += 1
            if self.level < len(self._levels):
                self.open_level()
        return super().peek()

    def clear(self) -> None:
        """Let no step be ready any more, of later levels neither."""
        super().clear()
        self.level = len(self._levels)

    def withhold(self) -> None:
        """Let no step of the level be ready, until it is opened again."""
        super().clear()

    def open_level(self) -> Iterable[int]:
        """Let every step of the level that has no outcome be ready: at its start, or when it is begun anew."""
        self._ready = [index for index in self._levels[self.level] if self._outcomes[index] is None]  # sorted: a heap
        self._open = set(self._ready)
        return self._open

    def _became_ready(self, index: int) -> None:
        pass  # its level makes it so
