"""What goes wrong around the zygote is typed, leaves nothing behind, and is mended by the next fork."""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import WorkerError
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote
from tests.worker_calls import ENTRIES

DEADLINE_MS = 5_000
ECHO = WorkerSpec(
    entry="tests.unit.gateway.workers.entries:echo",
    config=b">",
    limits=ResourceLimits(address_space_bytes_max=1 << 30),
    calls=ENTRIES,
)


async def test_a_zygote_that_does_not_come_up_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes too long is a WorkerError, and the process is gone with its descriptors."""
    monkeypatch.setattr("gateway.workers.supervisor._START_SECONDS_MAX", 1.0)
    before = _held()
    with pytest.raises(WorkerError) as caught:
        await Zygote.start(("tests.faults.never_imported",))
    assert caught.value.code == "worker.start_failed"
    assert _held() == before


async def test_a_zygote_without_a_handle_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no descriptor is left for the pidfd, neither process nor socket stays."""

    def none_left(_pid: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    before = _held()
    with monkeypatch.context() as patch:
        patch.setattr("gateway.workers.zygote.os.pidfd_open", none_left)
        with pytest.raises(WorkerError) as caught:
            await Zygote.start()
    assert caught.value.code == "worker.start_failed"
    assert _held() == before


async def test_a_pool_outlives_a_zygote_that_is_slow_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement that fails for the zygote's sake is tried again: the pool loses no worker for good."""
    zygote = await Zygote.start()
    pool = WorkerPool(zygote, ECHO, 1)
    await pool.start()
    with monkeypatch.context() as patch:
        patch.setattr("gateway.workers.supervisor._START_SECONDS_MAX", 0.0)
        os.kill(zygote.pid, signal.SIGKILL)
        await asyncio.sleep(0.2)  # the death is seen, and the replacement has failed
        assert pool.pids == ()
    assert await _eventually(pool) == b">x"
    await pool.close()
    await zygote.close()


async def test_a_machine_without_processes_costs_a_pool_its_spare_first() -> None:
    """Forks that fail with EAGAIN: the pool serves with what it has, says why, and is whole again when they succeed."""
    zygote = await Zygote.start(("tests.faults.scarce_forks",))
    pool = WorkerPool(zygote, ECHO, 1, spares=1)
    await pool.start()
    await _until(lambda: pool.spare_pids)
    with pytest.raises(WorkerError) as caught:
        await zygote.fork(ECHO)
    assert caught.value.code == "worker.start_failed"
    assert "Resource temporarily unavailable" in caught.value.message
    os.kill(pool.pids[0], signal.SIGKILL)  # the spare steps in, and no fork succeeds for a while
    answers = [await pool.call(str(n).encode(), deadline_ms=DEADLINE_MS, retries=1) for n in range(20)]
    assert answers == [b">%d" % n for n in range(20)]
    await _until(lambda: pool.spare_pids)
    assert len(pool.pids) == 1
    await pool.close()
    await zygote.close()


async def test_failing_forks_are_not_asked_for_in_a_loop(caplog: pytest.LogCaptureFixture) -> None:
    """However busy the other workers are, attempts at a replacement are apart from each other."""
    zygote = await Zygote.start(("tests.faults.scarce_forks",))
    pool = WorkerPool(zygote, ECHO, 2)
    await pool.start()
    os.kill(pool.pids[0], signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.12):
            while True:
                await pool.call(b"x", deadline_ms=DEADLINE_MS, retries=1)
    failed = [record for record in caplog.records if "no replacement" in record.getMessage()]
    assert 0 < len(failed) < 4
    await pool.close()
    await zygote.close()


async def test_all_workers_at_once_are_replaced() -> None:
    """Workers and spare are killed in the same moment, with calls under way and waiting: each call is answered."""
    zygote = await Zygote.start()
    pool = WorkerPool(zygote, ECHO, 2, spares=1)
    await pool.start()
    await _until(lambda: pool.spare_pids)
    killed = {*pool.pids, *pool.spare_pids}
    calls = [asyncio.ensure_future(pool.call(b"sleep 0.1", deadline_ms=DEADLINE_MS, retries=2)) for _ in range(6)]
    await asyncio.sleep(0.02)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert await asyncio.gather(*calls) == [b">sleep 0.1"] * 6
    await _until(lambda: pool.spare_pids)
    assert not killed & {*pool.pids, *pool.spare_pids}
    await pool.close()
    await zygote.close()


async def test_a_zygote_s_death_takes_the_spare_and_gives_it_back() -> None:
    """A pool with a spare loses all its workers with the zygote, and has as many again."""
    zygote = await Zygote.start()
    pool = WorkerPool(zygote, ECHO, 2, spares=1)
    await pool.start()
    await _until(lambda: pool.spare_pids)
    killed = {*pool.pids, *pool.spare_pids}
    os.kill(zygote.pid, signal.SIGKILL)
    await _until(lambda: len({*pool.pids, *pool.spare_pids} - killed) == 3)
    assert await _eventually(pool) == b">x"
    assert len(pool.pids) == 2
    await pool.close()
    await zygote.close()


async def test_a_program_that_ignores_sigchld_recovers_too() -> None:
    """The kernel then reaps the zygote itself; that nobody can wait for it must not hang the forks."""
    zygote = await Zygote.start()
    pool = WorkerPool(zygote, ECHO, 1)
    await pool.start()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        os.kill(zygote.pid, signal.SIGKILL)
        assert await _eventually(pool) == b">x"
        await pool.close()
        await zygote.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.01)


async def _eventually(pool: WorkerPool) -> bytes:
    async with asyncio.timeout(20):
        while True:
            try:
                return await pool.call(b"x", deadline_ms=DEADLINE_MS)
            except WorkerError:
                await asyncio.sleep(0.05)


def _held() -> tuple[int, str]:
    """Return how many descriptors and which children this process has."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return len(list(Path("/proc/self/fd").iterdir())), children


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancel_that_comes_with_the_answer_is_not_lost(turns: int) -> None:
    """The process is there in the very turn in which nobody wants it any more: it ends, and the cancel is heard."""
    zygote = await Zygote.start(("tests.unit.gateway.workers.entries",))
    try:
        before = _held()
        task = asyncio.create_task(zygote.fork(ECHO))
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - the answer waits in the socket
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            process = task.result()
            process.kill()
            process.socket.close()
            os.close(process.pidfd)
        await asyncio.sleep(0.1)  # an answer that is not waited for is read, and closed
        assert _held() == before
    finally:
        await zygote.close()
