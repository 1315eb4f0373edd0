"""The bounds of a mission with its sub-missions."""

import asyncio

import pytest

from gateway.errors import ConflictError
from gateway.missions.tree import DEPTH_MAX, Trees
from tests.unit.gateway.missions.approval_worlds import Facts, FakeStore


def part(mission_id: str, parent: Facts, steps: int) -> Facts:
    return Facts(id=mission_id, parent_id=parent.id, root_id=parent.root_id, depth=parent.depth + 1, steps_total=steps)


async def take(trees: Trees, store: FakeStore, parent: Facts, mission_id: str, steps: int) -> None:
    async with trees.room(parent, steps):
        await asyncio.sleep(0)
        store.missions[mission_id] = part(mission_id, parent, steps)


async def test_missions_nest_four_deep() -> None:
    """The fifth level is refused."""
    deep = Facts(id="d", root_id="m1", depth=DEPTH_MAX - 1)
    store = FakeStore(Facts(), deep)
    trees = Trees(store, steps_max=100)
    await take(trees, store, deep, "e", 1)
    with pytest.raises(ConflictError) as refused:
        await take(trees, store, store.missions["e"], "f", 1)
    assert refused.value.code == "mission.too_deep"


async def test_all_steps_of_a_tree_count() -> None:
    """Those of the root, of its parts, and of theirs; what does not fit is refused, and less may still fit."""
    root = Facts(steps_total=3)
    child = part("c", root, 3)
    store = FakeStore(root, child, part("g", child, 3))
    trees = Trees(store, steps_max=10)
    with pytest.raises(ConflictError) as refused:
        await take(trees, store, child, "h", 2)
    assert refused.value.code == "mission.too_many_steps"
    await take(trees, store, root, "i", 1)
    with pytest.raises(ConflictError):
        await take(trees, store, root, "j", 1)


async def test_two_at_once_do_not_both_take_the_last_room() -> None:
    """They take turns, from the count to the record."""
    root = Facts(steps_total=1)
    store = FakeStore(root)
    trees = Trees(store, steps_max=10)
    both = await asyncio.gather(
        take(trees, store, root, "a", 6), take(trees, store, root, "b", 6), return_exceptions=True
    )
    assert [type(each) for each in both] == [type(None), ConflictError]


async def test_a_tree_is_counted_once() -> None:
    """A fan-out of sub-missions costs no walk each; one whose record failed makes the next one count anew."""
    root = Facts(steps_total=1)
    store = FakeStore(root)
    trees = Trees(store, steps_max=1_000)
    for number in range(100):
        await take(trees, store, root, f"c{number}", 1)
    looks = store.looks
    assert looks == 1
    with pytest.raises(RuntimeError):
        async with trees.room(root, 5):
            raise RuntimeError
    await take(trees, store, root, "last", 1)
    assert store.looks > looks
