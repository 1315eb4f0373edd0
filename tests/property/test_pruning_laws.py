"""Pruning: of any forest exactly those trees go that ended whole and long enough ago, and all else stays as it was."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import START, TickingClock, counts, ending, fill, mission, part, rows_of

Forest: TypeAlias = list[tuple[int | None, int | None]]

# Of each mission: its parent (an earlier one, or none), and the second of its end (or none).
FORESTS = st.lists(st.tuples(st.none() | st.integers(0, 7), st.none() | st.integers(0, 9)), min_size=1, max_size=8).map(
    lambda nodes: [(p if p is not None and p < n else None, end) for n, (p, end) in enumerate(nodes)]
)


def root_of(forest: Forest, n: int) -> int:
    parent = forest[n][0]
    return n if parent is None else root_of(forest, parent)


def depth_of(forest: Forest, n: int) -> int:
    parent = forest[n][0]
    return 0 if parent is None else 1 + depth_of(forest, parent)


async def planted(path: Path, forest: Forest) -> Store:
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    for n, (parent, _) in enumerate(forest):
        depth = depth_of(forest, n)
        new = mission(f"m{n}") if parent is None else part(f"m{n}", f"m{parent}", f"m{root_of(forest, n)}", depth)
        await store.create_mission(new)
        await fill(store, new.id, 1 + n % 2)
    for n, (_, second) in enumerate(forest):
        if second is not None:
            await store.finish_mission(ending(f"m{n}", START + timedelta(seconds=second)))
    return store


@given(forest=FORESTS, before=st.integers(0, 10), limit=st.integers(1, 3), rows_max=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_exactly_the_trees_that_are_over_go(forest: Forest, before: int, limit: int, rows_max: int) -> None:
    """In the order of their roots' ends, at most `limit`, each to its last row; of all others every row stays."""
    trees: dict[int, list[int]] = {}
    for n in range(len(forest)):
        trees.setdefault(root_of(forest, n), []).append(n)
    over = {
        root: end
        for root, (_, end) in enumerate(forest)
        if root in trees and end is not None and end < before and all(forest[n][1] is not None for n in trees[root])
    }
    oldest = sorted(over, key=lambda root: (over[root], root))[:limit]
    gone = {n for root in oldest for n in trees[root]}

    async def prune(path: Path) -> None:
        store = await planted(path, forest)
        rows = {n: rows_of(path, f"m{n}") for n in range(len(forest))}
        told = await store.prunable(START + timedelta(seconds=before), limit)
        with patch("gateway.store.pruning.ROWS_MAX", rows_max):
            assert await store.prune(START + timedelta(seconds=before), limit) == told
        assert told == tuple(f"m{root}" for root in oldest)
        assert {m.id for m in (await store.list_missions()).missions} == {f"m{n}" for n in rows if n not in gone}
        for n, before_it in rows.items():
            assert rows_of(path, f"m{n}") == (dict.fromkeys(before_it, 0) if n in gone else before_it)
        counts(path)
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(prune(Path(folder) / "s.db"))
