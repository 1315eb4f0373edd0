"""Dask distributed: a scheduler and two worker processes on loopback."""

from itertools import count

from distributed import Client, LocalCluster

from benchmarks.peers.rounds import Run, no_op, serve
from benchmarks.shapes import Shape

WORKERS = 2
RUNS = count()


def main() -> None:
    """Start the cluster, and answer."""
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def prepare(shape: Shape) -> Run:
            def run() -> None:
                name = f"run-{next(RUNS)}"  # a name that was computed before would be found, not computed
                graph = {(name, n): (no_op, *((name, parent) for parent in row)) for n, row in enumerate(shape)}
                client.get(graph, list(graph))

            return run

        serve("distributed", prepare)


if __name__ == "__main__":
    main()
