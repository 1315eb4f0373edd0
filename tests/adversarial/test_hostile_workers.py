"""A worker that an attacker has taken over can lie in its answer, and do nothing else to the gateway."""

import asyncio
import dataclasses
import gc
import os
import select
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import SandboxError, WorkerError
from gateway.sandbox.compile import MAGIC, compile_module
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote
from tests.worker_calls import ENTRIES

DEADLINE_MS = 5_000
LIMITS = ResourceLimits(address_space_bytes_max=1 << 30)
HOSTILE = "tests.adversarial.hostile_workers"
ECHO = WorkerSpec(entry="tests.unit.gateway.workers.entries:echo", config=b">", limits=LIMITS, calls=ENTRIES)


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    zygote = await Zygote.start((HOSTILE, "tests.unit.gateway.workers.entries"))
    yield zygote
    await zygote.close()


@pytest.mark.parametrize("flood", ["notes", "header", "byte", "answers"])
async def test_a_worker_that_talks_unasked_is_ended(zygote: Zygote, flood: str) -> None:
    """Whatever comes while nothing is asked, an endless stream of last words too, ends the worker at once."""
    pool = WorkerPool(zygote, WorkerSpec(entry=f"{HOSTILE}:idle_talker", limits=LIMITS, calls=ENTRIES), 1)
    await pool.start()
    [before] = pool.pids
    assert await pool.call(flood.encode(), deadline_ms=DEADLINE_MS) == b">" + flood.encode()
    for _ in range(40):
        if pool.pids not in {(), (before,)}:
            break
        await asyncio.sleep(0.05)
    assert pool.pids not in {(), (before,)}
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    await pool.close()


async def test_no_byte_is_kept_for_the_next_request(zygote: Zygote) -> None:
    """What follows an answer, in the same read, is nobody's: the next request goes to another worker."""
    pool = WorkerPool(zygote, WorkerSpec(entry=f"{HOSTILE}:early_answerer", limits=LIMITS, calls=ENTRIES), 1)
    await pool.start()
    before = pool.pids
    first = asyncio.ensure_future(pool.call(b"twice", deadline_ms=DEADLINE_MS))
    second = asyncio.ensure_future(pool.call(b"victim", deadline_ms=DEADLINE_MS))
    assert await first == b"mine"
    assert await second == b">victim"
    assert pool.pids != before
    await pool.close()


@pytest.mark.parametrize(("words", "said"), [(b"large note", "no last words"), (b"note", "?[2Jforged?line")])
async def test_last_words_are_bounded_and_printable(zygote: Zygote, words: bytes, said: str) -> None:
    """They reach logs and callers: no control character does, and nobody waits for a megabyte of them."""
    pool = WorkerPool(zygote, WorkerSpec(entry=f"{HOSTILE}:early_answerer", limits=LIMITS, calls=ENTRIES), 1)
    await pool.start()
    with pytest.raises(WorkerError) as caught:
        await pool.call(words, deadline_ms=DEADLINE_MS)
    assert caught.value.code == "worker.crashed"
    assert caught.value.message == f"the worker died: {said}"
    await pool.close()


async def test_workers_that_take_no_request_become_unavailable(zygote: Zygote) -> None:
    """A request that cannot be delivered does not start workers for ever: the pool backs off and says so."""
    pool = WorkerPool(zygote, WorkerSpec(entry=f"{HOSTILE}:deaf", limits=LIMITS, calls=ENTRIES), 1)
    await pool.start()
    with pytest.raises(WorkerError) as caught:
        async with asyncio.timeout(5):
            await pool.call(b"x", deadline_ms=DEADLINE_MS)
    assert caught.value.code in {"worker.unavailable", "worker.crashed"}
    await pool.close()


