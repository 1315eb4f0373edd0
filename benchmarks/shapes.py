"""The shapes of the missions that are measured: entry i of a shape says which steps step i depends on.

The standard library alone: the peers' interpreter, which has nothing of ours installed, builds the same shapes.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

Shape = list[tuple[int, ...]]

_REAL: Final = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "dags"
LARGEST_REAL: Final = "wfgen-genome-10000"
"""The largest of the real graphs that the tests run, by its edges; their SOURCES.md says where each is from."""


def independent(count: int) -> Shape:
    """Steps that wait for nothing."""
    return [()] * count


def chain(count: int) -> Shape:
    """One step after another."""
    return [(n - 1,) if n else () for n in range(count)]


def fan_out(count: int) -> Shape:
    """One step, and all others after it."""
    return [(), *[(0,)] * (count - 1)]


def layered(count: int, levels: int) -> Shape:
    """Levels of equal width; a step depends on two of the level before."""
    width = count // levels
    return [() if n < width else (n - width, (n // width - 1) * width + (n + 1) % width) for n in range(width * levels)]


def ladder(count: int) -> Shape:
    """Diamonds, each standing on the one before: a step, two after it, and one that joins them, which is the next's."""
    rows = (lambda n: (n - 2, n - 1) if n else (), lambda n: (n - 1,), lambda n: (n - 2,))
    return [rows[n % 3](n) for n in range(count)]


def real(name: str) -> Shape:
    """A graph that was taken from a real workflow."""
    graph = json.loads(gzip.decompress((_REAL / f"{name}.json.gz").read_bytes()))
    parents: list[list[int]] = [[] for _ in range(graph["n"])]
    for parent, child in graph["edges"]:
        parents[child].append(parent)
    return [tuple(row) for row in parents]


SHAPES: Final[Mapping[str, Callable[..., Shape]]] = {
    "chain": chain,
    "fan_out": fan_out,
    "layered": layered,
    "ladder": ladder,
}
"""What a peer's process can be asked for, by name."""
