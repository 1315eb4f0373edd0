"""A peer's end of the talk with `benchmarks.peer`: a line asks for a run, a line says what it took.

Asked: `{"shape": ["fan_out", 1000], "trace": false}`. Answered: `{"seconds": 0.05}`, or traced `{"bytes": 81920}`: what
the Python of this process held at most while the run lasted. The first line that a peer writes is `{"version": "1.0"}`.
The end of the input ends the program.
"""

import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from benchmarks.shapes import SHAPES, Shape

Run = Callable[[], object]


def serve(package: str, prepare: Callable[[Shape], Run]) -> None:
    """Answer until nobody asks any more. What `prepare` does is not measured; what it returns is, once or often."""
    asked, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what the peer starts must not read our lines,
    os.dup2(2, 1)  # nor write among them

    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=answers, flush=True)

    prepared: dict[tuple[object, ...], Run] = {}
    answer({"version": version(package)})
    for line in asked:
        question = json.loads(line)
        name, *sizes = question["shape"]
        key = (name, *sizes)
        if key not in prepared:
            prepared[key] = prepare(SHAPES[name](*sizes))
        answer(traced(prepared[key]) if question["trace"] else timed(prepared[key]))


def timed(run: Run) -> dict[str, float]:
    """Run once; return the seconds."""
    began = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - began}


def traced(run: Run) -> dict[str, float]:
    """Run once; return the most bytes that Python held for it at a time."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"bytes": peak}


def no_op(*_: object) -> None:
    """Be the step."""


def fail(message: str) -> None:
    """End the program: it does not measure what it says."""
    sys.exit(message)
