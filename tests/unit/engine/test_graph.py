"""Names become edges, levels and cycles; real workflows plan as their authors' tools say."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import MissionInvalidError
from engine.graph import Cycle, Graph, not_ancestors, resolve_edges

DAGS = sorted((Path(__file__).parents[2] / "vectors" / "dags").glob("*.json.gz"))


def build(**depends_on: str) -> Graph:
    """Return the graph of `a="b c"`: a depends on b and c."""
    return Graph.build(tuple(depends_on), [names.split() for names in depends_on.values()])


def test_levels_are_longest_paths_in_document_order() -> None:
    """A step's level is its longest path from a source, and a level lists its steps as the document does."""
    graph = build(last="left right", right="first", left="first", first="", aside="", deep="left")
    named = [[graph.ids[step] for step in level] for level in graph.levels]
    assert named == [["first", "aside"], ["right", "left"], ["last", "deep"]]


def test_children_are_parents_turned_round() -> None:
    """`children`, `parents` and `indegree` tell of the same edges."""
    graph = build(a="", b="a", c="a b", d="")
    assert [list(row) for row in graph.children] == [[1, 2], [2], [], []]
    assert [list(row) for row in graph.parents] == [[], [0], [0, 1], []]
    assert list(graph.indegree) == [0, 1, 2, 0]
    assert graph.index == {"a": 0, "b": 1, "c": 2, "d": 3}


@pytest.mark.parametrize(
    ("depends_on", "code", "field"),
    [
        ({"a": "", "b": "z"}, "mission.unknown_dependency", "steps[1].depends_on[0]"),
        ({"a": "a"}, "mission.self_dependency", "steps[0].depends_on[0]"),
        ({"a": "", "b": "a a"}, "mission.duplicate_dependency", "steps[1].depends_on[1]"),
        ({"a": "b", "b": "a"}, "mission.cycle", "steps[0].depends_on"),
    ],
)
def test_no_edge_is_repaired(depends_on: dict[str, str], code: str, field: str) -> None:
    """An edge that cannot be is refused by its code and its field, and none is dropped."""
    with pytest.raises(MissionInvalidError) as caught:
        build(**depends_on)
    assert [(v.code, v.field) for v in caught.value.violations] == [(code, field)]


def test_two_steps_with_one_id_are_refused() -> None:
    """An id names one step."""
    with pytest.raises(MissionInvalidError, match="two steps have the id 'a'"):
        Graph.build(["a", "b", "a"], [[], [], []])


def test_good_edges_survive_beside_bad_ones() -> None:
    """Resolving reports each fault and keeps every edge that is one, so that later checks see the graph."""
    parents, faults = resolve_edges({"a": 0, "b": 1}, [[], ["a", "z", "b", "a"]])
    assert parents == [(), (0,)]
    assert [(f.entry, f.code) for f in faults] == [
        (1, "mission.unknown_dependency"),
        (2, "mission.self_dependency"),
        (3, "mission.duplicate_dependency"),
    ]


def test_the_cycle_shown_is_short_and_the_same_each_time() -> None:
    """Out of a tangle, one shortest cycle through its smallest step is named, in the direction of depends_on."""
    with pytest.raises(MissionInvalidError) as caught:
        build(before="", a="before b", b="c x", c="a", x="b", after="a")
    assert caught.value.violations[0].message.endswith("cycle: a → b → c → a")


def test_a_long_cycle_is_counted_and_not_spelled_out() -> None:
    """A cycle of 10,000 steps gives a message that a person can read."""
    ids = [f"s{i}" for i in range(10_000)]
    with pytest.raises(MissionInvalidError) as caught:
        Graph.build(ids, [[ids[i - 1]] for i in range(10_000)])
    message = caught.value.violations[0].message
    assert message.startswith("the steps depend on each other in a cycle: s0 → s9999 → s9998")
    assert message.endswith("→ (9988 more) → s1 → s0")
    assert len(message) < 200


def test_a_cycle_is_no_graph() -> None:
    """`Graph.of` returns the cycle instead of a graph without levels."""
    assert Graph.of(["a", "b"], {"a": 0, "b": 1}, [(1,), (0,)]) == Cycle((0, 1))


def test_ancestors_are_transitive() -> None:
    """A step comes after its parents' parents, and not after itself, its children or its siblings."""
    graph = build(a="", b="a", c="b", other="a")
    pairs = [(2, 1), (2, 0), (2, 2), (1, 2), (2, 3), (3, 0)]
    assert not_ancestors(graph, pairs) == [2, 3, 4]


def test_ancestry_of_a_chain_of_ten_thousand() -> None:
    """Asking about every step of a long chain needs more sets than one sweep holds, and is answered right."""
    ids = [f"s{i}" for i in range(10_000)]
    graph = Graph.build(ids, [[ids[i - 1]] if i else [] for i in range(10_000)])
    assert not_ancestors(graph, [(9_999, other) for other in range(9_998)]) == []
    assert not_ancestors(graph, [(0, other) for other in range(1, 10_000)]) == list(range(9_999))


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_real_workflows_have_their_levels(path: Path) -> None:
    """Graphs of Argo, CWL, GitHub Actions and WfCommons plan into as many levels, as wide, as their source says."""
    dag: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    depends_on: list[list[str]] = [[] for _ in range(dag["n"])]
    for parent, child in dag["edges"]:
        depends_on[child].append(f"n{parent}")
    graph = Graph.build([f"n{i}" for i in range(dag["n"])], depends_on)
    assert len(graph.levels) == dag["levels"]
    assert sum(map(len, graph.levels)) == dag["n"]
    assert sum(map(len, graph.children)) == len(dag["edges"])


@pytest.mark.timeout(20)
def test_one_step_may_ask_about_many_ancestors() -> None:
    """A hundred thousand references of one step with thousands of parents are checked in linear time."""
    ids = [f"s{i}" for i in range(5_000)]
    graph = Graph.build([*ids, "last"], [*([] for _ in ids), ids[:-1]])
    assert not_ancestors(graph, [(5_000, other % 4_999) for other in range(100_000)]) == []
    assert not_ancestors(graph, [(5_000, 4_999)] * 3) == [0, 1, 2]
