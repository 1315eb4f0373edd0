import asyncio
import dataclasses
import threading
import time
from types import SimpleNamespace

import pytest
from wasmtime import Linker

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox import native
from gateway.sandbox.call import Called, End, Loaded
from gateway.sandbox.constraints import STARVED_REPEATS_MAX
from gateway.sandbox.engine import make_engine
from gateway.sandbox.inprocess import InProcessSandbox
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.port import RunGiven
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.sandbox.timer import NativeTimer, ThreadTimer
from tests.unit.gateway.sandbox.modules import ECHO, LOOP, PAGE, answering, module, packed

PLENTY = ExecutionConstraints(wall_ms_max=1_000, fuel_max=10**10, memory_bytes_max=16 * PAGE)
ENDLESS = dataclasses.replace(PLENTY, wall_ms_max=20)

CALLERS = pytest.mark.parametrize("caller", [NativeCaller, PublicCaller])
Callers = type[NativeCaller | PublicCaller]


@CALLERS
def test_a_run_reports_what_it_used(caller: Callers) -> None:
    """Output, fuel and memory are those of this run alone."""
    runtime = Runtime({"echo": compile_here(ECHO).code}, caller=caller)
    first, second = (runtime.run("echo", b"x" * 1000, PLENTY) for _ in range(2))
    assert first.output == b"x" * 1000
    assert first.memory_bytes == 2 * PAGE
    assert 0 < first.fuel_used == second.fuel_used < 100
    assert first.wall_us < 1_000_000


def test_both_callers_use_the_same_fuel() -> None:
    """Fuel is part of the result, so a replay may make the call either way."""
    artefact = compile_here(answering('{"output":1}')).code
    reports = [Runtime({"m": artefact}, caller=c).run("m", b"{}", PLENTY) for c in (NativeCaller, PublicCaller)]
    assert reports[0].fuel_used == reports[1].fuel_used
    assert reports[0].output == reports[1].output


