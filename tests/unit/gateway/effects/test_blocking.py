"""The bounded place for blocking calls."""

import asyncio
import threading
import time

import pytest

from gateway.effects.blocking import BlockingPool, DeadlineError
from gateway.errors import EffectError


async def test_a_full_queue_refuses() -> None:
    """With the thread busy and the queue full, the next call is refused at once; later there is room again."""
    pool = BlockingPool("test", threads=1, waiting_max=1)
    gate = threading.Event()
    running = [asyncio.ensure_future(pool.run(gate.wait, timeout_seconds=5)) for _ in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(EffectError) as refused:
        await pool.run(time.monotonic, timeout_seconds=5)
    assert refused.value.code == "effect.overloaded"
    gate.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await pool.run(lambda: 7, timeout_seconds=5) == 7
    pool.close()


async def test_a_late_call_in_the_queue_never_starts() -> None:
    """A call in a thread goes on; one in the queue never starts, and frees its place."""
    pool = BlockingPool("test", threads=1, waiting_max=1)
    gate, ran = threading.Event(), []
    first = asyncio.ensure_future(pool.run(gate.wait, timeout_seconds=0.05))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineError):
        await pool.run(lambda: ran.append(1), timeout_seconds=0.02)
    with pytest.raises(DeadlineError):
        await first
    gate.set()
    await asyncio.to_thread(pool.close)
    assert ran == []


async def test_what_the_call_raises_comes_through() -> None:
    """Also a TimeoutError of the call's own, which is not our deadline."""
    pool = BlockingPool("test", threads=1, waiting_max=1)

    def fail() -> None:
        raise TimeoutError(110, "Connection timed out")

    with pytest.raises(TimeoutError) as raised:
        await pool.run(fail, timeout_seconds=5)
    assert not isinstance(raised.value, EffectError)
    pool.close()


async def test_a_closed_pool_refuses() -> None:
    """After close there is a typed error, not an accident."""
    pool = BlockingPool("test", threads=1, waiting_max=1)
    pool.close()
    with pytest.raises(EffectError):
        await pool.run(time.monotonic, timeout_seconds=5)
