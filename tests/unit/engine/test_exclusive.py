import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import FaultError
from engine.exclusive import ExclusiveKeys
from tests.virtual_time import VirtualTimeLoop, run


class Room:
    """Workers that hold keys, and a record of who was in, when, and with whom."""

    def __init__(self, **options: int) -> None:
        self.keys = ExclusiveKeys(**options)
        self.inside: dict[tuple[str, str], str] = {}
        self.order: list[str] = []

    async def work(self, name: str, *, key: str = "k", tenant: str = "t", priority: int = 5) -> None:
        async with self.keys.hold(tenant, key, priority):
            assert (tenant, key) not in self.inside, f"{name} met {self.inside}"
            self.inside[tenant, key] = name
            self.order.append(name)
            try:
                await asyncio.sleep(1.0)
            finally:
                del self.inside[tenant, key]


def test_one_holds_a_key_and_the_next_is_the_highest_priority_then_the_first_come() -> None:
    """Who holds it is not interrupted, whoever comes."""

    async def main() -> None:
        room = Room()
        people = [("first", 0), ("low", 1), ("early", 7), ("late", 7), ("high", 9)]
        tasks = [asyncio.create_task(room.work(name, priority=priority)) for name, priority in people]
        await asyncio.sleep(0.5)
        assert room.keys.waiting("t", "k") == 4
        await asyncio.gather(*tasks)
        assert room.order == ["first", "high", "early", "late", "low"]
        assert room.keys.waiting("t", "k") == 0
        assert room.keys._queues == {}

    run(main())


def test_keys_and_tenants_do_not_meet() -> None:
    """The same key of another tenant is another key."""

    async def main() -> None:
        room = Room()
        await asyncio.gather(room.work("a"), room.work("b", key="other"), room.work("c", tenant="other"))
        assert asyncio.get_running_loop().time() == 1.0

    run(main())


def test_a_holder_that_fails_hands_the_key_on() -> None:
    """So does one that is cancelled."""

    async def main() -> None:
        room = Room()

        async def fail() -> None:
            async with room.keys.hold("t", "k", 5):
                await asyncio.sleep(1.0)
                raise ValueError("no")

        tasks = [asyncio.create_task(coroutine) for coroutine in (fail(), room.work("cancelled"), room.work("last"))]
        await asyncio.sleep(1.5)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert room.order == ["cancelled", "last"]
        assert isinstance(tasks[0].exception(), ValueError)

    run(main())


def test_the_queue_has_a_maximum() -> None:
    """The one too many is refused at once, and a place is free when another has left."""

    async def main() -> None:
        room = Room(waiting_max=1)
        tasks = [asyncio.create_task(room.work(name)) for name in ("holds", "waits")]
        await asyncio.sleep(0.5)
        with pytest.raises(FaultError) as raised:
            await room.work("refused")
        assert raised.value.code == "exclusive.too_many"
        tasks[1].cancel()
        await asyncio.sleep(0)
        assert room.keys.waiting("t", "k") == 0
        await room.work("admitted")
        assert room.order == ["holds", "admitted"]

    run(main())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 40)), max_size=6))
def test_cancellation_at_any_moment_loses_no_key_and_lets_no_two_in(cancellations: list[tuple[int, int]]) -> None:
    """Whoever is cancelled, in whichever turn of the loop: everybody else gets the key, and it is free at the end."""
    loop = VirtualTimeLoop()

    async def main() -> None:
        room = Room()
        tasks = [asyncio.create_task(room.work(str(n), priority=n % 3)) for n in range(5)]
        for victim, moment in cancellations:
            before = loop.acts.get(loop.iterations + moment)
            loop.acts[loop.iterations + moment] = lambda v=victim, b=before: (b and b(), tasks[v].cancel())
        await asyncio.wait(tasks)
        spared = {str(n) for n in range(5)} - {str(victim) for victim, _ in cancellations}
        assert spared <= set(room.order)
        assert room.keys._queues == {}
        assert room.keys._waiting == 0
        loop.acts.clear()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert loop.complaints == []
