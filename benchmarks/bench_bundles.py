"""What a change of bundle costs those who are asking meanwhile.

A bundle of 1 MB takes the place of another, again and again, under load. No decision may fail, and none may mix two.

Run it: `python -m benchmarks.bench_bundles`
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Any, Final, cast

from benchmarks.command import main
from benchmarks.table import Row
from benchmarks.timing import FULL, Effort
from gateway.policy.bundle import Bundle
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.policy.vetting import Module
from gateway.rulebook import Rulebook
from gateway.rules import Rules
from gateway.workers.supervisor import Zygote
from tests.policy_documents import step

TITLE: Final = "bundles: a change under load"
CALLERS: Final = 4
SWAPS: Final = 4  # for each round of the effort
DATA_BYTES: Final = 1_000_000
SETTLED_SECONDS: Final = 0.3  # of load before and after each change
_POLICY: Final = """package gateway.step

import rego.v1

decision := {"allow": true, "reasons": [], "labels": {"of": data.gateway.mark, "entries": entries}}

entries := "some" if data.gateway.table["k1"]
"""


class _Rules:
    """What stands for rules here: a bundle, and hooks that always fit."""

    compose = None

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle


class _Hooks:
    @asynccontextmanager
    async def refitted(self, _compose: Any) -> AsyncIterator[Callable[[], None]]:
        yield lambda: None


def bundle(mark: str) -> Bundle:
    """Return a bundle with 1 MB of data, which says in each decision which one it is."""
    entry = "x" * 90
    table = {f"k{i}": entry for i in range(DATA_BYTES // 100)}
    manifest = {"revision": mark, "roots": ["gateway"]}
    data = {"gateway": {"mark": mark, "table": table}}
    return Bundle.build(manifest=manifest, data=data, modules=[Module("step.rego", _POLICY)])


async def load(book: Rulebook, marks: dict[str, str], stop: asyncio.Event, waits_us: list[float]) -> None:
    """Ask one decision after the other until it is told to stop.

    Raises:
        ValueError: a decision failed, or was given by one bundle with the data of another.
    """
    document = step("transform", {})
    while not stop.is_set():
        began = time.perf_counter()
        decision = await book.decide("step", document)
        waits_us.append((time.perf_counter() - began) * 1e6)
        if not decision.allow:
            raise ValueError(f"a decision failed: {decision.reasons}")
        if decision.labels["of"] != marks[decision.bundle]:
            raise ValueError("a decision is torn: one bundle's digest with the other's data")


async def under_load(book: Rulebook, bundles: tuple[Bundle, Bundle], changes: int) -> tuple[list[float], list[float]]:
    """Return how long each decision took, and each change; both in µs."""
    marks = {each.digest: each.revision for each in bundles}
    stop, waits_us, swaps_us = asyncio.Event(), list[float](), list[float]()
    asking = [asyncio.create_task(load(book, marks, stop, waits_us)) for _ in range(CALLERS)]
    for number in range(changes):
        await asyncio.sleep(SETTLED_SECONDS)
        began = time.perf_counter()
        await book.activate(bundles[(number + 1) % 2])
        swaps_us.append((time.perf_counter() - began) * 1e6)
    await asyncio.sleep(SETTLED_SECONDS)
    stop.set()
    await asyncio.gather(*asking)
    return waits_us, swaps_us


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure the load alone, then with changes."""
    pair = (bundle("A"), bundle("B"))
    zygote = await Zygote.start(PRELOAD)
    first = WorkerPolicy(zygote, pair[0], 1)
    await first.start()
    book = Rulebook(
        cast("Rules", _Rules(pair[0])),
        first,
        read=lambda each: cast("Rules", _Rules(each)),
        make=lambda rules: WorkerPolicy(zygote, rules.bundle, 1),
        hooks=_Hooks(),
    )
    changes = SWAPS * effort.rounds
    alone, _ = await under_load(book, pair, 0)
    waits, swaps = await under_load(book, pair, changes)
    await book.close()
    await zygote.close()
    against = "the same load, no change"
    for name, share in (("median", 50), ("99 %", 99)):
        ours, floor = _percentile(waits, share), _percentile(alone, share)
        yield Row(what=f"decision while bundles change, {name}", ours=ours, unit="µs", peer_name=against, peer=floor)
    what = f"longest of {len(waits):,} decisions"
    yield Row(what=what, ours=max(waits) / 1e3, unit="ms", peer_name=against, peer=max(alone) / 1e3)
    best, middle = min(swaps) / 1e3, median(swaps) / 1e3
    yield Row(what="1 MB bundle in force, workers started", ours=best, median=middle, unit="ms")


def _percentile(values: list[float], share: int) -> float:
    return quantiles(values, n=100)[share - 1]


if __name__ == "__main__":
    raise SystemExit(main(only="bundles"))
