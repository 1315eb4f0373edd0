"""One timer for everything that expires."""

import asyncio
from datetime import datetime, timedelta

from gateway.missions.expiry import Expiry
from tests.virtual_time import EPOCH, LoopClock, run


def after(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


class SteppingClock(LoopClock):
    """Wall time that somebody sets."""

    offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


def test_it_rings_in_the_order_of_the_moments() -> None:
    """Once for each, at its moment, whatever the order in which they were given; what is past rings at once."""

    async def main() -> None:
        rung: list[tuple[str, float]] = []
        loop = asyncio.get_running_loop()
        expiry = Expiry(LoopClock(), lambda name: rung.append((name, loop.time())))
        for name, seconds in (("c", 300), ("a", 100), ("past", -5), ("b", 100), ("never", 200)):
            expiry.watch(name, after(seconds))
        expiry.forget("never")
        await asyncio.sleep(1_000)
        assert rung == [("past", 0), ("a", 100), ("b", 100), ("c", 300)]
        assert loop._scheduled == []  # type: ignore[attr-defined]

    run(main())


def test_a_clock_that_is_set_forward_is_noticed() -> None:
    """Within a minute; nothing rings before its moment where the clock is set back."""

    async def main() -> None:
        rung: list[float] = []
        clock = SteppingClock()
        expiry = Expiry(clock, lambda _name: rung.append(asyncio.get_running_loop().time()))
        expiry.watch("a", after(10_000))
        expiry.watch("b", after(200))
        await asyncio.sleep(100)
        clock.offset = timedelta(seconds=-100)
        await asyncio.sleep(150)
        assert rung == []
        await asyncio.sleep(100)
        assert len(rung) == 1
        clock.offset = timedelta(seconds=20_000)
        await asyncio.sleep(61)
        assert len(rung) == 2

    run(main())


def test_what_is_forgotten_takes_no_room() -> None:
    """A gateway that asks for thousands of approvals and gets them keeps nothing of them."""

    async def main() -> None:
        expiry = Expiry(LoopClock(), lambda _name: None)
        expiry.watch("last", after(10_000))
        for number in range(10_000):
            expiry.watch(f"n{number}", after(5_000))
            expiry.forget(f"n{number}")
        assert len(expiry._heap) < 100
        expiry.forget("last")

    run(main())
