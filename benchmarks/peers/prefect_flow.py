"""Prefect: a flow that submits a task a step to its threads, against the server that it starts for itself."""

from typing import Any

from prefect import flow, task
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from benchmarks.peers.rounds import Run, fail, no_op, serve
from benchmarks.shapes import Shape

AT_ONCE = 16


def main() -> None:
    """Answer; the server starts with the first flow."""
    step = task(no_op, name="step", persist_result=False)

    def prepare(shape: Shape) -> Run:
        def mission() -> None:
            made: list[Any] = []
            for row in shape:
                made.append(step.submit(wait_for=[made[parent] for parent in row]))
            wait(made)
            if not all(future.state.is_completed() for future in made):
                fail("a task has not completed")

        run: Run = flow(mission, name="mission", task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))
        return run

    serve("prefect", prepare)


if __name__ == "__main__":
    main()
