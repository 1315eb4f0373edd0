"""Calls through the public API of wasmtime-py, for versions that `native` does not know; several times slower."""

import contextlib
from collections.abc import Callable
from typing import cast

from wasmtime import Engine, Func, Memory, Store, Trap, TrapCode, WasmtimeError

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

_ENDS = {TrapCode.OUT_OF_FUEL: End.FUEL, TrapCode.INTERRUPT: End.EPOCH}


class PublicCaller:
    """Implements `gateway.sandbox.call.Caller` without private names."""

    def __init__(self, engine: Engine, *, table_elements_max: int, tables_max: int) -> None:
        self._engine = engine
        self._table_elements_max, self._tables_max = table_elements_max, tables_max

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
        with contextlib.closing(Store(self._engine)) as store:
            store.set_limits(memory_bytes_max, self._table_elements_max, 1, self._tables_max, 1)
            store.set_fuel(fuel)
            store.set_epoch_deadline(1)
            arm()
            guest = _Guest(store)
            end, output = guest.run(module, document, output_bytes_max)
            return Called(end, output, store.get_fuel(), guest.memory_bytes)


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
