"""The dependency graph of a mission: names become indices once, and Kahn's algorithm orders them.

Everything is an index into the mission's steps, in document order, in plain lists: 100,000 nodes are planned at
under a microsecond each, and the scheduler counts `indegree` down without looking at a name.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import MissionInvalidError, Violation
from engine.findings import shown

IDS_SHOWN_MAX = 12  # step ids that the message about a cycle spells out
_SHORT_ROW = 8  # children of a step that are kept as a tuple
_TARGETS_PER_SWEEP = 4_096  # bits per set in `not_ancestors`: bounds memory to 512 bytes a step


@dataclass(frozen=True, slots=True)
class EdgeFault:
    """A dependency that cannot be an edge: entry `entry` of `depends_on` of step `step`."""

    step: int
    entry: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """Steps that wait for each other: each depends on the next, the last on the first, the smallest index first."""

    steps: tuple[int, ...]

    def describe(self, ids: Sequence[str]) -> str:
        """Return the message: `… in a cycle: a → b → a`; the middle of a long cycle is counted, not spelled out."""
        names = [ids[step] for step in self.steps]
        if len(names) > IDS_SHOWN_MAX:
            hidden = len(names) - IDS_SHOWN_MAX
            names[IDS_SHOWN_MAX - 1 : -1] = [f"({hidden} more)"]
        return "the steps depend on each other in a cycle: " + " → ".join([*names, names[0]])


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """An acyclic graph. No list of it is ever changed: the scheduler copies `indegree` before it counts."""

    ids: tuple[str, ...]
    index: Mapping[str, int]
    parents: Sequence[Sequence[int]]  # what a step waits for, in the order of its `depends_on`
    children: Sequence[Sequence[int]]  # what waits for it, in document order
    indegree: Sequence[int]
    levels: tuple[tuple[int, ...], ...]  # level = longest path from a source; document order within a level

    @staticmethod
    def of(ids: Sequence[str], index: Mapping[str, int], parents: Sequence[Sequence[int]]) -> "Graph | Cycle":
        """Return the graph of these edges, or one cycle of it. `parents` has a row a step, and no self-edge."""
        children = _children(parents)
        indegree = list(map(len, parents))
        levels = _levels(children, indegree)
        if sum(map(len, levels)) < len(parents):
            return _find_cycle(parents, levels)
        return Graph(tuple(ids), index, parents, children, indegree, tuple(levels))

    @staticmethod
    def build(ids: Sequence[str], depends_on: Sequence[Sequence[str]]) -> "Graph":
        """Return the graph of steps named `ids`, where step i waits for the steps that `depends_on[i]` names.

        Raises:
            MissionInvalidError: a duplicate id, an unknown or repeated dependency, one on itself, or a cycle.
        """
        index = dict(zip(ids, range(len(ids)), strict=True))
        if len(index) < len(ids):
            twice = next(i for i, step_id in enumerate(ids) if index[step_id] != i)
            message = f"two steps have the id '{shown(ids[twice])}'"
            raise _invalid("mission.duplicate_id", message, f"steps[{index[ids[twice]]}].id")
        parents, faults = resolve_edges(index, depends_on)
        if faults:
            first = faults[0]
            raise _invalid(first.code, first.message, f"steps[{first.step}].depends_on[{first.entry}]")
        graph = Graph.of(ids, index, parents)
        if isinstance(graph, Cycle):
            raise _invalid("mission.cycle", graph.describe(ids), f"steps[{graph.steps[0]}].depends_on")
        return graph


def resolve_edges(
    index: Mapping[str, int], depends_on: Sequence[Sequence[str]]
) -> tuple[list[tuple[int, ...]], list[EdgeFault]]:
    """Return the indices that each step depends on, and every dependency that is none (which is left out)."""
    faults: list[EdgeFault] = []
    try:
        parents = _rows(index, depends_on)
        if _are_sound(parents):
            return parents, faults
    except KeyError:
        pass
    return [_sound_edges(step, names, index, faults) for step, names in enumerate(depends_on)], faults


def _rows(index: Mapping[str, int], depends_on: Sequence[Sequence[str]]) -> list[tuple[int, ...]]:
    """Return the indices of the names. Most steps have two or fewer, for which no iterator is made.

    Raises:
        KeyError: there is no such step.
    """
    rows: list[tuple[int, ...]] = []
    for names in depends_on:
        match len(names):
            case 0:
                rows.append(())
            case 1:
                rows.append((index[names[0]],))
            case 2:
                one, other = names
                rows.append((index[one], index[other]))
            case _:
                rows.append(tuple([index[name] for name in names]))
    return rows


def _are_sound(parents: Sequence[Sequence[int]]) -> bool:
    """Return whether no step depends on itself, or twice on another."""
    for step, row in enumerate(parents):
        count = len(row)
        if step in row or (count == 2 and row[0] == row[1]) or (count > 2 and len(set(row)) < count):  # noqa: PLR2004 - a pair needs no set
            return False
    return True


def _sound_edges(step: int, names: Sequence[str], index: Mapping[str, int], faults: list[EdgeFault]) -> tuple[int, ...]:
    """Return the dependencies of `step` that are edges; the others are told to `faults`."""
    sound: dict[int, None] = {}
    for entry, name in enumerate(names):
        parent = index.get(name)
        if parent is None:
            faults.append(EdgeFault(step, entry, "mission.unknown_dependency", f"there is no step '{shown(name)}'"))
        elif parent == step:
            faults.append(EdgeFault(step, entry, "mission.self_dependency", "a step cannot depend on itself"))
        elif parent in sound:
            faults.append(EdgeFault(step, entry, "mission.duplicate_dependency", f"'{shown(name)}' is listed twice"))
        else:
            sound[parent] = None
    return tuple(sound)


def _children(parents: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Return the edges the other way round.

    A short row is a tuple: the garbage collector lets go of tuples of integers, and would look at 100,000 lists again
    and again. A long one is a list, to which a child is added in constant time.
    """
    children: list[Sequence[int]] = [()] * len(parents)
    for step, row in enumerate(parents):
        alone = (step,)  # one tuple for all parents that have no other child
        for parent in row:
            known = children[parent]
            if not known:
                children[parent] = alone
            elif isinstance(known, list):
                known.append(step)
            elif len(known) < _SHORT_ROW:
                children[parent] = (*known, step)
            else:
                children[parent] = [*known, step]
    return children


