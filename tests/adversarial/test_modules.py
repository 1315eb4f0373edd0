"""Hostile modules, and bytes that are none: each is refused with its code, or stopped with its code."""

import dataclasses
from collections.abc import AsyncIterator
from functools import cache

import pytest
import pytest_asyncio
from wasmtime import wat2wasm

from engine.constraints.limits import FUEL_CEILING, MEMORY_BYTES_CEILING
from gateway.errors import HookRefusedError, SandboxError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import MODULE_BYTES_MAX, compile_module
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.workers.supervisor import Zygote
from tests.adversarial.hostile_modules import BULK, GROW_REFUSED, RUNS, bulk, compile_bomb
from tests.depth import times
from tests.unit.gateway.sandbox.modules import ECHO, LOOP, module

ON_ITS_LOOP = pytest.mark.asyncio(loop_scope="module")  # the zygote's
WASM = profiles_from({})["wasm"]

MARKER = '(func (export "mission_abi_v1"))'
ALLOC = '(func (export "mission_alloc") (param i32) (result i32) (i32.const 8))'
RUN = '(func (export "mission_run") (param i32 i32) (result i64) (i64.const 0))'
MEMORY = '(memory (export "memory") 1)'


@cache
def compiled(wasm: bytes) -> Artefact:
    """Return a module, compiled once for all its runs."""
    return compile_here(wasm)


def wat(*parts: str) -> bytes:
    return bytes(wat2wasm(f"(module {' '.join(parts)})"))


