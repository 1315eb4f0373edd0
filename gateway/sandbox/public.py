"""Calls through the public API of wasmtime-py, for versions that `native` does not know; several times slower."""

import contextlib
from collections.abc import Callable
from typing import cast

from wasmtime import (
    Caller,
    Engine,
    Func,
    FuncType,
    Linker,
    Memory,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasmtimeError,
)

from gateway.sandbox import wasi
from gateway.sandbox.call import (
    ALLOC_EXPORT,
    INITIALIZE_EXPORT,
    MEMORY_EXPORT,
    RUN_EXPORT,
    U32,
    U64,
    Called,
    End,
    Loaded,
)
from gateway.sandbox.host import Host, HostEndedError
from gateway.sandbox.port import NO_GIVEN, RunGiven

_ENDS = {TrapCode.OUT_OF_FUEL: End.FUEL, TrapCode.INTERRUPT: End.EPOCH}


class _Calling:
    """Implements `gateway.sandbox.host.Guest` for the instance that is calling."""

    def __init__(self, store: Store, caller: Caller) -> None:
        self._store, self._caller = store, caller

    def charge(self, fuel: int) -> None:
        """Implement `gateway.sandbox.host.Guest`."""
        left = self._store.get_fuel() - fuel
        self._store.set_fuel(max(left, 0))
        if left < 0:
            raise HostEndedError(End.FUEL)

    def memory_bytes(self) -> int:
        """Implement `gateway.sandbox.host.Guest`."""
        return self._memory().data_len(self._caller)

    def read(self, at: int, size: int) -> bytes:
        """Implement `gateway.sandbox.host.Guest`."""
        return bytes(self._memory().read(self._caller, at, at + size))

    def write(self, at: int, data: bytes) -> None:
        """Implement `gateway.sandbox.host.Guest`."""
        self._memory().write(self._caller, data, at)

    def _memory(self) -> Memory:
        memory = self._caller.get(MEMORY_EXPORT)
        if not isinstance(memory, Memory):
            raise HostEndedError(End.TRAPPED)
        return memory


class PublicCaller:
    """Implements `gateway.sandbox.call.Caller` without private names."""

    def __init__(self, engine: Engine, *, table_elements_max: int, tables_max: int) -> None:
        self._engine = engine
        self._table_elements_max, self._tables_max = table_elements_max, tables_max
        self._host = Host(NO_GIVEN)
        self._store: Store | None = None  # of the call that is under way

    def link(self, linker: Linker) -> None:
        """Implement `gateway.sandbox.call.Caller`."""
        types = {"i32": ValType.i32, "i64": ValType.i64}
        for name, function in wasi.FUNCTIONS.items():
            kind = FuncType([types[t]() for t in function.params], [types[t]() for t in function.results])
            linker.define_func(wasi.MODULE, name, kind, self._answering(name, function), access_caller=True)

    def _answering(self, name: str, function: wasi.WasiFunction) -> Callable[..., int | None]:
        masks = tuple(U32 if kind == "i32" else U64 for kind in function.params)

        def answer(caller: Caller, *values: int) -> int | None:
            if self._store is None:
                raise HostEndedError(End.TRAPPED)
            arguments = [value & mask for value, mask in zip(values, masks, strict=True)]
            result = self._host.call(name, arguments, _Calling(self._store, caller))
            return result if function.results else None

        return answer

    def call(
        self,
        module: Loaded,
        document: bytes,
        given: RunGiven,
        *,
        fuel: int,
        memory_bytes_max: int,
        output_bytes_max: int,
        arm: Callable[[], None],
    ) -> Called:
        """Implement `gateway.sandbox.call.Caller`."""
        host = self._host = Host(given)
        with contextlib.closing(Store(self._engine)) as store:
            self._store = store
            store.set_limits(memory_bytes_max, self._table_elements_max, 1, self._tables_max, 1)
            store.set_fuel(fuel)
            store.set_epoch_deadline(1)
            arm()
            guest = _Guest(store)
            end, output = guest.run(module, document, output_bytes_max)
            return Called(end, output, store.get_fuel(), guest.memory_bytes, host.log)


class _Guest:
    """One instance, from its making to its answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._memory: Memory | None = None

    @property
    def memory_bytes(self) -> int:
        return 0 if self._memory is None else self._memory.data_len(self._store)

    def run(self, module: Loaded, document: bytes, output_bytes_max: int) -> tuple[End, bytes]:
        try:
            return self._run(module, document, output_bytes_max)
        except HostEndedError as ended:
            return ended.end, b""
        except Trap as trap:
            return _ENDS.get(trap.trap_code, End.TRAPPED) if trap.trap_code else End.TRAPPED, b""
        except WasmtimeError:
            return End.REFUSED, b""

    def _run(self, module: Loaded, document: bytes, output_bytes_max: int) -> tuple[End, bytes]:
        store = self._store
        exports = module.pre.instantiate(store).exports(store)
        memory = self._memory = cast("Memory", exports[MEMORY_EXPORT])
        if module.initializes:
            cast("Func", exports[INITIALIZE_EXPORT])(store)
        pointer = cast("Func", exports[ALLOC_EXPORT])(store, len(document)) & U32
        if pointer == 0 or pointer + len(document) > memory.data_len(store):
            return End.BAD_INPUT_POINTER, b""
        memory.write(store, document, pointer)
        packed = cast("Func", exports[RUN_EXPORT])(store, pointer, len(document))
        pointer, size = packed >> 32 & U32, packed & U32
        if pointer + size > memory.data_len(store):
            return End.BAD_OUTPUT_POINTER, b""
        if size > output_bytes_max:
            return End.OUTPUT_TOO_LARGE, b""
        return End.RETURNED, bytes(memory.read(store, pointer, pointer + size))
