"""Dask's threaded scheduler: a graph in memory, executed by a pool of threads."""

import dask.threaded

from benchmarks.peers.rounds import Run, no_op, serve
from benchmarks.shapes import Shape

THREADS = 2


def prepare(shape: Shape) -> Run:
    """Write the graph as Dask does; a run computes every step of it."""
    graph = {f"step-{n}": (no_op, *(f"step-{parent}" for parent in row)) for n, row in enumerate(shape)}
    return lambda: dask.threaded.get(graph, list(graph), num_workers=THREADS)


if __name__ == "__main__":
    serve("dask", prepare)
