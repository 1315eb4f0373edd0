"""Modules that mean harm to the host through what it offers them: floods, lies, and functions in the wrong places."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cache

import pytest
from wasmtime import wat2wasm

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox import host, wasi
from gateway.sandbox.host import CALL_FUEL, HOST_CALLS_MAX, Host
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.port import LOG_BYTES_MAX, RunGiven
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.workers.supervisor import Zygote
from tests.depth import times
from tests.unit.gateway.sandbox.modules import ECHO, PAGE, packed

Callers = type[NativeCaller | PublicCaller]
CALLERS = pytest.mark.parametrize("caller", [NativeCaller, PublicCaller])
PLENTY = ExecutionConstraints(wall_ms_max=20_000, fuel_max=10**10, memory_bytes_max=16 * PAGE)
LITTLE_FUEL = replace(PLENTY, fuel_max=50 * CALL_FUEL)
LITTLE_TIME = replace(PLENTY, wall_ms_max=5)
GIVEN = RunGiven(1_769_860_800_000_000, bytes(range(16)))
_NAMES = ("clock_time_get", "random_get", "fd_write", "sched_yield", "proc_exit", "fd_close", "path_open")
_ECHO = packed("(local.get $p)", "(local.get $n)")


def calling(run: str = _ECHO, *, alloc: str = "(i32.const 1024)", extra: str = "") -> bytes:
    """Return a module of the ABI that may call the functions `$clock_time_get` and so on."""
    imports = "".join(
        f'(import "{wasi.MODULE}" "{name}" (func ${name}'
        f" (param {' '.join(wasi.FUNCTIONS[name].params)}) (result {' '.join(wasi.FUNCTIONS[name].results)})))"
        for name in _NAMES
    )
    return bytes(
        wat2wasm(f"""(module {imports} (memory (export "memory") 2) (func (export "mission_abi_v1"))
        (func (export "mission_alloc") (param $n i32) (result i32) {alloc})
        (func $run (export "mission_run") (param $p i32) (param $n i32) (result i64) (local $i i32) {run}) {extra})""")
    )


def flood(call: str) -> str:
    return f"(loop $l (drop {call}) (br $l)) (unreachable)"


LARGE_WRITE = "(i32.store (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 131072))" + flood(
    "(call $fd_write (i32.const 2) (i32.const 8) (i32.const -1) (i32.const 0))"
)
FLOODS = {
    "yields": flood("(call $sched_yield)"),
    "clocks": flood("(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0))"),
    "randomness": flood("(call $random_get (i32.const 0) (i32.const 65536))"),
    "writes": LARGE_WRITE,
    "files": flood("(call $path_open " + "(i32.const 3)" * 5 + "(i64.const -1)" * 2 + "(i32.const 0)" * 2 + ")"),
    "closings": flood("(call $fd_close (i32.const 1))"),
}


@cache
def flooding(kind: str) -> bytes:
    """Return the code of a flood, compiled once."""
    return compile_here(calling(FLOODS[kind])).code


def ended(runtime: Runtime, name: str, constraints: ExecutionConstraints) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        runtime.run(name, b"{}", constraints, GIVEN)
    return caught.value


@CALLERS
@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_paid_for_and_counted(kind: str, caller: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by fuel where there is little, by the number of calls where there is plenty, each time the same."""
    if kind != "yields":  # for one the number is the real one; counting is the same for all
        monkeypatch.setattr(host, "HOST_CALLS_MAX", times(500, HOST_CALLS_MAX))
    runtime = Runtime({"m": flooding(kind), "echo": compile_here(ECHO).code}, caller=caller)
    for _ in range(2):
        assert ended(runtime, "m", LITTLE_FUEL).code == "constraint.cpu_exceeded"
        if kind != "randomness":  # whose bytes cost so much that it does not get there
            assert PLENTY.fuel_max > HOST_CALLS_MAX * CALL_FUEL
            assert ended(runtime, "m", PLENTY).code == "sandbox.host_calls_exceeded"
        assert runtime.run("echo", b"x", PLENTY).output == b"x"


@CALLERS
@pytest.mark.parametrize("kind", FLOODS)
def test_the_deadline_holds_across_calls_of_the_host(kind: str, caller: Callers) -> None:
    """A guest that spends its time in the host is stopped at its wall as well."""
    runtime = Runtime({"m": flooding(kind)}, caller=caller)
    assert ended(runtime, "m", LITTLE_TIME).code == "constraint.timeout_exceeded"


@CALLERS
@pytest.mark.parametrize("status", [0, 1, -1])
def test_an_exit_is_a_trap(status: int, caller: Callers) -> None:
    """A module that exits has not answered, whatever it says of its success; its log is kept for its author."""
    exiting = (
        "(i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (local.get $n))"
        "(drop (call $fd_write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 0)))"
        f"(call $proc_exit (i32.const {status})) (unreachable)"
    )
    runtime = Runtime({"m": compile_here(calling(exiting)).code, "echo": compile_here(ECHO).code}, caller=caller)
    for _ in range(2):
        error = ended(runtime, "m", PLENTY)
        assert (error.code, error.log) == ("sandbox.trap", b"{}")
        assert "proc_exit" in error.message
        assert runtime.run("echo", b"x", PLENTY).log == b""


