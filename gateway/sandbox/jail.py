"""What runs in the compiler's jail: look at a module's shape, then compile it."""

import hashlib
from collections.abc import Callable

import orjson
from wasmtime import Engine, Module, WasmtimeError

from gateway.errors import HookRefusedError
from gateway.sandbox.artefact import COMPILED, REFUSED, Artefact
from gateway.sandbox.compile import check_bytes
from gateway.sandbox.engine import make_engine
from gateway.sandbox.shape import Violation, read_shape


def serve(_config: bytes, _fds: tuple[int, ...]) -> Callable[[bytes], bytes]:
    """Build the jail's handler: a module in, its machine code or the reason out."""
    engine = make_engine()

    def handle(wasm: bytes) -> bytes:
        outcome = _compile(engine, wasm)
        if isinstance(outcome, Violation):
            return REFUSED + orjson.dumps([outcome.code, outcome.message])
        return COMPILED + outcome

    return handle


def compile_here(wasm: bytes) -> Artefact:
    """Return `wasm`, a module that is trusted, compiled in this process; for library use and tests.

    Raises:
        HookRefusedError: as `gateway.sandbox.compile.compile_module`, except for `hook.compile_exceeded`: nothing
            bounds the compiler here.
    """
    check_bytes(wasm)
    outcome = _compile(make_engine(), wasm)
    if isinstance(outcome, Violation):
        raise HookRefusedError(outcome.message, code=outcome.code)
    return Artefact(outcome, hashlib.sha256(wasm).hexdigest())


def examine(engine: Engine, wasm: bytes) -> Violation | None:
    """Return the first rule of registration that `wasm` breaks, as far as no compiler is needed to see it."""
    try:
        Module.validate(engine, wasm)
        return read_shape(wasm).violation()
    except (WasmtimeError, ValueError) as error:
        return _invalid(error)


def _compile(engine: Engine, wasm: bytes) -> bytes | Violation:
    try:
        return examine(engine, wasm) or bytes(Module(engine, wasm).serialize())
    except WasmtimeError as error:
        return _invalid(error)


def _invalid(error: Exception) -> Violation:
    reason = str(error).strip().splitlines() or ["no reason given"]
    return Violation("hook.invalid", f"the module is not valid: {reason[-1].strip()[:500]}")
