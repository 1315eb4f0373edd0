"""What the sandbox's boundary costs beside Extism's, and how far past its deadline a run gets on a busy machine.

Run it: `python -m benchmarks.bench_boundary`
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import quantiles
from typing import Final

from wasmtime import Linker, Module, wat2wasm

from benchmarks.bench_sandbox import ECHO, WASM
from benchmarks.command import main
from benchmarks.extism_echo import MISSING, echo_call, host_calls
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, calls, in_turn
from engine.constraints import ExecutionConstraints
from engine.constraints.limits import FUEL_CEILING
from gateway.sandbox import native
from gateway.sandbox.call import Called, End, Loaded
from gateway.sandbox.engine import make_engine
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.port import RunGiven
from gateway.sandbox.runtime import Runtime
from gateway.sandbox.timer import make_timer

TITLE: Final = "boundary: the sandbox beside Extism, its host calls, its deadline"
CALLS = 300  # in many short rounds, so that both find the moments in which the machine was quiet
ROUNDS = 10  # for each of the effort's
PAGES_BYTES = 2 * 65_536
HOST_CALLS = 1_000
HOST_RUNS = 20
LATE_RUNS = 300
WALL_MS = 5
SIZES: Final = ((0, "nothing"), (1024, "1 KB"), (65_536, "64 KB"))
EXTISM_SHARE_MAX: Final = 0.2  # of what Extism takes for 1 KB: five times less
LONG = ExecutionConstraints(wall_ms_max=60_000, fuel_max=FUEL_CEILING, memory_bytes_max=PAGES_BYTES)
GIVEN = RunGiven(1_769_860_800_000_000, bytes(16))
CLOCK: Final = """(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 2) (func (export "mission_abi_v1"))
  (func (export "mission_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "mission_run") (param i32 i32) (result i64) (local $i i32)
    (loop $l (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 8)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {calls}))))
    (i64.const 0)))"""
SPIN: Final = """(module (memory (export "memory") 2) (func (export "mission_abi_v1"))
  (func (export "mission_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "mission_run") (param i32 i32) (result i64) (loop $l (br $l)) (unreachable)))"""


def echo_rows(effort: Effort) -> Iterator[Row]:
    """Measure a call of each size, in turn with Extism's."""
    runtime = Runtime({"echo": compile_here(ECHO).code}, caller=NativeCaller)
    for size, name in SIZES:
        document = b"x" * size
        works = [calls(lambda document=document: runtime.run("echo", document, WASM), CALLS)]  # type: ignore[misc]
        extism = echo_call(document)
        short = replace(effort, rounds=effort.rounds * ROUNDS)
        ours, *theirs = in_turn(short, *works, *([] if extism is None else [calls(extism, CALLS)]))
        demanded = size == 1024
        yield timed_row(
            f"{name} in and out, fresh store",
            "µs",
            ours,
            against="Extism, fresh plugin" if theirs else MISSING,
            peer=theirs[0] if theirs else None,
            target=40 if demanded else None,
            ratio_max=EXTISM_SHARE_MAX if demanded else None,
        )


def host_call_rows(effort: Effort) -> Iterator[Row]:
    """Measure one call of the host: what a run with a thousand more of them takes longer."""
    wasm = {str(count): bytes(wat2wasm(CLOCK.format(calls=count))) for count in (1, 1 + HOST_CALLS)}
    runtime = Runtime({name: compile_here(module).code for name, module in wasm.items()}, caller=NativeCaller)
    works = [calls(lambda n=name: runtime.run(n, b"", LONG, GIVEN), HOST_RUNS) for name in wasm]  # type: ignore[misc]
    peers = [host_calls(count) for count in (1, 1 + HOST_CALLS)]
    works += [calls(peer, HOST_RUNS) for peer in peers if peer is not None]
    few, many, *theirs = in_turn(effort, *works)
    yield timed_row(
        "a call of the host (WASI clock, metered)",
        "µs",
        _each(few, many),
        against="Extism's, in Python, unmetered" if theirs else MISSING,
        peer=_each(*theirs) if theirs else None,
    )


def _each(few: Timing, many: Timing) -> Timing:
    return Timing((many.best - few.best) / HOST_CALLS, (many.median - few.median) / HOST_CALLS)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processes burning CPU."""
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            while True:
                pass
        pids.append(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@contextmanager
def hogged() -> Iterator[None]:
    """Keep this interpreter busy with a thread that never waits."""
    done = threading.Event()
    thread = threading.Thread(target=lambda: [None for _ in iter(done.is_set, True)], daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def endless_run() -> Callable[[], Called]:
    """Return a call that makes one run that never ends of itself: not repeated, as a runtime does on a busy machine."""
    engine = make_engine()
    module = Module.deserialize(engine, compile_here(bytes(wat2wasm(SPIN))).code)
    pre = Linker(engine).instantiate_pre(module)
    spin = Loaded(pre, native.address(pre), initializes=False, calls_host=False, memory_bytes_min=PAGES_BYTES)
    caller, timer = NativeCaller(engine, table_elements_max=1, tables_max=1), make_timer(engine)
    return lambda: caller.call(
        spin,
        b"",
        GIVEN,
        fuel=FUEL_CEILING,
        memory_bytes_max=PAGES_BYTES,
        output_bytes_max=0,
        arm=lambda: timer.arm(WALL_MS * 1000),
    )


def late_runs(run: Callable[[], Called]) -> list[float]:
    """Return by how many ms runs were late."""
    overshoots: list[float] = []
    while len(overshoots) < LATE_RUNS:
        began = time.perf_counter()
        if run().end is End.EPOCH:
            overshoots.append((time.perf_counter() - began) * 1e3 - WALL_MS)
    return overshoots


def late_timers() -> list[float]:
    """Return by how many ms Python's own timers are late, which would otherwise stop a run."""
    overshoots: list[float] = []
    for _ in range(LATE_RUNS):
        rang: list[float] = []
        began = time.perf_counter()
        timer = threading.Timer(WALL_MS / 1e3, lambda rang=rang: rang.append(time.perf_counter()))
        timer.start()
        timer.join()
        overshoots.append((rang[0] - began) * 1e3 - WALL_MS)
    return overshoots


def overshoot_rows() -> Iterator[Row]:
    """Measure how far past a deadline of 5 ms a run gets, with a process more than there are cores.

    Once more with a thread that keeps the interpreter busy: then who measures has to wait for it as well.
    """
    run = endless_run()
    with busy(os.cpu_count() or 1):
        yield from _late("every core busy", late_runs(run), late_timers())
    with busy((os.cpu_count() or 1) - 1), hogged():
        yield from _late("cores and interpreter busy", late_runs(run), late_timers())


def _late(what: str, ours: Sequence[float], peers: Sequence[float]) -> Iterator[Row]:
    for name, mine, theirs in zip(("median", "99%", "worst"), _spread(ours), _spread(peers), strict=True):
        yield Row(
            what=f"deadline of {WALL_MS} ms, {what}, late by: {name} of {LATE_RUNS}",
            ours=mine,
            unit="ms",
            peer_name="a timer of Python's",
            peer=theirs,
        )


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    cuts = quantiles(values, n=100)
    return cuts[49], cuts[98], max(values)


def rows(effort: Effort = FULL) -> Iterator[Row]:
    """Measure every figure."""
    yield from echo_rows(effort)
    yield from host_call_rows(effort)
    yield from overshoot_rows()


if __name__ == "__main__":
    raise SystemExit(main(only="boundary"))