def _levels(children: Sequence[Sequence[int]], indegree: Sequence[int]) -> list[tuple[int, ...]]:
    """Kahn's algorithm, a level at a time. Steps in or behind a cycle are in no level.

    Source: A. B. Kahn, Topological sorting of large networks, CACM 5 (1962).
    """
    waiting = list(indegree)
    levels: list[tuple[int, ...]] = []
    ready = [step for step, count in enumerate(waiting) if not count]
    while ready:
        levels.append(tuple(ready))
        following: list[int] = []
        for step in ready:
            for child in children[step]:
                waiting[child] -= 1
                if not waiting[child]:
                    following.append(child)
        following.sort()
        ready = following
    return levels


def _find_cycle(parents: Sequence[Sequence[int]], levels: Iterable[Iterable[int]]) -> Cycle:
    """Return a shortest cycle through one step; the same graph gives the same cycle.

    Every step outside `levels` has a parent outside them, so walking from parent to parent must come round.
    """
    sorted_steps = {step for level in levels for step in level}
    stuck = [[p for p in row if p not in sorted_steps] for row in parents]
    here = next(step for step, row in enumerate(stuck) if row and step not in sorted_steps)
    trail: dict[int, int] = {}
    while here not in trail:
        trail[here] = len(trail)
        here = stuck[here][0]
    start = min(step for step, place in trail.items() if place >= trail[here])
    came_from: dict[int, int] = {}
    queue = deque([start])
    while start not in came_from:
        step = queue.popleft()
        for parent in stuck[step]:
            if parent not in came_from:
                came_from[parent] = step
                queue.append(parent)
    path = [came_from[start]]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    path.reverse()
    first = path.index(min(path))
    return Cycle((*path[first:], *path[:first]))


def not_ancestors(graph: Graph, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return the positions in `pairs` of each (step, other) where `other` does not come before `step`.

    Only steps that are asked about get a bit, and direct parents need none, so an ordinary mission costs nothing.
    """
    parents = {step: frozenset(graph.parents[step]) for step in {step for step, _ in pairs}}
    asked = [at for at, (step, other) in enumerate(pairs) if other not in parents[step]]
    targets = sorted({pairs[at][1] for at in asked})
    wrong: list[int] = []
    for first in range(0, len(targets), _TARGETS_PER_SWEEP):
        bits = {target: 1 << bit for bit, target in enumerate(targets[first : first + _TARGETS_PER_SWEEP])}
        before = _sweep(graph, bits)
        wrong += [at for at in asked if (bit := bits.get(pairs[at][1])) and not before[pairs[at][0]] & bit]
    return sorted(wrong)


def _sweep(graph: Graph, bits: Mapping[int, int]) -> list[int]:
    """Return, for each step, the set (as bits) of the marked steps that come before it."""
    before = [0] * len(graph.ids)
    for level in graph.levels[1:]:
        for step in level:
            seen = 0
            for parent in graph.parents[step]:
                seen |= before[parent] | bits.get(parent, 0)
            before[step] = seen
    return before


def _invalid(code: str, message: str, field: str) -> MissionInvalidError:
    return MissionInvalidError([Violation(code=code, message=message, field=field)])
