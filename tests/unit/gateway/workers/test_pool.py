import asyncio
import dataclasses
import errno
import os
import select
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import WorkerError
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote

DEADLINE_MS = 5_000


async def test_calls_are_answered_each_with_its_own(zygote: Zygote, echo: WorkerSpec) -> None:
    """Many calls at once over few workers: each caller gets the answer to its request."""
    pool = WorkerPool(zygote, echo, 2)
    await pool.start()
    payloads = [str(n).encode() for n in range(200)]
    answers = await asyncio.gather(*(pool.call(p, deadline_ms=DEADLINE_MS) for p in payloads))
    await pool.close()
    assert answers == [b">" + p for p in payloads]


async def test_large_frames_pass_both_ways(zygote: Zygote, echo: WorkerSpec) -> None:
    """Frames larger than any socket buffer pass, with others behind them in the pipeline."""
    pool = WorkerPool(zygote, echo, 1, depth=4)
    await pool.start()
    large = b"z" * 3_000_000
    calls = [pool.call(p, deadline_ms=DEADLINE_MS) for p in (large, b"small", b"large 2000000", large)]
    answers = await asyncio.gather(*calls)
    await pool.close()
    assert [len(a) for a in answers] == [3_000_001, 6, 2_000_000, 3_000_001]


async def test_a_request_over_the_frame_limit_is_refused_here(zygote: Zygote, echo: WorkerSpec) -> None:
    """No worker sees a request that is too large."""
    pool = WorkerPool(zygote, dataclasses.replace(echo, frame_bytes_max=100), 1)
    await pool.start()
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"x" * 101, deadline_ms=DEADLINE_MS)
    await pool.close()
    assert caught.value.code == "worker.too_large"


async def test_a_handler_that_raises_ends_its_worker(zygote: Zygote, echo: WorkerSpec) -> None:
    """An exception costs the worker, is typed, names the place, and never the value."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    [before] = pool.pids
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"raise", deadline_ms=DEADLINE_MS)
    assert caught.value.code == "worker.crashed"
    assert "KeyError at entries.py" in caught.value.message
    assert "must not leave" not in caught.value.message
    assert await pool.call(b"again", deadline_ms=DEADLINE_MS) == b">again"
    assert pool.pids != (before,)
    await pool.close()


async def test_a_retried_call_survives_deaths_up_to_its_retries(zygote: Zygote, echo: WorkerSpec) -> None:
    """`die` kills every worker that touches it: retries are used up, then the caller is told."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"die", deadline_ms=DEADLINE_MS, retries=2)
    assert caught.value.code == "worker.crashed"
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    await pool.close()