@CALLERS
def test_a_start_function_may_call_the_host(caller: Callers) -> None:
    """Its memory is there before anything that it exports was looked up; a fault and an exit there are typed."""
    reads = "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const {}))) {}"
    started = calling(packed("(i32.const 64)", "(i32.const 8)"), extra=f"(func $s {reads.format(64, '')}) (start $s)")
    exits = calling(extra=f"(func $s {reads.format(-4, '(call $proc_exit (i32.const 0))')}) (start $s)")
    runtime = Runtime({"m": compile_here(started).code, "exits": compile_here(exits).code}, caller=caller)
    assert runtime.run("m", b"{}", PLENTY, GIVEN).output == (GIVEN.now_us * 1000).to_bytes(8, "little")
    assert ended(runtime, "exits", PLENTY).code == "sandbox.trap"


@CALLERS
def test_a_function_of_the_host_may_stand_for_the_guest_s_own(caller: Callers) -> None:
    """`fd_close` has the type of `mission_alloc`: it answers 8, and the input is written there."""
    text = f"""(module (import "{wasi.MODULE}" "fd_close" (func (param i32) (result i32)))
        (memory (export "memory") 2) (func (export "mission_abi_v1")) (export "mission_alloc" (func 0))
        (func (export "mission_run") (param $p i32) (param $n i32) (result i64) {_ECHO}))"""
    runtime = Runtime({"m": compile_here(bytes(wat2wasm(text))).code}, caller=caller)
    assert runtime.run("m", b"{}", PLENTY).output == b"{}"


@CALLERS
def test_exports_that_call_each_other_end(caller: Callers) -> None:
    """A guest that enters itself again and again meets the end of its stack, with host calls on the way."""
    again = "(drop (call $sched_yield)) (call $run (local.get $p) (local.get $n))"
    from_alloc = calling(again, alloc="(drop (call $run (i32.const 1) (i32.const 1))) (i32.const 1)")
    runtime = Runtime({"run": compile_here(calling(again)).code, "alloc": compile_here(from_alloc).code}, caller=caller)
    assert [ended(runtime, name, PLENTY).code for name in ("run", "alloc")] == ["sandbox.trap"] * 2


@CALLERS
def test_nothing_of_a_run_s_world_is_left_for_the_next(caller: Callers) -> None:
    """Clock, randomness, log and the count of calls begin anew, also after a run that the host ended."""
    probing = (
        "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 64)))"
        "(drop (call $random_get (i32.const 72) (i32.const 8)))"
        "(i32.store (i32.const 8) (i32.const 72)) (i32.store (i32.const 12) (i32.const 4))"
        "(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))"
        + packed("(i32.const 64)", "(i32.const 16)")
    )
    runtime = Runtime(
        {"m": compile_here(calling(probing)).code, "flood": compile_here(calling(FLOODS["writes"])).code}, caller=caller
    )
    outcomes = []
    for constraints in (LITTLE_FUEL, PLENTY, LITTLE_TIME):
        report = runtime.run("m", b"{}", PLENTY, GIVEN)
        outcomes.append((report.output, report.log, report.fuel_used))
        assert len(ended(runtime, "flood", constraints).log) == LOG_BYTES_MAX
    assert len(set(outcomes)) == 1
    assert outcomes[0][0][:8] == (GIVEN.now_us * 1000).to_bytes(8, "little")


@CALLERS
def test_a_bug_of_the_host_is_no_answer(caller: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in the host ends the run as a fault of ours; the guest does not go on with a made-up answer."""

    def broken(*_: object) -> int:
        raise KeyError("a bug")

    runtime = Runtime({"m": compile_here(calling("(drop (call $sched_yield))" + _ECHO)).code}, caller=caller)
    with monkeypatch.context() as patch:
        patch.setattr(Host, "call", broken)
        with pytest.raises(KeyError):
            runtime.run("m", b"{}", PLENTY)
    assert runtime.run("m", b"{}", PLENTY).output == b"{}"


@CALLERS
def test_a_module_without_imports_meets_no_host(caller: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs what it did before there was one: not a callback, and the same fuel."""
    counted: list[object] = []
    monkeypatch.setattr(Host, "call", counted.append)
    report = Runtime({"echo": compile_here(ECHO).code}, caller=caller).run("echo", b"x", PLENTY, GIVEN)
    assert (report.output, report.log, counted) == (b"x", b"", [])
    assert report.fuel_used < 20


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


async def test_floods_do_not_disturb_their_neighbours(zygote: Zygote) -> None:
    """In a worker as in process: each has its code and at most a full log, and no worker is lost."""
    floods = {kind: compile_here(calling(run)) for kind, run in FLOODS.items()}
    sandbox = PooledSandbox(zygote, {**floods, "echo": compile_here(ECHO)}, 1)
    await sandbox.start()
    pids = sandbox.pids
    for kind in floods:
        with pytest.raises(SandboxError) as caught:
            await sandbox.run(kind, b"{}", LITTLE_FUEL, GIVEN)
        assert caught.value.code == "constraint.cpu_exceeded"
        assert len(caught.value.log) == (LOG_BYTES_MAX if kind == "writes" else 0)
        assert (await sandbox.run("echo", b"x", PLENTY)).output == b"x"
    assert sandbox.pids == pids
    await sandbox.close()