REFUSED = {
    "empty": (b"", "hook.magic"),
    "text": (b'(module (memory (export "memory") 1))', "hook.magic"),
    "a component": (b"\0asm\x0d\0\1\0", "hook.magic"),
    "another version": (b"\0asm\2\0\0\0", "hook.magic"),
    "magic in the middle": (b"\n" + ECHO, "hook.magic"),
    "magic only": (ECHO[:8], "hook.export_missing"),
    "too large": (ECHO[:8] + b"\0" * MODULE_BYTES_MAX, "hook.too_large"),
    "cut short": (ECHO[:-3], "hook.invalid"),
    "garbage": (ECHO[:8] + b"\xff" * 64, "hook.invalid"),
    "a section too long": (ECHO[:8] + b"\1\xff\xff\xff\xff\x0f", "hook.invalid"),
    "foreign import": (wat('(import "env" "system" (func (param i32)))', MEMORY, MARKER, ALLOC, RUN), "hook.import"),
    "imported memory": (
        wat('(import "env" "memory" (memory 1))', '(export "memory" (memory 0))', MARKER, ALLOC, RUN),
        "hook.import",
    ),
    "wasi": (
        wat('(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))', MEMORY),
        "hook.export_missing",
    ),
    "wasi of another type": (
        wat('(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i64)))', MEMORY),
        "hook.import_type",
    ),
    "wasi that is no function": (
        wat('(import "wasi_snapshot_preview1" "fd_write" (global i32))', MEMORY, MARKER, ALLOC, RUN),
        "hook.import_type",
    ),
    "wasi that there is not": (
        wat('(import "wasi_snapshot_preview1" "fd_dup" (func (param i32) (result i32)))', MEMORY, MARKER, ALLOC, RUN),
        "hook.import",
    ),
    "wasi of another version": (
        wat('(import "wasi_unstable" "sched_yield" (func (result i32)))', MEMORY, MARKER, ALLOC, RUN),
        "hook.import",
    ),
    "wasi, and something else": (
        wat(
            '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))',
            '(import "env" "abort" (func))',
            *(MEMORY, MARKER, ALLOC, RUN),
        ),
        "hook.import",
    ),
    "a memory of wasi": (
        wat('(import "wasi_snapshot_preview1" "memory" (memory 1))', MARKER, ALLOC, RUN),
        "hook.import",
    ),
    "no memory": (wat(MARKER, ALLOC, RUN), "hook.export_missing"),
    "no marker": (wat(MEMORY, ALLOC, RUN), "hook.export_missing"),
    "no alloc": (wat(MEMORY, MARKER, RUN), "hook.export_missing"),
    "no run": (wat(MEMORY, MARKER, ALLOC), "hook.export_missing"),
    "run of another type": (
        wat(MEMORY, MARKER, ALLOC, '(func (export "mission_run") (param i64) (result i64) (i64.const 0))'),
        "hook.export_type",
    ),
    "alloc of another type": (
        wat(MEMORY, MARKER, RUN, '(func (export "mission_alloc") (param i32 i32) (result i32) (i32.const 0))'),
        "hook.export_type",
    ),
    "marker with a result": (
        wat(MEMORY, ALLOC, RUN, '(func (export "mission_abi_v1") (result i32) (i32.const 1))'),
        "hook.export_type",
    ),
    "memory that is a global": (
        wat('(global (export "memory") i32 (i32.const 0))', MARKER, ALLOC, RUN),
        "hook.export_type",
    ),
    "alloc that is a table": (
        wat(MEMORY, MARKER, RUN, '(table (export "mission_alloc") 1 funcref)'),
        "hook.export_type",
    ),
    "_initialize with a parameter": (
        wat(MEMORY, MARKER, ALLOC, RUN, '(func (export "_initialize") (param i32))'),
        "hook.export_type",
    ),
    "4 GiB of memory": (wat('(memory (export "memory") 65536)', MARKER, ALLOC, RUN), "hook.memory"),
    "shared memory": (wat('(memory (export "memory") 1 2 shared)', MARKER, ALLOC, RUN), "hook.invalid"),
    "64-bit memory": (wat('(memory (export "memory") i64 1)', MARKER, ALLOC, RUN), "hook.invalid"),
    "two memories": (wat(MEMORY, "(memory 1)", MARKER, ALLOC, RUN), "hook.invalid"),
    "SIMD": (wat(MEMORY, MARKER, ALLOC, RUN, "(func (drop (v128.const i64x2 0 0)))"), "hook.invalid"),
    "tail call": (wat(MEMORY, MARKER, ALLOC, RUN, "(func $f (return_call $f))"), "hook.invalid"),
    "exceptions": (wat(MEMORY, MARKER, ALLOC, RUN, "(tag $e) (func (throw $e))"), "hook.invalid"),
    "GC types": (wat(MEMORY, MARKER, ALLOC, RUN, "(type (struct (field i32)))"), "hook.invalid"),
    "too many tables": (wat(MEMORY, MARKER, ALLOC, RUN, "(table 1 funcref)" * 5), "hook.invalid"),
    "a table too large": (wat(MEMORY, MARKER, ALLOC, RUN, "(table 20000 funcref)"), "hook.invalid"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    """Start one for all: whatever a module does to its jail, the next is compiled by the same zygote."""
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


@pytest.mark.parametrize("name", REFUSED)
@ON_ITS_LOOP
async def test_what_is_no_module_of_ours_is_refused(name: str, zygote: Zygote) -> None:
    """Registration says which rule is broken, and nothing that is refused is ever run."""
    wasm, code = REFUSED[name]
    with pytest.raises(HookRefusedError) as caught:
        await compile_module(zygote, wasm)
    assert caught.value.code == code


@ON_ITS_LOOP
async def test_a_compile_bomb_ends_in_the_jail(zygote: Zygote) -> None:
    """A small valid module that makes the compiler ask for gigabytes is refused; the next one compiles."""
    bomb = compile_bomb()
    assert len(bomb) < 1_000_000
    with pytest.raises(HookRefusedError) as caught:
        await compile_module(zygote, bomb)
    assert caught.value.code == "hook.compile_exceeded"
    assert (await compile_module(zygote, ECHO)).code


# What ends these runs is counted, in fuel or pages: a busy machine must not end them by the clock before that.
PATIENT = dataclasses.replace(WASM, wall_ms_max=10_000)


@pytest.fixture(params=[NativeCaller, PublicCaller])
def caller(request: pytest.FixtureRequest) -> type[NativeCaller | PublicCaller]:
    chosen: type[NativeCaller | PublicCaller] = request.param
    return chosen


@pytest.mark.parametrize("name", RUNS)
def test_a_hostile_run_is_stopped_with_its_code(name: str, caller: type[NativeCaller | PublicCaller]) -> None:
    """Whichever way the call is made, the end has the same name; and the next call is served."""
    wasm, code = RUNS[name]
    runtime = Runtime({"hostile": compiled(wasm).code, "echo": compiled(ECHO).code}, caller=caller)
    for _ in range(times(1, 3)):
        with pytest.raises(SandboxError) as caught:
            runtime.run("hostile", b"{}", PATIENT)
        assert caught.value.code == code
        assert runtime.run("echo", b"still here", PATIENT).output == b"still here"


@pytest.mark.parametrize("operation", BULK)
def test_bulk_operations_are_paid_by_size_and_end_at_the_wall(
    operation: str, caller: type[NativeCaller | PublicCaller]
) -> None:
    """An instruction that moves megabytes is no way around the limits: fuel ends it, and so does time."""
    runtime = Runtime({"m": compile_here(bulk(BULK[operation])).code}, caller=caller)
    for constraints, code in (
        (dataclasses.replace(WASM, wall_ms_max=10_000), "constraint.cpu_exceeded"),
        (dataclasses.replace(WASM, wall_ms_max=20, fuel_max=FUEL_CEILING), "constraint.timeout_exceeded"),
    ):
        with pytest.raises(SandboxError) as caught:
            runtime.run("m", b"{}", constraints)
        assert caught.value.code == code


def test_a_refused_grow_is_the_guest_s_to_handle(caller: type[NativeCaller | PublicCaller]) -> None:
    """A module that asks for too much and lives with the no has done nothing wrong."""
    runtime = Runtime({"m": compile_here(GROW_REFUSED).code}, caller=caller)
    assert runtime.run("m", b"{}", WASM).output == b"{}"


def test_nothing_is_left_for_the_next_run(caller: type[NativeCaller | PublicCaller]) -> None:
    """Memory, globals and tables are new each time: a run cannot leave a word for the next one."""
    counting = module(
        "(i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 1)))"
        "(global.set $g (i32.add (global.get $g) (i32.load (i32.const 70000))))"
        "(i32.store (i32.const 16) (global.get $g))"
        "(i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 4))",
        extra="(global $g (mut i32) (i32.const 0))",
    )
    runtime = Runtime({"m": compile_here(counting).code}, caller=caller)
    assert [runtime.run("m", b"{}", WASM).output for _ in range(5)] == [b"\1\0\0\0"] * 5


@ON_ITS_LOOP
async def test_hostile_modules_do_not_disturb_their_neighbours(zygote: Zygote) -> None:
    """In a worker as in process: every hostile run has its code, and no worker is lost."""
    hostile = {name: compiled(wasm) for name, (wasm, _) in RUNS.items()}
    sandbox = PooledSandbox(zygote, {**hostile, "echo": compile_here(ECHO), "loop": compile_here(LOOP)}, 1)
    await sandbox.start()
    pids = sandbox.pids
    for name, (_, code) in RUNS.items():
        with pytest.raises(SandboxError) as caught:
            await sandbox.run(name, b"{}", PATIENT)
        assert caught.value.code == code
        assert (await sandbox.run("echo", b"x", PATIENT)).output == b"x"
    for size in (MEMORY_BYTES_CEILING, MEMORY_BYTES_CEILING + 1):  # the second is not sent to the worker at all
        with pytest.raises(SandboxError) as caught:
            await sandbox.run("echo", b"x" * size, WASM)
        assert caught.value.code == "constraint.memory_exceeded"
    assert sandbox.pids == pids
    await sandbox.close()
