"""What planning a graph of 100,000 steps costs, a node, beside graphlib and rustworkx in the same run.

Ours is `Graph.build`, from names to edges, counts and levels. The peers get integers, which spares them the names:
graphlib sorts without levels; rustworkx builds a PyDiGraph and returns its layers. Documents of 10,000 steps show what
stands before planning. Run it: `python -m benchmarks.bench_graph`.
"""

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter

import rustworkx
import yaml

from engine.graph import Graph
from engine.loader import load_mission
from engine.mission import MissionLimits

NODES = 100_000
WIDTH = 100
STEPS = 10_000
ROUNDS = 7  # of each; the best counts: the machine may be busy with other things


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: microseconds a node or a step, of ours and of the peer."""

    what: str
    ours_us: float
    peer: str
    peer_us: float


def layered(nodes: int, parents: int) -> list[list[int]]:
    """Return a graph in layers of WIDTH, where a node has up to `parents` parents in the layer before."""
    rows: list[list[int]] = []
    for node in range(nodes):
        above = node - WIDTH
        rows.append([] if above < 0 else [above - above % WIDTH + (above + k) % WIDTH for k in range(parents)])
    return rows


def best_us(work: Callable[[], object], nodes: int) -> float:
    """Return the microseconds a node of the fastest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best / nodes * 1e6


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


def graph_rows(parents: int) -> list[Row]:
    """Return the rows of a graph with this many parents a node."""
    rows = layered(NODES, parents)
    ids = [f"step-{node}" for node in range(NODES)]
    depends_on = [[ids[parent] for parent in row] for row in rows]
    edges = [(parent, node) for node, row in enumerate(rows) for parent in row]
    assert len(Graph.build(ids, depends_on).levels) == NODES // WIDTH
    ours = best_us(lambda: Graph.build(ids, depends_on), NODES)
    what = f"plan {NODES} nodes, {len(edges)} edges"
    return [
        Row(what, ours, "graphlib", best_us(lambda: sort_with_graphlib(rows), NODES)),
        Row(what, ours, "rustworkx", best_us(lambda: layers_of_rustworkx(edges, NODES), NODES)),
    ]


def document_rows() -> list[Row]:
    """Return the rows of reading, checking and planning a document, beside the bare parser of its format."""
    steps = [
        {
            "id": f"step-{n}",
            "name": f"Step {n}",
            "step_type": "transform",
            "depends_on": [f"step-{n - 1}"] if n else [],
            "parameters": {"input": {"number": n, "text": "hello world"}, "operations": []},
        }
        for n in range(STEPS)
    ]
    mission = {"version": "1.0", "name": "bench", "steps": steps}
    as_json, as_yaml = json.dumps(mission).encode(), yaml.dump(mission, Dumper=yaml.CSafeDumper).encode()

    def load(data: bytes) -> object:
        return load_mission(data, limits=MissionLimits(), step_types=("transform",))

    return [
        Row(f"load {STEPS} steps of JSON", best_us(lambda: load(as_json), STEPS), "json.loads", _json(as_json)),
        Row(f"load {STEPS} steps of YAML", best_us(lambda: load(as_yaml), STEPS), "yaml.CSafeLoader", _yaml(as_yaml)),
    ]


def _json(data: bytes) -> float:
    return best_us(lambda: json.loads(data), STEPS)


def _yaml(data: bytes) -> float:
    return best_us(lambda: yaml.load(data, Loader=yaml.CSafeLoader), STEPS)


def rows() -> list[Row]:
    """Return every figure."""
    return [*graph_rows(1), *graph_rows(2), *document_rows()]


def main() -> None:
    """Print every figure."""
    print(f"{'what':40} {'ours, µs each':>14} {'peer':>18} {'peer, µs each':>14} {'ratio':>7}")
    for row in rows():
        ratio = row.ours_us / row.peer_us
        print(f"{row.what:40} {row.ours_us:14.2f} {row.peer:>18} {row.peer_us:14.2f} {ratio:6.2f}x")


if __name__ == "__main__":
    main()
