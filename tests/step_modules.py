"""Runs a built-in module through wasmtime's own API, in this process: what the sandbox does, without the sandbox."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wasmtime import Func, Instance, Memory, Module, Store

from engine.constraints import ExecutionConstraints
from gateway.sandbox.engine import make_engine
from gateway.sandbox.hooks import Hook, builtin_hooks, demo_hooks, shipped_hooks
from gateway.sandbox.profile import profiles_from

SOURCES = Path(__file__).parent.parent / "wasm-hooks"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run answered, and what it took."""

    answer: bytes
    fuel: int
    memory_bytes: int

    def document(self) -> Any:
        return json.loads(self.answer)


@cache
def hooks() -> dict[str, Hook]:
    return {hook.name: hook for hook in (*builtin_hooks(), *demo_hooks(), *shipped_hooks().values())}


@cache
def module(kind: str) -> Module:
    return Module(_engine(), hooks()[kind].module)


@cache
def _engine() -> Any:
    return make_engine(pooling=False)


def limits(kind: str, profile: str | None = None) -> ExecutionConstraints:
    """Return what a profile, or the kind's own, gives a run by default."""
    return profiles_from({})[profile or hooks()[kind].profile]


def run(kind: str, document: bytes, *, profile: str | None = None, fuel_max: int | None = None) -> Run:
    """Run a module once, in a fresh store, under the fuel and memory of a profile, or of the kind's own."""
    constraints = limits(kind, profile)
    fuel = fuel_max if fuel_max is not None else constraints.fuel_max
    store = _store(fuel, constraints.memory_bytes_max)
    exports = Instance(store, module(kind), []).exports(store)
    memory, alloc, call = exports["memory"], exports["mission_alloc"], exports["mission_run"]
    assert isinstance(memory, Memory)
    assert isinstance(alloc, Func)
    assert isinstance(call, Func)
    at = alloc(store, len(document))
    memory.write(store, document, at)
    packed = call(store, at, len(document)) & (1 << 64) - 1
    start, size = packed >> 32, packed & 0xFFFF_FFFF
    answer = bytes(memory.read(store, start, start + size))
    return Run(answer, fuel - store.get_fuel(), memory.data_len(store))


def allocated(kind: str, size: int) -> int:
    """Return what `mission_alloc` answers to a size, from 0 to 2^32 - 1."""
    store = _store(limits(kind).fuel_max, limits(kind).memory_bytes_max)
    alloc = Instance(store, module(kind), []).exports(store)["mission_alloc"]
    assert isinstance(alloc, Func)
    return int(alloc(store, size - (1 << 32) if size >= 1 << 31 else size))


def _store(fuel: int, memory_bytes_max: int) -> Store:
    store = Store(_engine())
    store.set_fuel(fuel)
    store.set_epoch_deadline(1)
    store.set_limits(memory_size=memory_bytes_max)
    return store


def step(parameters: str, journal: str = "[]") -> bytes:
    """Return an input document around JSON texts, which arrive as they are."""
    head = '{"abi":1,"kind":"step","step":{"id":"a","name":"A","step_type":"t","attempt":1},'
    tail = '"now":"2026-01-01T00:00:00.000000Z","seed":"00112233445566778899aabbccddeeff"}'
    return f'{head}"parameters":{parameters},"journal":{journal},{tail}'.encode()
