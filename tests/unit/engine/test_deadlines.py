"""Many deadlines behind one timer: exact, in order, and cheap."""

import asyncio

from engine.deadlines import Deadlines
from tests.virtual_time import VirtualTimeLoop, run


def running_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def test_each_fires_at_its_time_and_in_order() -> None:
    """Deadlines fire exactly when they are due, in the order of time, then of the key, however they were set."""

    async def main() -> list[tuple[float, int]]:
        loop = running_loop()
        fired: list[tuple[float, int]] = []
        deadlines = Deadlines(loop, lambda key: fired.append((round(loop.time(), 6), key)))
        for key, seconds in ((1, 3.0), (2, 0.5), (4, 3.0), (3, 3.0), (5, 0.1), (6, 7.25)):
            deadlines.set(key, seconds)
        await asyncio.sleep(10)
        return fired

    assert run(main()) == [(0.1, 5), (0.5, 2), (3.0, 1), (3.0, 3), (3.0, 4), (7.25, 6)]


def test_a_forgotten_deadline_does_not_fire() -> None:
    """Neither a forgotten key nor one whose deadline was moved fires at the old time."""

    async def main() -> list[tuple[float, int]]:
        loop = running_loop()
        fired: list[tuple[float, int]] = []
        deadlines = Deadlines(loop, lambda key: fired.append((round(loop.time(), 6), key)))
        deadlines.set(1, 1.0)
        deadlines.set(2, 1.0)
        deadlines.set(2, 5.0)
        deadlines.forget(1)
        deadlines.set(3, 2.0)
        await asyncio.sleep(10)
        return fired

    assert run(main()) == [(2.0, 3), (5.0, 2)]


def test_forget_says_whether_it_was_too_late() -> None:
    """A timer that a busy loop keeps from firing does not hide that the deadline is over."""

    async def main() -> tuple[bool, bool, bool]:
        loop = running_loop()
        deadlines = Deadlines(loop, lambda _key: None)
        deadlines.set(1, 1.0)
        deadlines.set(2, 3.0)
        loop.now += 2.0  # the loop was busy
        return deadlines.forget(1), deadlines.forget(2), deadlines.forget(3)

    assert run(main()) == (True, False, False)


def test_a_handler_may_set_forget_and_close() -> None:
    """What a handler does to the deadlines takes effect at once, also for those that are due together."""

    async def main() -> list[int]:
        loop = running_loop()
        fired: list[int] = []

        def expired(key: int) -> None:
            fired.append(key)
            if key == 1:
                deadlines.forget(2)
                deadlines.set(1, 1.0) if fired.count(1) == 1 else deadlines.close()

        deadlines = Deadlines(loop, expired)
        for key in (1, 2, 3):
            deadlines.set(key, 1.0)
        deadlines.set(4, 2.0)
        await asyncio.sleep(10)
        return fired

    assert run(main()) == [1, 3, 1]


def test_ten_thousand_deadlines_cost_one_timer() -> None:
    """The loop knows of the earliest deadline only, and forgotten entries do not pile up."""

    async def main() -> tuple[int, int]:
        loop = running_loop()
        deadlines = Deadlines(loop, lambda _key: None)
        before = loop.timers_made
        largest = 0
        for key in range(10_000):
            deadlines.set(key, 60.0 + key / 1_000)
            if key >= 10:
                deadlines.forget(key - 10)
            largest = max(largest, len(deadlines._heap))
        assert len(deadlines) == 10
        return loop.timers_made - before, largest

    timers, largest = run(main())
    assert timers == 1
    assert largest < 100


def test_what_is_forgotten_between_two_timers_does_not_pile_up() -> None:
    """Deadlines that were there when the timer fired, and are forgotten then, are swept; those that stay are met."""

    async def main() -> tuple[int, int, list[tuple[float, int]]]:
        loop = running_loop()
        fired: list[tuple[float, int]] = []
        deadlines = Deadlines(loop, lambda key: fired.append((round(loop.time(), 6), key)))
        for key in range(1_000):
            deadlines.set(key, 100.0)
        deadlines.set(1_000, 1.0)
        await asyncio.sleep(2.0)
        before = len(deadlines._heap)
        for key in range(998):
            deadlines.forget(key)
        deadlines.set(998, 50.0)
        deadlines.set(1_001, 1.0)
        await asyncio.sleep(2.0)
        after = len(deadlines._heap)
        await asyncio.sleep(100.0)
        return before, after, fired

    before, after, fired = run(main())
    assert before == 1_000
    assert after < 100
    assert fired == [(1.0, 1_000), (3.0, 1_001), (52.0, 998), (100.0, 999)]


def test_closing_leaves_no_timer_behind() -> None:
    """After `close` the loop has nothing to wait for."""

    async def main() -> bool:
        loop = running_loop()
        deadlines = Deadlines(loop, lambda _key: None)
        deadlines.set(1, 60.0)
        handle = deadlines._handle
        deadlines.close()
        return handle is not None and handle.cancelled() and len(deadlines) == 0

    assert run(main())
