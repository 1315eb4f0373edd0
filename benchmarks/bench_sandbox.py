"""What a sandboxed run costs, in the worker and from the gateway, beside a bare echo between two processes.

Run it: `python -m benchmarks.bench_sandbox`
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from wasmtime import wat2wasm

from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import compile_module
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.workers.supervisor import Zygote

CALLS = 10_000
ROUNDS = 5  # of each; the best counts: the machine may be busy with other things
DOCUMENT = b"x" * 1024
WASM = profiles_from({})["wasm"].constraints
ECHO = bytes(
    wat2wasm(
        """(module (memory (export "memory") 2) (func (export "mission_abi_v1"))
        (func (export "mission_alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "mission_run") (param i32 i32) (result i64)
          (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"""
    )
)


def line(what: str, figure: str) -> None:
    print(f"{what:<66} {figure:>18}")


def best(run: Callable[[], object]) -> float:
    """Return microseconds a call, of the best round."""
    figures = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            run()
        figures.append((time.perf_counter() - began) / CALLS * 1e6)
    return min(figures)


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


def floor() -> float:
    """Return microseconds of an echo, blocking: the scheduler may keep both processes on one CPU."""
    with echoing() as peer:

        def echo() -> None:
            peer.sendall(DOCUMENT)
            peer.recv(65_536)

        return best(echo)


async def loop_floor() -> tuple[float, float]:
    """Return microseconds of an echo from an event loop, and of CPU: what any asyncio program pays."""
    loop = asyncio.get_running_loop()
    figures = []
    with echoing() as peer:
        peer.setblocking(False)
        waiting: list[asyncio.Future[bytes]] = []
        loop.add_reader(peer, lambda: waiting.pop().set_result(peer.recv(65_536)))
        for _ in range(ROUNDS):
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(CALLS):
                answer: asyncio.Future[bytes] = loop.create_future()
                waiting.append(answer)
                peer.send(DOCUMENT)
                await answer
            figures.append(((time.perf_counter() - wall) / CALLS * 1e6, (time.process_time() - cpu) / CALLS * 1e6))
        loop.remove_reader(peer)
    return min(figures)


async def round_trip(sandbox: PooledSandbox, callers: int) -> tuple[float, float]:
    """Return microseconds a call and of the gateway's CPU a call, of the best round."""

    async def client() -> None:
        for _ in range(CALLS // callers):
            await sandbox.run("echo", DOCUMENT, WASM)

    figures = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client() for _ in range(callers)))
        figures.append(((time.perf_counter() - wall) / CALLS * 1e6, (time.process_time() - cpu) / CALLS * 1e6))
    return min(figures)


async def recovery(sandbox: PooledSandbox) -> float:
    """Return milliseconds from kill -9 of the only worker to the answer of another, the worst of ten."""
    figures = []
    for _ in range(10):
        os.kill(sandbox.pids[0], signal.SIGKILL)
        began = time.perf_counter()
        await sandbox.run("echo", DOCUMENT, WASM)
        figures.append((time.perf_counter() - began) * 1e3)
    return max(figures)


async def pooled(zygote: Zygote, modules: Mapping[str, Artefact]) -> None:
    """Print what a pool of one worker costs."""
    for depth, callers in ((1, 1), (4, 8)):
        sandbox = PooledSandbox(zygote, modules, 1, depth=depth)
        began = time.perf_counter()
        await sandbox.start()
        started_ms = (time.perf_counter() - began) * 1e3
        wall, cpu = await round_trip(sandbox, callers)
        line(f"sandbox round trip, one worker, {callers} at once, pipelined {depth}", f"{wall:.1f} µs")
        line("  of that, the gateway's own CPU", f"{cpu:.1f} µs")
        if depth == 1:
            line(
                "worker killed → answered by another, worst of 10 (target 200 ms)", f"{await recovery(sandbox):.1f} ms"
            )
            line("worker forked, module loaded, ready", f"{started_ms:.1f} ms")
        await sandbox.close()


async def main() -> None:
    logging.disable()  # workers are killed on purpose
    line("floor: 1 KB echoed by a forked process, blocking", f"{floor():.1f} µs")
    wall, cpu = await loop_floor()
    line("floor: the same from an event loop", f"{wall:.1f} µs")
    line("  of that, this process's CPU", f"{cpu:.1f} µs")
    artefact = compile_here(ECHO)
    for name, caller in (("in the worker (target 20 µs)", NativeCaller), ("through the public API", PublicCaller)):
        runtime = Runtime({"echo": artefact.code}, caller=caller)
        line(
            f"sandbox call {name}, fresh store, 1 KB", f"{best(lambda r=runtime: r.run('echo', DOCUMENT, WASM)):.1f} µs"
        )
    zygote = await Zygote.start(PRELOAD)
    began = time.perf_counter()
    modules = {"echo": await compile_module(zygote, ECHO)}
    line("compiled in a jail of its own", f"{(time.perf_counter() - began) * 1e3:.1f} ms")
    await pooled(zygote, modules)
    await zygote.close()


if __name__ == "__main__":
    asyncio.run(main())
