"""How large a mission may be with its sub-missions: one bound for the depth, one for the steps of all together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from engine.lru import LruCache
from gateway.errors import ConflictError
from gateway.missions.ports import ChildStore, MissionFacts

DEPTH_MAX: Final = 4  # missions that one is inside of
REMEMBERED_MAX: Final = 4_096  # trees whose steps are counted once


class Trees:
    """Gives sub-missions room in their trees, one at a time, so that two at once cannot both take the last of it."""

    def __init__(self, store: ChildStore, *, steps_max: int) -> None:
        self._store = store
        self._steps_max = steps_max
        self._trees: WeakValueDictionary[str, _Tree] = WeakValueDictionary()  # by root: those in use, each once
        self._remembered: LruCache[str, _Tree] = LruCache(REMEMBERED_MAX, REMEMBERED_MAX)

    @asynccontextmanager
    async def room(self, parent: MissionFacts, steps: int) -> AsyncIterator[None]:
        """Record a sub-mission of `steps` steps inside of this block; where the block raises, it is counted anew.

        Raises:
            ConflictError: `mission.too_deep`; `mission.too_many_steps`, with all that its tree has already.
        """
        if parent.depth >= DEPTH_MAX:
            raise ConflictError(f"missions nest at most {DEPTH_MAX} deep", code="mission.too_deep")
        tree = self._trees.setdefault(parent.root_id, _Tree())
        self._remembered.put(parent.root_id, tree, 1)
        async with tree.turn:
            taken = tree.steps if tree.steps is not None else await self._steps(parent.root_id)
            if taken + steps > self._steps_max:
                tree.steps = taken
                message = f"{steps} steps more than the {taken} around them are over the {self._steps_max} of a mission"
                raise ConflictError(message, code="mission.too_many_steps")
            tree.steps = None  # unknown until the block has ended well
            yield
            tree.steps = taken + steps

    async def _steps(self, root_id: str) -> int:
        """Return how many steps a mission has with all that is below it; at most DEPTH_MAX levels are."""
        root = await self._store.get_mission(root_id)
        total, level = root.steps_total, [root]
        for _ in range(DEPTH_MAX):
            level = [child for mission in level for child in await self._store.children(mission.id)]
            total += sum(child.steps_total for child in level)
        return total


class _Tree:
    """One tree: whose turn it is, and its steps where they are known."""

    __slots__ = ("__weakref__", "steps", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.steps: int | None = None
