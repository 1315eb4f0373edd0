"""The private names of wasmtime-py that speed and the pool need; no other file uses any.

`supported` checks, before anything here is used, that the installed wasmtime-py is the version this was written against
and has every name with the expected size; `gateway.sandbox.public` serves where it is not. All C signatures are those
of wasmtime's C API headers, version 50.
"""

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from types import SimpleNamespace
from typing import Any, Final

from wasmtime import Config, Engine, InstancePre, TrapCode
from wasmtime import _ffi as ffi

from gateway.sandbox.call import (
    ALLOC_EXPORT,
    INITIALIZE_EXPORT,
    MEMORY_EXPORT,
    RUN_EXPORT,
    U32,
    Called,
    End,
    Loaded,
)

VERSION: Final = "50.0.1"

_PTR, _U64, _I64, _SIZE, _BOOL = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64, ctypes.c_size_t, ctypes.c_bool

_FUNCTIONS: Final[Mapping[str, tuple[Any, tuple[Any, ...]]]] = {  # name: (result, arguments)
    "wasmtime_store_new": (_PTR, (_PTR, _PTR, _PTR)),
    "wasmtime_store_context": (_PTR, (_PTR,)),
    "wasmtime_store_delete": (None, (_PTR,)),
    "wasmtime_store_limiter": (None, (_PTR, _I64, _I64, _I64, _I64, _I64)),
    "wasmtime_context_set_fuel": (_PTR, (_PTR, _U64)),
    "wasmtime_context_get_fuel": (_PTR, (_PTR, _PTR)),
    "wasmtime_context_set_epoch_deadline": (None, (_PTR, _U64)),
    "wasmtime_instance_pre_instantiate": (_PTR, (_PTR, _PTR, _PTR, _PTR)),
    "wasmtime_instance_export_get": (_BOOL, (_PTR, _PTR, _PTR, _SIZE, _PTR)),
    "wasmtime_func_call_unchecked": (_PTR, (_PTR, _PTR, _PTR, _SIZE, _PTR)),
    "wasmtime_memory_data": (_PTR, (_PTR, _PTR)),
    "wasmtime_memory_data_size": (_SIZE, (_PTR, _PTR)),
    "wasmtime_trap_code": (_BOOL, (_PTR, _PTR)),
    "wasm_trap_delete": (None, (_PTR,)),
    "wasmtime_error_delete": (None, (_PTR,)),
    "wasmtime_engine_increment_epoch": (None, (_PTR,)),
}
_SIZES: Final = {
    "wasmtime_instance_t": 16,
    "wasmtime_func_t": 16,
    "wasmtime_memory_t": 24,
    "wasmtime_extern_t": 32,
    "wasmtime_val_raw_t": 16,
}
_POOL_SETTERS: Final = "wasmtime_pooling_allocation_config_%s_set"


@cache
def supported() -> bool:
    """Whether this module may be used with the installed wasmtime-py."""
    try:
        return (
            metadata.version("wasmtime") == VERSION
            and all(hasattr(ffi.dll, name) for name in _FUNCTIONS)
            and all(ctypes.sizeof(getattr(ffi, name)) == size for name, size in _SIZES.items())
        )
    except (AttributeError, metadata.PackageNotFoundError):
        return False


def use_pooling(config: Config, sizes: Mapping[str, int]) -> None:
    """Make `config` allocate instances from a pool of the given `sizes`, named as in the C API."""
    pool = ffi.wasmtime_pooling_allocation_config_new()
    for name, size in sizes.items():
        getattr(ffi, _POOL_SETTERS % name)(pool, size)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    ffi.wasmtime_pooling_allocation_config_delete(pool)


def epoch_tick(engine: Engine) -> tuple[int, int]:
    """Return the address of a C function of one argument that increments the epoch, and that argument."""
    function = ctypes.cast(ffi.dll.wasmtime_engine_increment_epoch, ctypes.c_void_p).value
    argument = ctypes.cast(engine.ptr(), ctypes.c_void_p).value
    if function is None or argument is None:
        raise OSError("the engine has no address")
    return function, argument


def address(pre: InstancePre) -> int:
    """Return where the C side keeps `pre`; valid while the caller holds `pre`."""
    return ctypes.cast(pre.ptr(), ctypes.c_void_p).value or 0


def _functions() -> SimpleNamespace:
    """Bind the functions as objects of our own, so that wasmtime-py's are left as they are."""
    bound = SimpleNamespace()
    for name, (result, arguments) in _FUNCTIONS.items():
        function = ffi.dll[name]  # a new object each time, unlike attribute access
        function.restype, function.argtypes = result, arguments
        setattr(bound, name.removeprefix("wasmtime_"), function)
    return bound