@pytest.mark.parametrize("how", ["spinning in C", "stopped"])
async def test_a_worker_that_ignores_everything_is_killed_at_its_deadline(zygote: Zygote, how: str) -> None:
    """No signal that it could block, no lock that it could hold: its process is gone, and the spare answers."""
    pool = WorkerPool(zygote, WorkerSpec(entry=f"{HOSTILE}:stubborn", limits=LIMITS, calls=ENTRIES), 1, spares=1)
    await pool.start()
    pidfd = os.pidfd_open(pool.pids[0])
    if how == "stopped":
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"spin", deadline_ms=100)
    assert caught.value.code == "worker.deadline"
    assert await pool.call(b"x", deadline_ms=DEADLINE_MS) == b">x"
    assert select.select([pidfd], [], [], 5)[0]
    os.close(pidfd)
    await pool.close()


async def test_an_answer_has_a_limit_of_its_own(zygote: Zygote) -> None:
    """A request may be large where no answer is: the announcement of a larger one ends the worker."""
    pool = WorkerPool(zygote, dataclasses.replace(ECHO, answer_bytes_max=1000), 1)
    await pool.start()
    assert await pool.call(b"large 10" + b" " * 900, deadline_ms=DEADLINE_MS)
    with pytest.raises(WorkerError) as caught:
        await pool.call(b"large 1001", deadline_ms=DEADLINE_MS)
    assert caught.value.code == "worker.crashed"
    await pool.close()


async def test_the_process_that_forks_workers_is_closed_to_them(zygote: Zygote) -> None:
    """The zygote cannot be traced, nor its memory read, by what runs as the same user."""
    pool = WorkerPool(zygote, WorkerSpec(entry=f"{HOSTILE}:dumpable", limits=LIMITS, calls=ENTRIES), 1)
    await pool.start()
    assert await pool.call(b"", deadline_ms=DEADLINE_MS) == b"0"
    await pool.close()


async def test_deaths_leave_nothing_behind(zygote: Zygote) -> None:
    """After hundreds of kills, by deadline and by crash: no descriptor, no zombie, no timer more than before."""
    pool = WorkerPool(zygote, ECHO, 2)
    await pool.start()
    await _deaths(pool, 10)
    await asyncio.sleep(1)  # until the last replacements are there
    before = _held(zygote, pool)
    await _deaths(pool, 200)
    for _ in range(100):  # the zygote reaps in its own time
        if _held(zygote, pool) == before:
            break
        await asyncio.sleep(0.05)
    assert _held(zygote, pool) == before
    await pool.close()


async def _deaths(pool: WorkerPool, count: int) -> None:
    for n in range(count):
        request, deadline_ms = (b"die", DEADLINE_MS) if n % 2 else (b"sleep 60", 1)
        with pytest.raises(WorkerError):
            await pool.call(request, deadline_ms=deadline_ms)
        await pool.call(b"x", deadline_ms=DEADLINE_MS)
    gc.collect()


def _held(zygote: Zygote, pool: WorkerPool) -> tuple[int, int, bool]:
    """Return the descriptors of this process and of the zygote, and whether the zygote has the workers alone.

    Nobody but root may count those of the zygote, which is not dumpable.
    """
    children = Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text(encoding="ascii").split()
    of_zygote = len(list(Path(f"/proc/{zygote.pid}/fd").iterdir())) if os.geteuid() == 0 else 0
    ours = len(list(Path("/proc/self/fd").iterdir()))
    return ours, of_zygote, sorted(children) == sorted(str(pid) for pid in pool.pids)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\2",
        b"\0",
        b"\0not JSON",
        b"\0{}",
        b'\0{"code":"hook.invalid","message":"m"}',
        b"\0[]",
        b"\0" + b"5",
        b'\0["hook.invalid"]',
        b'\0["internal","m"]',
        b'\0["hook.invalid",1]',
        b'\0[["hook.invalid"],"m"]',
        b"\0" + b"[" * 10_000,
    ],
)
async def test_a_jail_that_was_taken_over_can_only_refuse(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Whatever is neither machine code nor a refusal of the jail's own is a typed fault."""
    monkeypatch.setattr(
        "gateway.sandbox.compile._SPEC", WorkerSpec(entry=f"{HOSTILE}:lying_jail", limits=LIMITS, calls=ENTRIES)
    )
    with pytest.raises(SandboxError) as caught:
        await compile_module(zygote, MAGIC + answer)
    assert caught.value.code == "sandbox.crashed"
