"""Runs loaded modules, one call at a time, and says in the gateway's terms how each ended."""

import threading
import time
from collections.abc import Mapping
from typing import Final

from wasmtime import Engine, Linker, Module, WasmtimeError

from engine.constraints import ExecutionConstraints
from engine.constraints.limits import MEMORY_BYTES_CEILING
from gateway.errors import SandboxError
from gateway.sandbox import abi, native
from gateway.sandbox.call import INITIALIZE_EXPORT, Called, Caller, End, Loaded
from gateway.sandbox.constraints import MEMORY_PAGE_BYTES, STARVED_REPEATS_MAX
from gateway.sandbox.engine import TABLE_ELEMENTS_MAX, TABLES_MAX, make_engine
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.shape import shape_of
from gateway.sandbox.timer import Timer, make_timer

_STRAY_TICKS_MAX: Final = 3  # of earlier runs, that may meet one run
_MESSAGES: Final = {
    End.FUEL: ("constraint.cpu_exceeded", "the run used all of its fuel"),
    End.EPOCH: ("constraint.timeout_exceeded", "the run was stopped at its deadline"),
    End.REFUSED: ("constraint.memory_exceeded", "the module needs more memory or tables than its limit"),
    End.TRAPPED: ("sandbox.trap", "the module trapped"),
    End.EXITED: ("sandbox.trap", "the module called proc_exit"),
    End.HOST_CALLS: ("sandbox.host_calls_exceeded", "the run called the host too often"),
    End.BAD_INPUT_POINTER: ("sandbox.output_invalid", "the module offered no room for its input"),
    End.BAD_OUTPUT_POINTER: ("sandbox.output_invalid", "the module's output lies outside of its memory"),
    End.OUTPUT_TOO_LARGE: ("sandbox.output_invalid", "the module's output is over its limit"),
}


class Runtime:
    """An engine, its loaded modules and its timer; in a worker, made after the fork. Calls from threads take turns."""

    def __init__(
        self, modules: Mapping[str, bytes], *, caller: type[NativeCaller | PublicCaller] | None = None
    ) -> None:
        """Load `modules`, which `gateway.sandbox.compile` made with this engine configuration.

        Raises:
            SandboxError: `sandbox.unavailable`, an artefact does not load or lacks the exports of the ABI.
        """
        chosen = caller or (NativeCaller if native.supported() else PublicCaller)
        engine = make_engine()
        self._timer: Timer = make_timer(engine)
        self._caller: Caller = chosen(engine, table_elements_max=TABLE_ELEMENTS_MAX, tables_max=TABLES_MAX)
        self._turn = threading.Lock()
        linker = Linker(engine)
        self._caller.link(linker)
        self._modules = {name: _load(engine, linker, artefact) for name, artefact in modules.items()}
        for loaded in self._modules.values():
            self._warm(loaded)

    def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        """Run `module` on `document`.

        Raises:
            SandboxError: as `gateway.sandbox.port.Sandbox.run`, `sandbox.crashed` excepted.
        """
        loaded = self._modules.get(module)
        if loaded is None:
            raise SandboxError("no such module is loaded", code="sandbox.unavailable")
        if loaded.memory_bytes_min > constraints.memory_bytes_max:
            raise _error(End.REFUSED)
        with self._turn:
            called, wall_us, cpu_us = self._timely(loaded, document, constraints, given)
            for _ in range(STARVED_REPEATS_MAX):
                if called.end is not End.EPOCH or cpu_us >= constraints.wall_ms_max * 500:
                    break  # otherwise it had less than half of its time on a CPU: the host is overloaded
                called, wall_us, cpu_us = self._timely(loaded, document, constraints, given)
        if called.end is not End.RETURNED or _near_limit(called, constraints):
            _judge(called, document, constraints)
        fuel_used = constraints.fuel_max - called.fuel_left
        return RunReport(called.output, fuel_used, called.memory_bytes, wall_us, called.log)

    def _warm(self, module: Loaded) -> None:
        """Instantiate `module` once, without fuel, so that none of its code runs.

        wasmtime makes a memory image (a memfd that it writes) at the first instantiation; a worker that is locked
        down may write no file.
        """
        self._caller.call(
            module,
            b"",
            NO_GIVEN,
            fuel=0,
            memory_bytes_max=MEMORY_BYTES_CEILING,
            output_bytes_max=0,
            arm=lambda: None,
        )

    def _timely(
        self, module: Loaded, document: bytes, constraints: ExecutionConstraints, given: RunGiven
    ) -> tuple[Called, int, int]:
        """Make the call; return it with its wall and CPU µs. A tick meant for an earlier run does not count."""
        result = self._once(module, document, constraints, given)
        for _ in range(_STRAY_TICKS_MAX):
            if result[0].end is not End.EPOCH or result[1] >= constraints.wall_ms_max * 1000:
                break
            result = self._once(module, document, constraints, given)
        return result

    def _once(
        self, module: Loaded, document: bytes, constraints: ExecutionConstraints, given: RunGiven
    ) -> tuple[Called, int, int]:
        timer, wall_us_max = self._timer, constraints.wall_ms_max * 1000
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        try:
            called = self._caller.call(
                module,
                document,
                given,
                fuel=constraints.fuel_max,
                memory_bytes_max=constraints.memory_bytes_max,
                output_bytes_max=constraints.output_bytes_max,
                arm=lambda: timer.arm(wall_us_max),
            )
        finally:
            timer.disarm()
        return called, (time.perf_counter_ns() - wall) // 1000, (time.thread_time_ns() - cpu) // 1000


def _near_limit(called: Called, constraints: ExecutionConstraints) -> bool:
    return called.memory_bytes > constraints.memory_bytes_max - MEMORY_PAGE_BYTES


def _judge(called: Called, document: bytes, constraints: ExecutionConstraints) -> None:
    """Raise what the end of a call means. A guest that fails with its memory full failed for want of memory.

    wasmtime answers a refused `memory.grow` with -1 and no trap, so nothing tells it from a free choice but the place
    where the guest then ended.
    """
    full = _near_limit(called, constraints)
    match called.end:
        case End.RETURNED:
            if abi.reports_memory(called.output):
                raise _error(End.REFUSED, called.log)
        case End.TRAPPED if full:
            raise _error(End.REFUSED, called.log)
        case End.BAD_INPUT_POINTER if full or called.memory_bytes + len(document) > constraints.memory_bytes_max:
            raise _error(End.REFUSED, called.log)
        case _:
            raise _error(called.end, called.log)


def _error(end: End, log: bytes = b"") -> SandboxError:
    code, message = _MESSAGES[end]
    return SandboxError(message, code=code, log=log)


def _load(engine: Engine, linker: Linker, artefact: bytes) -> Loaded:
    try:
        module = Module.deserialize(engine, artefact)
        pre = linker.instantiate_pre(module)
    except WasmtimeError as error:
        raise SandboxError("a compiled module does not load", code="sandbox.unavailable") from error
    shape = shape_of(module)
    if shape.violation() is not None:  # the native caller calls unchecked: this is what makes that sound
        raise SandboxError("a compiled module lacks the exports of the ABI", code="sandbox.unavailable")
    return Loaded(
        pre=pre,
        address=native.address(pre) if native.supported() else 0,
        initializes=INITIALIZE_EXPORT in shape.exports,
        calls_host=bool(shape.imports),
        memory_bytes_min=shape.memory_bytes_min,
    )
