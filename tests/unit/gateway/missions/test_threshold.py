"""The threshold of a mission: what it waits for, and how it is let go."""

import asyncio

import pytest

from engine.errors import FaultError, SuspendedError
from gateway.missions.threshold import Threshold
from tests.virtual_time import run


async def after(seconds: float, value: int = 1) -> int:
    await asyncio.sleep(seconds)
    return value


def test_it_says_what_is_waited_for_and_hands_on_what_comes() -> None:
    """Who is delayed is told so; what comes at once delays nobody."""

    async def main() -> None:
        threshold, delays = Threshold(), []
        waiting = asyncio.create_task(threshold.wait("approval", after(5), lambda: delays.append(1)))
        await asyncio.sleep(1)
        assert threshold.waits_for == "approval"
        assert await waiting == 1
        assert (threshold.waits_for, delays) == ("", [1])

        async def at_once() -> int:
            return 2

        assert await threshold.wait("concurrency_key", at_once(), lambda: delays.append(2)) == 2
        assert delays == [1]

    run(main())


def test_what_fails_is_raised() -> None:
    """As it is."""

    async def main() -> None:
        async def failing() -> int:
            await asyncio.sleep(1)
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await Threshold().wait("approval", failing())

    run(main())


@pytest.mark.parametrize("suspended", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_who_leaves_waits_no_longer(suspended: bool, early: bool) -> None:
    """Neither while it waits, nor before it has begun to: a gateway that stops is held up by nobody."""

    async def main() -> None:
        threshold = Threshold()
        if early:
            threshold.leave(suspended=suspended)
        waiting = asyncio.create_task(threshold.wait("approval", after(1_000)))
        await asyncio.sleep(1)
        if not early:
            threshold.leave(suspended=suspended)
        if suspended:
            with pytest.raises(SuspendedError):
                await waiting
        else:
            assert await waiting is None
        assert threshold.left
        assert asyncio.get_running_loop().time() < 10

    run(main())


def test_a_cancelled_task_takes_what_it_waits_for_with_it() -> None:
    """And is cancelled, not merely left."""

    async def main() -> None:
        inner = asyncio.get_running_loop().create_future()

        async def hanging() -> None:
            await inner

        waiting = asyncio.create_task(Threshold().wait("approval", hanging()))
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        assert inner.cancelled()

    run(main())


def test_what_somebody_else_has_cancelled_is_no_yes() -> None:
    """A future that is cancelled deep inside ends the wait, and is not taken for the mission having been stopped."""

    async def main() -> None:
        async def given_up() -> int:
            await asyncio.sleep(1)
            raise asyncio.CancelledError

        with pytest.raises(FaultError):
            await Threshold().wait("approval", given_up())

    run(main())
