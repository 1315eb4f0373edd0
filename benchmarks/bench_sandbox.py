"""What a sandboxed run costs, in the worker and from the gateway, beside a bare echo between two processes.

Run it: `python -m benchmarks.bench_sandbox`
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from wasmtime import wat2wasm

from benchmarks.command import main
from benchmarks.extism_echo import MISSING, echo_call
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, Work, calls, costs_in_turn, in_turn, lap
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import compile_module
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.workers.supervisor import Zygote

TITLE: Final = "sandbox: WebAssembly, 1 KB in and out"
CALLS = 10_000
COMPILED = 10
KILLED = 10
DOCUMENT = b"x" * 1024
WASM = profiles_from({})["wasm"]
ECHO = bytes(
    wat2wasm(
        """(module (memory (export "memory") 2) (func (export "mission_abi_v1"))
        (func (export "mission_alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "mission_run") (param i32 i32) (result i64)
          (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"""
    )
)


@contextmanager
def echoing() -> Iterator[socket.socket]:
    """Fork a process that echoes: nothing done, nothing checked."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        while data := theirs.recv(65_536):
            theirs.sendall(data)
        os._exit(0)
    theirs.close()
    with ours:
        yield ours
        ours.shutdown(socket.SHUT_WR)
    os.waitpid(pid, 0)


async def echo_calls(peer: socket.socket) -> None:
    """Echo from the running event loop, one after the other: what any asyncio program pays."""
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[bytes]] = []
    loop.add_reader(peer, lambda: waiting.pop().set_result(peer.recv(65_536)))
    for _ in range(CALLS):
        answer: asyncio.Future[bytes] = loop.create_future()
        waiting.append(answer)
        peer.send(DOCUMENT)
        await answer
    loop.remove_reader(peer)


async def run_calls(sandbox: PooledSandbox, callers: int) -> None:
    """Run the module from so many callers at once."""

    async def caller() -> None:
        for _ in range(CALLS // callers):
            await sandbox.run("echo", DOCUMENT, WASM)

    await asyncio.gather(*(caller() for _ in range(callers)))


def in_worker_rows(effort: Effort) -> Iterator[Row]:
    """Measure a run as the worker does it, beside the public API of wasmtime-py, and Extism."""
    code, what = compile_here(ECHO).code, "in the worker, fresh store"
    native, public = Runtime({"echo": code}, caller=NativeCaller), Runtime({"echo": code}, caller=PublicCaller)
    works = [
        calls(lambda: native.run("echo", DOCUMENT, WASM), CALLS),
        calls(lambda: public.run("echo", DOCUMENT, WASM), CALLS),
    ]
    extism = echo_call(DOCUMENT)
    ours, theirs, *fresh = in_turn(effort, *works, *([] if extism is None else [calls(extism, CALLS)]))
    yield timed_row(what, "µs", ours, against="wasmtime-py's public API", peer=theirs, target=20)
    against, peer = ("Extism, fresh plugin", fresh[0]) if fresh else (MISSING, None)
    yield timed_row(f"{what}, beside Extism", "µs", ours, against=against, peer=peer)


async def round_trip_rows(
    zygote: Zygote, modules: Mapping[str, Artefact], effort: Effort, *, depth: int, callers: int
) -> AsyncIterator[Row]:
    """Measure a run as the gateway sees it, with one worker."""
    sandbox = PooledSandbox(zygote, modules, 1, depth=depth)
    await sandbox.start()
    with echoing() as peer:
        peer.setblocking(False)
        cost, echo = await costs_in_turn(
            effort,
            Work(partial(run_calls, sandbox, callers), CALLS),
            Work(partial(echo_calls, peer), CALLS),
        )
    await sandbox.close()
    what = f"round trip, one worker, {callers} at once"
    bare = "echo by a fork, one at a time"
    yield timed_row(what, "µs", cost.wall, against=bare, peer=echo.wall, target=40)
    yield timed_row(f"{what}: CPU of the gateway", "µs", cost.cpu, against=bare, peer=echo.cpu)


async def lockdown_rows(zygote: Zygote, modules: Mapping[str, Artefact], effort: Effort) -> AsyncIterator[Row]:
    """Measure what the filter costs each run: the same round trip with a worker that only rlimits bind."""
    loose = await Zygote.start((*PRELOAD, "benchmarks.unbound"))
    bound, unbound = PooledSandbox(zygote, modules, 1), PooledSandbox(loose, modules, 1)
    await bound.start()
    await unbound.start()
    cost, peer = await costs_in_turn(
        effort, Work(partial(run_calls, bound, 1), CALLS), Work(partial(run_calls, unbound, 1), CALLS)
    )
    for sandbox in (bound, unbound):
        await sandbox.close()
    await loose.close()
    yield timed_row(
        "round trip, locked down, 1 at once", "µs", cost.wall, against="the same, rlimits alone", peer=peer.wall
    )


async def answered_ms(sandbox: PooledSandbox) -> float:
    """Return the milliseconds from kill -9 of the only worker to the answer of another, the spares being ready."""
    while not sandbox.pids or len(sandbox.spare_pids) < sandbox.spares:  # noqa: ASYNC110 - the pool tells nobody
        await asyncio.sleep(0.001)
    os.kill(sandbox.pids[0], signal.SIGKILL)
    with lap() as this:
        await sandbox.run("echo", DOCUMENT, WASM)
    return this.wall * 1e3


async def recovery_rows(zygote: Zygote, modules: Mapping[str, Artefact]) -> AsyncIterator[Row]:
    """Measure from kill -9 of the only worker until the pool knows, and to the answer of another."""
    sandbox = PooledSandbox(zygote, modules, 1, depth=1)
    spareless = PooledSandbox(zygote, modules, 1, depth=1, spares=0)
    await sandbox.start()
    await spareless.start()
    answered, forked, noticed = [], [], []
    for _ in range(KILLED):
        answered.append(await answered_ms(sandbox))
        forked.append(await answered_ms(spareless))
        pids = sandbox.pids
        os.kill(pids[0], signal.SIGKILL)
        with lap() as this:
            while sandbox.pids == pids:  # noqa: ASYNC110 - the pool tells nobody, and the clock runs
                await asyncio.sleep(0)
        noticed.append(this.wall * 1e3)
        await sandbox.run("echo", DOCUMENT, WASM)
    await sandbox.close()
    await spareless.close()
    what = f"worst of {KILLED}"
    yield Row(what=f"worker killed, noticed: {what}", ours=max(noticed), unit="ms", target=100)
    yield Row(what=f"worker killed, answered by another: {what}", ours=max(answered), unit="ms", target=200)
    yield Row(what=f"the same without a spare: {what}", ours=max(forked), unit="ms", target=200)


async def starting_rows(zygote: Zygote, modules: Mapping[str, Artefact]) -> AsyncIterator[Row]:
    """Measure what is paid before the first run: forking a worker, and compiling a module."""
    forked, compiled, here = [], [], []
    for _ in range(COMPILED):
        with lap() as this:
            await compile_module(zygote, ECHO)
        compiled.append(this.wall)
        with lap() as this:
            compile_here(ECHO)
        here.append(this.wall)
        sandbox = PooledSandbox(zygote, modules, 1)
        with lap() as this:
            await sandbox.start()
        forked.append(this.wall)
        await sandbox.close()
    yield timed_row("worker forked, module loaded, ready", "ms", Timing.of(forked))
    yield timed_row(
        "compiled in a jail of its own",
        "ms",
        Timing.of(compiled),
        against="in this process, no jail",
        peer=Timing.of(here),
    )


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    for row in in_worker_rows(effort):
        yield row
    zygote = await Zygote.start(PRELOAD)
    modules = {"echo": await compile_module(zygote, ECHO)}
    for depth, callers in ((1, 1), (4, 8)):
        async for row in round_trip_rows(zygote, modules, effort, depth=depth, callers=callers):
            yield row
    async for row in lockdown_rows(zygote, modules, effort):
        yield row
    async for row in recovery_rows(zygote, modules):
        yield row
    async for row in starting_rows(zygote, modules):
        yield row
    await zygote.close()


if __name__ == "__main__":
    raise SystemExit(main(only="sandbox"))
