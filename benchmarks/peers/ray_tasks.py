"""Ray: a task a step, whose arguments are what it depends on, in worker processes on this machine."""

import ray

from benchmarks.peers.rounds import Run, no_op, serve
from benchmarks.shapes import Shape

CPUS = 2


def main() -> None:
    """Start Ray, and answer."""
    ray.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    step = ray.remote(no_op)

    def prepare(shape: Shape) -> Run:
        def run() -> None:
            made: list[object] = []
            for row in shape:
                made.append(step.remote(*(made[parent] for parent in row)))
            ray.get(made)

        return run

    serve("ray", prepare)
    ray.shutdown()


if __name__ == "__main__":
    main()