async def test_only_the_head_pays_for_a_death(zygote: Zygote, echo: WorkerSpec) -> None:
    """Requests pipelined behind one that kills the worker are answered, without retries of their own."""
    pool = WorkerPool(zygote, echo, 1, depth=4)
    await pool.start()
    calls = [pool.call(p, deadline_ms=DEADLINE_MS) for p in (b"die", b"a", b"b", b"c")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    await pool.close()
    assert isinstance(answers[0], WorkerError)
    assert answers[1:] == [b">a", b">b", b">c"]


async def test_the_deadline_counts_for_the_head_only(zygote: Zygote, echo: WorkerSpec) -> None:
    """Two slow calls pipelined to one worker both meet a deadline that they would miss together."""
    pool = WorkerPool(zygote, echo, 1, depth=2)
    await pool.start()
    answers = await asyncio.gather(*(pool.call(b"sleep 0.3", deadline_ms=500) for _ in range(2)))
    await pool.close()
    assert answers == [b">sleep 0.3"] * 2


async def test_a_late_worker_is_killed_and_the_next_call_answered(zygote: Zygote, echo: WorkerSpec) -> None:
    """The hung call is told in time; the one behind it is not blamed."""
    pool = WorkerPool(zygote, echo, 1, depth=2)
    await pool.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    hung = asyncio.ensure_future(pool.call(b"sleep 60", deadline_ms=100, retries=5))
    behind = asyncio.ensure_future(pool.call(b"next", deadline_ms=DEADLINE_MS))
    with pytest.raises(WorkerError) as caught:
        await hung
    assert caught.value.code == "worker.deadline"
    assert 0.1 <= loop.time() - began < 2
    assert await behind == b">next"
    await pool.close()


async def test_a_shorter_deadline_after_a_longer_one_holds(zygote: Zygote, echo: WorkerSpec) -> None:
    """The one timer of a worker is moved forward when a call needs it earlier."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    await pool.call(b"x", deadline_ms=60_000)
    began = asyncio.get_running_loop().time()
    with pytest.raises(WorkerError):
        await pool.call(b"sleep 60", deadline_ms=50)
    assert asyncio.get_running_loop().time() - began < 2
    await pool.close()


async def test_too_many_waiting_calls_are_refused(zygote: Zygote, echo: WorkerSpec) -> None:
    """The queue has a maximum, and the refusal is typed; calls whose callers left free their place."""
    pool = WorkerPool(zygote, echo, 1, queue_max=2)
    await pool.start()
    calls = [asyncio.ensure_future(pool.call(b"sleep 0.2", deadline_ms=DEADLINE_MS)) for _ in range(3)]
    await asyncio.sleep(0)
    assert pool.waiting == 2
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"x", deadline_ms=DEADLINE_MS)
    assert caught.value.code == "worker.overloaded"
    calls[2].cancel()
    await asyncio.sleep(0)
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    await asyncio.gather(*calls, return_exceptions=True)
    await pool.close()


async def test_a_turn_comes_when_a_call_made_now_would_be_with_a_worker(zygote: Zygote, echo: WorkerSpec) -> None:
    """Behind those that wait, and without asking anything of a worker; where no call is taken, no turn comes."""
    pool = WorkerPool(zygote, echo, 1, depth=1, queue_max=3)
    await pool.start()
    await pool.turn()
    order: list[str] = []

    async def told(name: str, what: Coroutine[Any, Any, object]) -> None:
        await what
        order.append(name)

    first = asyncio.create_task(told("first", pool.call(b"sleep 0.1", deadline_ms=DEADLINE_MS)))
    await asyncio.sleep(0)
    others = [
        asyncio.create_task(told("second", pool.call(b"sleep 0.1", deadline_ms=DEADLINE_MS))),
        asyncio.create_task(told("turn", pool.turn())),
        asyncio.create_task(told("third", pool.call(b"x", deadline_ms=DEADLINE_MS))),
    ]
    await asyncio.sleep(0)
    with pytest.raises(WorkerError) as caught:
        await pool.turn()
    assert caught.value.code == "worker.overloaded"
    await asyncio.gather(first, *others)
    assert order == ["first", "second", "turn", "third"]
    await pool.close()
    with pytest.raises(WorkerError) as caught:
        await pool.turn()
    assert caught.value.code == "worker.closed"


async def test_who_waits_for_a_turn_is_told_when_the_pool_closes(zygote: Zygote, echo: WorkerSpec) -> None:
    """As another bundle's workers take over, and nobody comes to those of the old one any more."""
    pool = WorkerPool(zygote, echo, 1, depth=1)
    await pool.start()
    busy = asyncio.ensure_future(pool.call(b"sleep 60", deadline_ms=60_000))
    turn = asyncio.ensure_future(pool.turn())
    await asyncio.sleep(0.05)
    await pool.close(drain_seconds=0.1)
    for waiting in (busy, turn):
        with pytest.raises(WorkerError) as caught:
            await waiting
        assert caught.value.code == "worker.closed"


async def test_a_worker_that_cannot_start_is_typed_and_leaves_nothing(zygote: Zygote, broken: WorkerSpec) -> None:
    """`start` fails with the worker's own words."""
    pool = WorkerPool(zygote, broken, 2)
    with pytest.raises(WorkerError) as caught:
        await pool.start()
    assert caught.value.code == "worker.start_failed"
    assert "no such thing" in caught.value.message
    assert pool.pids == ()


async def test_workers_that_keep_dying_become_unavailable(zygote: Zygote, echo: WorkerSpec) -> None:
    """After a row of deaths without an answer callers are told at once, instead of feeding more workers."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    codes = []
    for _ in range(12):
        with pytest.raises(WorkerError) as caught:
            await pool.call(b"die", deadline_ms=DEADLINE_MS)
        codes.append(caught.value.code)
    assert codes[0] == "worker.crashed"
    assert codes[-1] == "worker.unavailable"
    for _ in range(100):  # the backoff ends, and a good call is served again
        try:
            assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
            break
        except WorkerError:
            await asyncio.sleep(0.1)
    else:
        pytest.fail("the pool did not come back")
    await pool.close()


async def test_close_lets_calls_end_and_leaves_no_process(zygote: Zygote, echo: WorkerSpec) -> None:
    """Draining answers what is under way; then every worker is gone and new calls are refused."""
    pool = WorkerPool(zygote, echo, 2)
    await pool.start()
    pids = pool.pids
    calls = [asyncio.ensure_future(pool.call(b"sleep 0.1", deadline_ms=DEADLINE_MS)) for _ in range(4)]
    await asyncio.sleep(0)
    await pool.close()
    assert [await call for call in calls] == [b">sleep 0.1"] * 4
    assert not any(_alive(pid) for pid in pids)
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"x", deadline_ms=DEADLINE_MS)
    assert caught.value.code == "worker.closed"


async def test_close_does_not_wait_for_a_hung_call(zygote: Zygote, echo: WorkerSpec) -> None:
    """Past the drain time a call fails as closed, and its worker ends."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    [pid] = pool.pids
    call = asyncio.ensure_future(pool.call(b"sleep 60", deadline_ms=60_000))
    await asyncio.sleep(0)
    await pool.close(drain_seconds=0.05)
    with pytest.raises(WorkerError) as caught:
        await call
    assert caught.value.code == "worker.closed"
    assert not _alive(pid)


async def test_an_idle_worker_that_is_killed_costs_no_call(zygote: Zygote, echo: WorkerSpec) -> None:
    """Its death may not have been seen yet when the next call is sent: that call was never begun, and is moved."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    pidfd = os.pidfd_open(pool.pids[0])
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    while not _ended(pidfd):  # the loop does not run: the pool cannot have noticed
        pass
    os.close(pidfd)
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    await pool.close()


async def test_what_became_of_workers_is_counted(zygote: Zygote, echo: WorkerSpec) -> None:
    """By why they ended; the pool is as large as before."""
    pool = WorkerPool(zygote, echo, 1, spares=1)
    await pool.start()
    try:
        os.kill(pool.pids[0], signal.SIGKILL)
        while not pool.standing.ended:  # noqa: ASYNC110 - it is about another process, which sets no event here
            await asyncio.sleep(0.005)
        assert await pool.call(b"again", deadline_ms=DEADLINE_MS) == b">again"
        standing = pool.standing
    finally:
        await pool.close()
    assert (standing.alive, standing.waiting, standing.ended) == (1, 0, {"crashed": 1})


async def test_a_worker_has_nothing_of_the_gateway(zygote: Zygote, look: WorkerSpec) -> None:
    """No environment, no descriptor but its socket and /dev/null, no privileges to gain, dead with its parent."""
    os.environ["MISSIONGATE_TEST"] = "visible"
    pool = WorkerPool(zygote, look, 1)
    await pool.start()
    try:
        assert await pool.call(b"environ", deadline_ms=DEADLINE_MS) == b"{}"
        fds = (await pool.call(b"fds", deadline_ms=DEADLINE_MS)).decode().split()
        assert sorted(fds) == ["null", "null", "null", "socket"]
        assert _status(pool.pids[0])["NoNewPrivs"] == "1"
    finally:
        del os.environ["MISSIONGATE_TEST"]
        await pool.close()


@pytest.mark.parametrize(("request_", "note"), [(b"write", "no last words"), (b"grab", "MemoryError"), (b"burn", "")])
async def test_the_kernel_holds_a_worker_to_its_limits(
    zygote: Zygote, look: WorkerSpec, request_: bytes, note: str
) -> None:
    """Writing a file, taking memory, burning CPU: each ends the worker and nothing else."""
    limits = ResourceLimits(address_space_bytes_max=1 << 30, open_files_max=32, cpu_seconds_max=1)
    pool = WorkerPool(zygote, dataclasses.replace(look, limits=limits), 1)
    await pool.start()
    expected = [(1 << 30, 1 << 30), (32, 32), (0, 0), (0, 0)]
    assert await pool.call(b"rlimits", deadline_ms=DEADLINE_MS) == repr(expected).encode()
    with pytest.raises(WorkerError) as caught:
        await pool.call(request_, deadline_ms=20_000)
    assert caught.value.code == "worker.crashed"
    assert note in caught.value.message
    await pool.close()


async def test_a_gateway_without_descriptors_recovers(
    zygote: Zygote, echo: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replacement that cannot be had now is had later: no worker is lost for good."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    real, failures = socket.socketpair, [1, 1]

    def scarce() -> tuple[socket.socket, socket.socket]:
        if failures:
            failures.pop()
            raise OSError(errno.EMFILE, "too many open files")
        return real()

    monkeypatch.setattr("gateway.workers.supervisor.socket.socketpair", scarce)
    with pytest.raises(WorkerError):
        await pool.call(b"die", deadline_ms=DEADLINE_MS)
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    assert failures == []
    await pool.close()


async def test_the_zygote_is_started_again(zygote: Zygote, echo: WorkerSpec) -> None:
    """Its death takes the workers with it; the next call is answered all the same."""
    pool = WorkerPool(zygote, echo, 1)
    await pool.start()
    before = zygote.pid
    os.kill(before, signal.SIGKILL)
    answer = b""
    for _ in range(50):
        try:
            answer = await pool.call(b"x", deadline_ms=DEADLINE_MS, retries=2)
        except WorkerError:
            await asyncio.sleep(0.05)
            continue
        if zygote.pid not in {0, before}:
            break
        await asyncio.sleep(0.05)
    await pool.close()
    assert answer == b">x"
    assert zygote.pid != before


@pytest.mark.parametrize(("size", "depth", "queue_max"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
async def test_a_pool_without_room_is_refused(
    zygote: Zygote, echo: WorkerSpec, size: int, depth: int, queue_max: int
) -> None:
    """Sizes are checked where they are given."""
    with pytest.raises(ValueError, match="at least"):
        WorkerPool(zygote, echo, size, depth, queue_max=queue_max)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