def test_fuel_ends_a_run_at_the_same_point_every_time() -> None:
    """Which budgets are enough is a fact of module and input, each time and whichever way the call is made."""
    counting = module(
        "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "(br_if $l (i32.lt_u (local.get $i) (i32.const 9))))" + packed("(local.get $p)", "(local.get $n)")
    )
    artefact = compile_here(counting).code
    runtimes = [Runtime({"m": artefact}, caller=caller) for caller in (NativeCaller, PublicCaller)]
    needs = runtimes[0].run("m", b"abc", PLENTY).fuel_used
    outcomes = {
        tuple(_enough(runtime, dataclasses.replace(PLENTY, fuel_max=fuel)) for fuel in range(1, needs + 2))
        for runtime in runtimes * 3
    }
    [outcome] = outcomes
    assert outcome == tuple(sorted(outcome))
    assert (outcome[needs // 2], outcome[-1]) == (False, True)


def _enough(runtime: Runtime, constraints: ExecutionConstraints) -> bool:
    try:
        return runtime.run("m", b"abc", constraints).output == b"abc"
    except SandboxError as error:
        return {"constraint.cpu_exceeded": False}[error.code]


@pytest.mark.timeout(20)
@CALLERS
def test_the_wall_ends_a_run_that_has_fuel(caller: Callers) -> None:
    """The epoch's timer stops it, and not before its time."""
    runtime = Runtime({"loop": compile_here(LOOP).code}, caller=caller)
    began = time.monotonic()
    with pytest.raises(SandboxError) as caught:
        runtime.run("loop", b"", ENDLESS)
    assert caught.value.code == "constraint.timeout_exceeded"
    assert time.monotonic() - began >= ENDLESS.wall_ms_max / 1000


def test_the_deadline_holds_in_a_busy_interpreter() -> None:
    """A thread that never lets go of the interpreter keeps no run from its deadline."""
    runtime = Runtime({"loop": compile_here(LOOP).code})
    done = threading.Event()
    thread = threading.Thread(target=lambda: [None for _ in iter(done.is_set, True)], daemon=True)
    thread.start()
    try:
        for _ in range(20):
            with pytest.raises(SandboxError) as caught:
                runtime.run("loop", b"", dataclasses.replace(PLENTY, wall_ms_max=5))
            assert caught.value.code == "constraint.timeout_exceeded"
    finally:
        done.set()
        thread.join()


@CALLERS
def test_initialize_comes_first_under_the_same_limits(caller: Callers) -> None:
    """A reactor's constructor has run when the module is asked."""
    prepared = module(
        packed("(global.get $set)", "(i32.const 1)"),
        extra='(global $set (mut i32) (i32.const 0)) (func (export "_initialize") (global.set $set (i32.const 600)))'
        '(data (i32.const 600) "!")',
    )
    assert Runtime({"m": compile_here(prepared).code}, caller=caller).run("m", b"{}", PLENTY).output == b"!"


def test_loading_runs_nothing_of_the_guest() -> None:
    """A start function that loops for ever does not stop a worker from loading its module."""
    wasm = module("(i64.const 0)", extra="(func $s (loop $l (br $l)))", start="(start $s)")
    assert Runtime({"m": compile_here(wasm).code})  # and not the test's own time limit


class _Scripted:
    """A caller that ends as told, after `seconds`."""

    def __init__(self, *ends: tuple[End, float]) -> None:
        self.ends = list(ends)

    def link(self, _linker: Linker) -> None:
        """Nothing that this runs calls the host."""

    def call(self, _module: Loaded, _document: bytes, _given: RunGiven, **_: object) -> Called:
        end, seconds = self.ends.pop(0)
        time.sleep(seconds)  # no CPU time
        return Called(end, b"{}", 0, 0)


def _scripted(*ends: tuple[End, float]) -> tuple[Runtime, _Scripted]:
    runtime = Runtime({"m": compile_here(ECHO).code})
    runtime._caller = script = _Scripted(*ends)
    return runtime, script


def test_a_run_that_was_starved_is_repeated() -> None:
    """It met its deadline without having had the CPU: the host was overloaded, and the run is pure."""
    runtime, script = _scripted((End.EPOCH, 0.03), (End.RETURNED, 0))
    assert runtime.run("m", b"", ENDLESS).output == b"{}"
    assert script.ends == []


def test_a_run_that_is_starved_again_and_again_is_late() -> None:
    """A host that never gives it the CPU does not keep its worker for ever."""
    starved = [(End.EPOCH, 0.03)] * (1 + STARVED_REPEATS_MAX)
    runtime, script = _scripted(*starved, (End.RETURNED, 0))
    with pytest.raises(SandboxError) as caught:
        runtime.run("m", b"", ENDLESS)
    assert caught.value.code == "constraint.timeout_exceeded"
    assert len(script.ends) == 1


def test_a_tick_of_an_earlier_run_ends_nothing() -> None:
    """A tick that comes before the run's own deadline was another's."""
    runtime, script = _scripted((End.EPOCH, 0), (End.EPOCH, 0), (End.RETURNED, 0))
    assert runtime.run("m", b"", ENDLESS).output == b"{}"
    assert script.ends == []


def test_a_run_that_spent_its_time_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that had the CPU until its deadline is run once: it is simply too slow."""
    runtime, script = _scripted((End.EPOCH, 0), (End.RETURNED, 0))
    wall, cpu = iter([0, 21_000_000]), iter([0, 10_500_000])
    clocks = SimpleNamespace(perf_counter_ns=lambda: next(wall), thread_time_ns=lambda: next(cpu))
    monkeypatch.setattr("gateway.sandbox.runtime.time", clocks)
    with pytest.raises(SandboxError) as caught:
        runtime.run("m", b"", ENDLESS)
    assert caught.value.code == "constraint.timeout_exceeded"
    assert len(script.ends) == 1


@pytest.mark.parametrize("timer", [NativeTimer, ThreadTimer])
def test_a_disarmed_timer_does_not_tick(timer: type[NativeTimer | ThreadTimer]) -> None:
    """Runs that end in time leave no tick behind for those that follow."""
    runtime = Runtime({"echo": compile_here(ECHO).code, "loop": compile_here(LOOP).code})
    runtime._timer = timer(make_engine())
    for _ in range(50):
        assert runtime.run("echo", b"x", ENDLESS).output == b"x"


@pytest.mark.parametrize("caller", [NativeCaller, PublicCaller])
def test_the_thread_timer_serves_where_there_is_no_other(caller: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without POSIX timers a run is stopped all the same."""

    def none(_: object) -> None:
        raise OSError

    monkeypatch.setattr("gateway.sandbox.timer.NativeTimer", none)
    runtime = Runtime({"loop": compile_here(LOOP).code}, caller=caller)
    assert isinstance(runtime._timer, ThreadTimer)
    with pytest.raises(SandboxError) as caught:
        runtime.run("loop", b"", ENDLESS)
    assert caught.value.code == "constraint.timeout_exceeded"


def test_another_version_of_wasmtime_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Private names are used with the one version that they were written against."""
    assert native.supported()
    native.supported.cache_clear()
    monkeypatch.setattr(native, "VERSION", "0.0.0")
    try:
        assert not native.supported()
        runtime = Runtime({"echo": compile_here(ECHO).code})
        assert isinstance(runtime._caller, PublicCaller)
        assert isinstance(runtime._timer, ThreadTimer)
        assert runtime.run("echo", b"x", PLENTY).output == b"x"
    finally:
        native.supported.cache_clear()


def test_a_damaged_artefact_does_not_load() -> None:
    """What is no artefact of this engine is a typed error."""
    with pytest.raises(SandboxError) as caught:
        Runtime({"m": b"\0" * 100})
    assert caught.value.code == "sandbox.unavailable"


async def test_in_process_runs_take_turns() -> None:
    """Calls from many tasks share one engine and its timer without disturbing each other."""
    sandbox = InProcessSandbox({"echo": compile_here(ECHO), "loop": compile_here(LOOP)})
    documents = [str(n).encode() for n in range(40)]
    runs = [sandbox.run("echo", d, PLENTY) for d in documents]
    late = [sandbox.run("loop", b"", ENDLESS) for _ in range(3)]
    reports, failures = await asyncio.gather(asyncio.gather(*runs), asyncio.gather(*late, return_exceptions=True))
    assert [r.output for r in reports] == documents
    assert [getattr(f, "code", f) for f in failures] == ["constraint.timeout_exceeded"] * 3
    with pytest.raises(SandboxError) as caught:
        await sandbox.run("missing", b"", PLENTY)
    assert caught.value.code == "sandbox.unavailable"
