"""One task that delivers: at once while there is something, later and later while nobody takes it."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from gateway.delivery.pump import BACKOFF_SECONDS_MAX, RETRY_AFTER_SECONDS_MAX, NotTakenError, Pump, Stopped
from tests import virtual_time


def times_of_tries(errors: list[Exception], chance: float = 1.0) -> list[float]:
    """Return the seconds between the tries of a delivery that fails so often, and then succeeds."""

    async def main() -> list[float]:
        moments: list[float] = []
        left = list(errors)

        async def deliver() -> bool:
            moments.append(asyncio.get_running_loop().time())
            if left:
                raise left.pop(0)
            return False

        pump = Pump("it", deliver, asyncio.Event().wait, chance=lambda: chance)
        pump.start()
        await asyncio.sleep(100_000)
        await pump.stop()
        return moments

    moments = virtual_time.run(main())
    return [later - earlier for earlier, later in pairwise(moments)]


def test_it_waits_longer_and_longer_up_to_a_bound() -> None:
    """Twice as long each time."""
    assert times_of_tries([OSError()] * 9) == [1, 2, 4, 8, 16, 32, *[BACKOFF_SECONDS_MAX] * 3]


def test_chance_takes_up_to_half_of_the_wait() -> None:
    """So that many gateways do not come back together."""
    assert times_of_tries([OSError()] * 3, chance=0.0) == [0.5, 1, 2]


@pytest.mark.parametrize(("asked", "waited"), [(None, 1), (0.0, 1), (30.0, 30), (1e9, RETRY_AFTER_SECONDS_MAX)])
def test_it_waits_at_least_as_long_as_it_is_asked_to(asked: float | None, waited: float) -> None:
    """Within a bound: nobody may switch a log off by an answer."""
    assert times_of_tries([NotTakenError("429", asked)]) == [waited]


def test_a_success_begins_anew() -> None:
    """The next failure waits as short as the first."""

    async def main() -> tuple[str, float]:
        script: list[Callable[[], bool]] = [lambda: 1 / 0 > 1] * 3 + [lambda: True, lambda: 1 / 0 > 1]
        moments: list[float] = []

        async def deliver() -> bool:
            moments.append(asyncio.get_running_loop().time())
            return script.pop(0)() if script else False

        pump = Pump("it", deliver, asyncio.Event().wait, chance=lambda: 1.0)
        pump.start()
        await asyncio.sleep(100)
        failing = pump.failing
        await pump.stop()
        return failing, moments[5] - moments[4]

    assert virtual_time.run(main()) == ("ZeroDivisionError: division by zero", 1.0)


def test_what_is_stopped_stays_stopped() -> None:
    """And says why."""

    async def main() -> str:
        async def deliver() -> bool:
            raise Stopped("for good")

        pump = Pump("it", deliver, asyncio.Event().wait, chance=lambda: 1.0)
        pump.start()
        await asyncio.sleep(1_000)
        await pump.stop(1.0)
        await pump.stop()
        return pump.failing

    assert virtual_time.run(main()) == "for good"


def test_a_stop_waits_for_what_is_under_way_and_no_longer_than_it_may() -> None:
    """A delivery that hangs is cut off; one that fails is not tried again."""

    async def main() -> tuple[float, int]:
        tries = 0

        async def deliver() -> bool:
            nonlocal tries
            tries += 1
            await asyncio.sleep(50)
            raise OSError

        pump = Pump("it", deliver, asyncio.Event().wait, chance=lambda: 1.0)
        pump.start()
        await asyncio.sleep(1)
        await pump.stop(10.0)
        at = asyncio.get_running_loop().time()
        other = Pump("it", deliver, asyncio.Event().wait, chance=lambda: 1.0)
        other.start()
        await other.stop(1_000.0)
        return at, tries

    assert virtual_time.run(main()) == (11.0, 2)
