"""The same missions of no-op steps in other engines: Dask, Ray, Prefect and DBOS, each in its own way.

Ours is the engine, in this process, with a timeout a step. A peer is a process of the interpreter that `make
bench-peers` makes; it has the shape before the clock starts, and one run that does not count. Sizes are what a peer
does in a few seconds. Prefect and DBOS also record what they do: beside their durable steps stand the gateway's, which
are decided, sandboxed, signed and durable.

Run it: `python -m benchmarks.bench_peers`
"""

import itertools
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bench_gateway import STEPS, secured
from benchmarks.command import main
from benchmarks.missions import execute, peak_bytes, plan_of
from benchmarks.peer import NOT_INSTALLED, PYTHON, Peer, PeerError, running
from benchmarks.shapes import SHAPES
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, Work, in_turn_async
from gateway.assembly import running_gateway
from gateway.config import load_config
from gateway.home import make_home

TITLE: Final = "peers: the same missions in other engines"
ROUNDS_MAX: Final = 3
AT_ONCE: Final = 16
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it


Sized = tuple[str, *tuple[int, ...]]  # a name of SHAPES, and what it takes


@dataclass(frozen=True, slots=True)
class Engine:
    """A peer, and what it is asked for."""

    module: str
    title: str
    shapes: tuple[Sized, ...]
    records: bool = False  # what a step did is durable before the run goes on
    in_memory: bool = False  # in its favour: what it records costs it no disk


ENGINES: Final = (
    Engine(
        "dask_threads",
        "Dask, threads",
        (("fan_out", 10_000), ("layered", 10_000, 100), ("ladder", 3_000), ("chain", 1_000)),
    ),
    Engine(
        "dask_cluster",
        "Dask distributed",
        (("fan_out", 1_000), ("layered", 1_000, 10), ("ladder", 300), ("chain", 100)),
    ),
    Engine("ray_tasks", "Ray tasks", (("fan_out", 1_000), ("layered", 1_000, 10), ("ladder", 300), ("chain", 100))),
    Engine("prefect_flow", "Prefect", (("fan_out", 100), ("layered", 100, 10), ("chain", 10)), records=True),
    Engine("dbos_workflow", "DBOS on SQLite", (("chain", 100),), records=True),
    Engine("dbos_workflow", "DBOS on SQLite in memory", (("chain", 100),), in_memory=True),
)


def name_of(shape: Sized) -> str:
    """Return how a shape is called in the table."""
    name, *sizes = shape
    joint = " " if sizes[1:] else " of "
    return f"{name.replace('_', '-')}{joint}{' x '.join(f'{size:,}' for size in sizes)}"


async def shape_rows(engine: Engine, peer: Peer, secured_step: Timing, effort: Effort) -> AsyncIterator[Row]:
    """Measure what one peer is asked for, ours and it in turn."""
    against = f"{engine.title} {peer.version}"
    for shape in engine.shapes:
        parents = SHAPES[shape[0]](*shape[1:])
        count = len(parents)
        run = partial(execute, plan_of(parents, parallel_limit=AT_ONCE))
        await peer.seconds(*shape)  # prepared, and warm
        ours, its = await in_turn_async(effort, Work(run, count), Work(partial(peer.seconds, *shape), count))
        yield timed_row(f"{name_of(shape)}, beside {engine.title}", "µs/step", ours, against=against, peer=its)
        if shape is engine.shapes[0]:
            yield Row(
                what=f"{name_of(shape)}, beside {engine.title}, at most",
                ours=await peak_bytes(run, count),
                unit="bytes/step",
                peer_name=f"{against}, its caller alone",
                peer=await peer.bytes(*shape) / count,
            )
            if engine.records:
                what = f"a secured, signed, durable step of the gateway, beside {engine.title}"
                yield timed_row(what, "µs/step", secured_step, against=f"{against}, {name_of(shape)}", peer=its)


async def engine_rows(engine: Engine, secured_step: Timing, effort: Effort) -> AsyncIterator[Row]:
    """Measure one peer; where it cannot be, say why in a row."""
    memory = _IN_MEMORY if engine.in_memory and _IN_MEMORY.is_dir() else None
    try:
        async with running(f"benchmarks.peers.{engine.module}", memory) as peer:
            async for row in shape_rows(engine, peer, secured_step, effort):
                yield row
    except PeerError as error:
        yield await alone(engine.shapes[0], f"beside {engine.title}", f"{engine.title}: {error}", effort)


async def alone(shape: Sized, what: str, why: str, effort: Effort) -> Row:
    """Measure ours, and say why there is nothing beside it."""
    plan = plan_of(SHAPES[shape[0]](*shape[1:]), parallel_limit=AT_ONCE)
    [ours] = await in_turn_async(effort, Work(partial(execute, plan), len(plan.mission.steps)))
    return timed_row(f"{name_of(shape)}, {what}", "µs/step", ours, against=why)


async def secured_step_of_gateway(effort: Effort) -> Timing:
    """Return what a step of the gateway takes, every layer on."""
    names = map(str, itertools.count())
    with tempfile.TemporaryDirectory() as folder:
        made = make_home(Path(folder) / "home", listen="127.0.0.1:0")
        async with running_gateway(made.home, load_config(made.home)) as gateway:
            [timing] = await in_turn_async(effort, Work(lambda: secured(gateway, next(names)), STEPS))
    return timing


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure; one line where no peer is there."""
    effort = Effort(effort.name, min(effort.rounds, ROUNDS_MAX))
    if not PYTHON.exists():
        yield await alone(("fan_out", 1_000), "beside other engines", NOT_INSTALLED, effort)
        return
    secured_step = await secured_step_of_gateway(effort)
    for engine in ENGINES:
        async for row in engine_rows(engine, secured_step, effort):
            yield row


if __name__ == "__main__":
    raise SystemExit(main(only="peers"))
