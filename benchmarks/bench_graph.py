"""What planning a graph of 100,000 steps costs, a node, beside graphlib and rustworkx in the same run.

Ours is `Graph.build`, from names to edges, counts and levels. The peers get integers, which spares them the names:
graphlib sorts without levels; rustworkx builds a PyDiGraph and returns its layers. Documents of 10,000 steps show what
stands before planning. Run it: `python -m benchmarks.bench_graph`.
"""

import json
from collections.abc import Iterator
from functools import partial
from graphlib import TopologicalSorter
from typing import Final

import rustworkx
import yaml

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, in_turn
from engine.graph import Graph
from engine.loader import load_mission
from engine.mission import MissionLimits

TITLE: Final = "graph: from a document to a plan"
NODES = 100_000
WIDTH = 100
STEPS = 10_000
YAML_STEPS = 2_000  # its bare parser takes 0.2 ms a step


def layered(nodes: int, parents: int) -> list[list[int]]:
    """Return a graph in layers of WIDTH, where a node has up to `parents` parents in the layer before."""
    rows: list[list[int]] = []
    for node in range(nodes):
        above = node - WIDTH
        rows.append([] if above < 0 else [above - above % WIDTH + (above + k) % WIDTH for k in range(parents)])
    return rows


def sort_with_graphlib(rows: list[list[int]]) -> None:
    """The standard library's order."""
    for _ in TopologicalSorter(dict(enumerate(rows))).static_order():
        pass


def layers_of_rustworkx(edges: list[tuple[int, int]], nodes: int) -> object:
    """The peer's build and its layers."""
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from_no_data(edges)
    return rustworkx.layers(graph, list(range(WIDTH)))


def graph_rows(parents: int, effort: Effort) -> Iterator[Row]:
    """Measure a graph with this many parents a node."""
    rows = layered(NODES, parents)
    ids = [f"step-{node}" for node in range(NODES)]
    depends_on = [[ids[parent] for parent in row] for row in rows]
    edges = [(parent, node) for node, row in enumerate(rows) for parent in row]
    assert len(Graph.build(ids, depends_on).levels) == NODES // WIDTH
    ours, standard, rust = in_turn(
        effort,
        Work(partial(Graph.build, ids, depends_on), NODES),
        Work(partial(sort_with_graphlib, rows), NODES),
        Work(partial(layers_of_rustworkx, edges, NODES), NODES),
    )
    what = f"order and levels, {NODES:,} nodes, {len(edges):,} edges"
    yield timed_row(what, "µs/node", ours, against="graphlib, order alone", peer=standard, target=1)
    yield timed_row(f"{what}, beside Rust", "µs/node", ours, against="rustworkx, given integers", peer=rust)


def document(count: int) -> dict[str, object]:
    """Return a mission of a chain of steps."""
    steps = [
        {
            "id": f"step-{n}",
            "name": f"Step {n}",
            "step_type": "transform",
            "depends_on": [f"step-{n - 1}"] if n else [],
            "parameters": {"input": {"number": n, "text": "hello world"}, "operations": []},
        }
        for n in range(count)
    ]
    return {"version": "1.0", "name": "bench", "steps": steps}


def document_rows(effort: Effort) -> Iterator[Row]:
    """Measure reading, checking and planning a document, beside the bare parser of its format."""
    as_json = json.dumps(document(STEPS)).encode()
    as_yaml = yaml.dump(document(YAML_STEPS), Dumper=yaml.CSafeDumper).encode()

    def load(data: bytes) -> object:
        return load_mission(data, limits=MissionLimits(), step_types=("transform",))

    ours, bare = in_turn(effort, Work(partial(load, as_json), STEPS), Work(partial(json.loads, as_json), STEPS))
    yield timed_row(f"load {STEPS:,} steps of JSON", "µs/step", ours, against="json.loads, checks nothing", peer=bare)
    bare_yaml = partial(yaml.load, as_yaml, Loader=yaml.CSafeLoader)
    ours, bare = in_turn(effort, Work(partial(load, as_yaml), YAML_STEPS), Work(bare_yaml, YAML_STEPS))
    yield timed_row(f"load {YAML_STEPS:,} steps of YAML", "µs/step", ours, against="yaml.CSafeLoader alone", peer=bare)


def rows(effort: Effort = FULL) -> Iterator[Row]:
    """Measure every figure."""
    yield from graph_rows(1, effort)
    yield from graph_rows(2, effort)
    yield from document_rows(effort)


if __name__ == "__main__":
    raise SystemExit(main(only="graph"))