class NativeCaller:
    """Calls through the C API with structures that are made once; a call allocates nothing in Python but its output.

    The exported functions are called unchecked: their types were compared when the module was loaded.
    """

    def __init__(self, engine: Engine, *, table_elements_max: int, tables_max: int) -> None:
        self._c = _functions()
        self._engine = engine  # keeps alive what the next line points to
        self._engine_at = ctypes.cast(engine.ptr(), ctypes.c_void_p).value
        self._limits = (table_elements_max, 1, tables_max, 1)  # with one instance and one memory
        at = ctypes.addressof
        instance, trap, fuel, code = ffi.wasmtime_instance_t(), ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_uint8()
        values = (ffi.wasmtime_val_raw_t * 2)()
        self._trap, self._fuel, self._code = trap, fuel, code
        self._i32, self._i64 = (ctypes.c_int32 * 8).from_buffer(values), (ctypes.c_int64 * 4).from_buffer(values)
        self._instance_at, self._trap_at, self._fuel_at, self._code_at = at(instance), at(trap), at(fuel), at(code)
        self._values_at = at(values)
        names = (MEMORY_EXPORT, ALLOC_EXPORT, RUN_EXPORT, INITIALIZE_EXPORT)
        buffers = tuple(ctypes.create_string_buffer(name.encode()) for name in names)
        externs = tuple(ffi.wasmtime_extern_t() for _ in names)
        self._exports = tuple((at(b), len(n), at(e)) for n, b, e in zip(names, buffers, externs, strict=True))
        inside = ffi.wasmtime_extern_t.of.offset  # where an extern keeps its function or memory
        self._memory_at, self._alloc_at, self._run_at, self._initialize_at = (at(e) + inside for e in externs)
        self._kept = (instance, values, buffers, externs)  # all that the addresses above point to

    def call(
        self,
        module: Loaded,
        document: bytes,
        *,
        fuel: int,
        memory_bytes_max: int,
        output_bytes_max: int,
        arm: Callable[[], None],
    ) -> Called:
        """Implement `gateway.sandbox.call.Caller`."""
        c = self._c
        store = c.store_new(self._engine_at, None, None)
        try:
            context = c.store_context(store)
            c.store_limiter(store, memory_bytes_max, *self._limits)
            if c.context_set_fuel(context, fuel):
                raise RuntimeError("the engine counts no fuel")  # never run what is not metered
            c.context_set_epoch_deadline(context, 1)
            arm()
            end, output, memory_bytes = self._guest(context, module, document, output_bytes_max)
            c.context_get_fuel(context, self._fuel_at)
            return Called(end, output, self._fuel.value, memory_bytes)
        finally:
            c.store_delete(store)

    def _guest(self, context: int, module: Loaded, document: bytes, output_bytes_max: int) -> tuple[End, bytes, int]:
        """Run the guest's code; return how it ended, its output, and the size of its memory."""
        c, i32, size = self._c, self._i32, len(document)
        error = c.instance_pre_instantiate(module.address, context, self._instance_at, self._trap_at)
        if error or self._trap.value:
            return self._why(error), b"", 0
        for name, length, extern in self._exports if module.initializes else self._exports[:3]:
            c.instance_export_get(context, self._instance_at, name, length, extern)
        memory = self._memory_at
        if module.initializes and (end := self._enter(context, self._initialize_at, 0)) is not None:
            return end, b"", c.memory_data_size(context, memory)
        i32[0] = size
        if (end := self._enter(context, self._alloc_at, 1)) is not None:
            return end, b"", c.memory_data_size(context, memory)
        pointer = i32[0] & U32
        held = c.memory_data_size(context, memory)
        if pointer == 0 or pointer + size > held:
            return End.BAD_INPUT_POINTER, b"", held
        ctypes.memmove(c.memory_data(context, memory) + pointer, document, size)
        i32[0], i32[_SECOND] = pointer, size
        end = self._enter(context, self._run_at, 2)
        held = c.memory_data_size(context, memory)
        if end is not None:
            return end, b"", held
        packed = self._i64[0]
        pointer, size = packed >> 32 & U32, packed & U32
        if pointer + size > held:
            return End.BAD_OUTPUT_POINTER, b"", held
        if size > output_bytes_max:
            return End.OUTPUT_TOO_LARGE, b"", held
        return End.RETURNED, ctypes.string_at(c.memory_data(context, memory) + pointer, size), held

    def _enter(self, context: int, function: int, values: int) -> End | None:
        """Call one exported function; None is that it returned."""
        error = self._c.func_call_unchecked(context, function, self._values_at, values, self._trap_at)
        return self._why(error) if error or self._trap.value else None

    def _why(self, error: int | None) -> End:
        """Free what the C side reported, and say what it means."""
        c, trap = self._c, self._trap.value
        if error:
            c.error_delete(error)
        if not trap:
            return End.REFUSED
        self._trap.value = None
        known = c.trap_code(trap, self._code_at)
        c.wasm_trap_delete(trap)
        return _ENDS.get(self._code.value, End.TRAPPED) if known else End.TRAPPED


_SECOND: Final = 4  # the second value, counted in i32: a value is 16 bytes
_ENDS: Final = {TrapCode.OUT_OF_FUEL.value: End.FUEL, TrapCode.INTERRUPT.value: End.EPOCH}

supported()  # asked now, and remembered: the version is in a file, and a worker that is locked down opens none
