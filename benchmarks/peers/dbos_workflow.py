"""DBOS: a durable workflow that runs its steps one after another, each recorded in SQLite before the next."""

import tempfile
from pathlib import Path

from dbos import DBOS, DBOSConfig

from benchmarks.peers.rounds import Run, no_op, serve
from benchmarks.shapes import Shape


def main(folder: Path) -> None:
    """Open the database, and answer."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    step = DBOS.step(name="step")(no_op)

    def steps(count: int) -> None:
        for _ in range(count):
            step()

    mission = DBOS.workflow(name="mission")(steps)
    DBOS.launch()

    def prepare(shape: Shape) -> Run:
        return lambda: mission(len(shape))  # in document order, which is an order of the graph

    serve("dbos", prepare)
    DBOS.destroy()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
