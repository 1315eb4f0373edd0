"""One worker more than takes calls: it steps in when one dies, and when one has answered enough."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.workers import pool as pool_module
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Process, Zygote

DEADLINE_MS = 5_000


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.01)


async def spared(zygote: Zygote, spec: WorkerSpec, size: int = 1) -> WorkerPool:
    """Return a started pool whose one spare is ready."""
    pool = WorkerPool(zygote, spec, size, spares=1)
    await pool.start()
    await until(lambda: pool.spare_pids)
    return pool


async def test_a_spare_takes_no_calls(zygote: Zygote, echo: WorkerSpec) -> None:
    """However many calls wait, those that take calls answer them all."""
    pool = await spared(zygote, echo)
    answers = await asyncio.gather(*(pool.call(b"pid", deadline_ms=DEADLINE_MS) for _ in range(20)))
    assert {int(answer) for answer in answers} == set(pool.pids)
    assert len(pool.spare_pids) == 1
    await pool.close()


async def test_the_spare_answers_without_a_fork(
    zygote: Zygote, echo: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool of one whose worker is killed in mid-call answers, although no fork can be had."""
    pool = await spared(zygote, echo)
    [first], [spare] = pool.pids, pool.spare_pids

    async def none(_zygote: Zygote, _spec: WorkerSpec) -> Process:
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(Zygote, "fork", none)
        call = asyncio.ensure_future(pool.call(b"sleep 0.2", deadline_ms=DEADLINE_MS, retries=1))
        await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        assert await call == b">sleep 0.2"
        assert pool.pids == (spare,)
        assert pool.spare_pids == ()
    await pool.close()


async def test_the_replacement_is_the_new_spare(zygote: Zygote, echo: WorkerSpec) -> None:
    """After a death there are as many workers as before, and one more; none of them twice."""
    pool = await spared(zygote, echo, size=2)
    before = {*pool.pids, *pool.spare_pids}
    [spare] = pool.spare_pids
    os.kill(pool.pids[0], signal.SIGKILL)
    await until(lambda: spare in pool.pids and pool.spare_pids)
    assert len(pool.pids) == 2
    assert len({*pool.pids, *pool.spare_pids} - before) == 1
    await pool.close()


async def test_a_spare_that_dies_is_replaced(zygote: Zygote, echo: WorkerSpec) -> None:
    """Nobody notices but the pool: the workers stay, and there is another spare."""
    pool = await spared(zygote, echo)
    serving, [spare] = pool.pids, pool.spare_pids
    os.kill(spare, signal.SIGKILL)
    await until(lambda: pool.spare_pids not in {(), (spare,)})
    assert pool.pids == serving
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    await pool.close()


@pytest.mark.parametrize("spares", [0, 1])
async def test_a_worker_retires_after_its_calls(zygote: Zygote, echo: WorkerSpec, spares: int) -> None:
    """Each answers its number, and a few more where its replacement is not there yet; no call is lost."""
    pool = WorkerPool(zygote, dataclasses.replace(echo, calls_max=10), 1, depth=4, spares=spares)
    await pool.start()
    seen: list[int] = []
    for _ in range(60):
        answers = await asyncio.gather(*(pool.call(b"pid", deadline_ms=DEADLINE_MS) for _ in range(4)))
        seen += [int(answer) for answer in answers]
        await asyncio.sleep(0.005)
    assert len(seen) == 240
    assert len(set(seen)) > 3
    assert len(pool.pids) == 1
    await pool.close()


async def test_a_worker_that_has_grown_retires(
    zygote: Zygote, echo: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resident memory far over what the first look found lets another take its place; a look changes nothing else."""
    monkeypatch.setattr(pool_module, "_LOOK_CALLS", 2)
    monkeypatch.setattr(pool_module, "_GROWTH_BYTES_MAX", 16 * 1024 * 1024)
    pool = await spared(zygote, echo)
    [first] = pool.pids
    for _ in range(10):
        await pool.call(b"x", deadline_ms=DEADLINE_MS)
    assert pool.pids == (first,)
    await pool.call(b"keep 33554432", deadline_ms=DEADLINE_MS)
    for _ in range(4):
        await pool.call(b"x", deadline_ms=DEADLINE_MS)
    assert first not in pool.pids
    await pool.close()


async def test_close_ends_spares_and_tired_workers(zygote: Zygote, echo: WorkerSpec) -> None:
    """Whatever state a worker is in: when the pool is closed, it is gone."""
    pool = await spared(zygote, dataclasses.replace(echo, calls_max=1))
    pids = {*pool.pids, *pool.spare_pids}
    call = asyncio.ensure_future(pool.call(b"sleep 0.2", deadline_ms=DEADLINE_MS))
    await asyncio.sleep(0.01)
    await pool.close()
    assert await call == b">sleep 0.2"
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert pool.pids == pool.spare_pids == ()
