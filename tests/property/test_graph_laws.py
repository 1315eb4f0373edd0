"""Laws of the graph: order, levels, cycles and ancestry, against slower and plainer definitions."""

from graphlib import CycleError, TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from engine.graph import Cycle, Graph, not_ancestors

Rows = list[tuple[int, ...]]


@st.composite
def any_graphs(draw: st.DrawFn) -> Rows:
    """A graph of up to 30 steps, with or without cycles, without self-edges."""
    size = draw(st.integers(1, 30))
    steps = st.integers(0, size - 1)
    rows = draw(st.lists(st.lists(steps, unique=True, max_size=4), min_size=size, max_size=size))
    return [tuple(parent for parent in row if parent != step) for step, row in enumerate(rows)]


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> Rows:
    """An acyclic graph whose document order is not its execution order."""
    rows = draw(any_graphs())
    order = draw(st.permutations(range(len(rows))))
    return [tuple(parent for parent in row if order[parent] < order[step]) for step, row in enumerate(rows)]


def graph_of(rows: Rows) -> Graph | Cycle:
    """Return the graph of these parents."""
    ids = [f"s{step}" for step in range(len(rows))]
    return Graph.of(ids, {step_id: step for step, step_id in enumerate(ids)}, rows)


def acyclic(rows: Rows) -> Graph:
    """Return the graph, which must be one."""
    graph = graph_of(rows)
    assert isinstance(graph, Graph)
    return graph


@given(acyclic_graphs())
def test_a_level_is_one_more_than_the_highest_parents(rows: Rows) -> None:
    """Each step is in exactly one level, its parents in lower ones, one of them directly below."""
    graph = acyclic(rows)
    level = {step: number for number, steps in enumerate(graph.levels) for step in steps}
    assert sorted(level) == list(range(len(rows)))
    assert sum(map(len, graph.levels)) == len(rows)
    for step, row in enumerate(rows):
        assert level[step] == max((level[parent] + 1 for parent in row), default=0)


@given(acyclic_graphs())
def test_levels_keep_the_order_of_the_document(rows: Rows) -> None:
    """Within a level, and among the children of a step, the order is that of the document."""
    graph = acyclic(rows)
    assert all(list(level) == sorted(level) for level in graph.levels)
    assert all(list(row) == sorted(row) for row in graph.children)


@given(acyclic_graphs())
def test_children_parents_and_counts_agree(rows: Rows) -> None:
    """The three forms of the edges hold the same set."""
    graph = acyclic(rows)
    down = {(parent, step) for step, row in enumerate(graph.parents) for parent in row}
    assert down == {(parent, step) for parent, row in enumerate(graph.children) for step in row}
    assert list(graph.indegree) == [len(row) for row in rows]


@given(any_graphs())
def test_a_cycle_is_found_exactly_where_there_is_one(rows: Rows) -> None:
    """The standard library's sorter agrees, and the cycle given is a real one, simple, smallest step first."""
    try:
        list(TopologicalSorter(dict(enumerate(rows))).static_order())
        cyclic = False
    except CycleError:
        cyclic = True
    found = graph_of(rows)
    assert isinstance(found, Cycle) is cyclic
    if isinstance(found, Cycle):
        steps = found.steps
        assert len(set(steps)) == len(steps)
        assert steps[0] == min(steps)
        assert all(after in rows[step] for step, after in zip(steps, (*steps[1:], steps[0]), strict=True))
        assert graph_of(rows) == found


@given(acyclic_graphs(), st.data())
def test_ancestry_is_reachability(rows: Rows, data: st.DataObject) -> None:
    """`not_ancestors` names exactly the pairs that no walk from parent to parent connects."""
    steps = st.integers(0, len(rows) - 1)
    pairs = data.draw(st.lists(st.tuples(steps, steps), max_size=40))

    def reaches(step: int, other: int) -> bool:
        return any(parent == other or reaches(parent, other) for parent in rows[step])

    expected = [at for at, (step, other) in enumerate(pairs) if not reaches(step, other)]
    assert not_ancestors(acyclic(rows), pairs) == expected
