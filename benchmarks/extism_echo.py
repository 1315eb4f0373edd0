"""Extism as the peer of the sandbox, where it is installed: a document echoed, and a function of the host called."""

import base64
import importlib
from collections.abc import Callable
from typing import Any, Final

from wasmtime import wat2wasm

MISSING: Final = "Extism: pip install extism"
_ECHO: Final = """(module
  (import "extism:host/env" "input_offset" (func $offset (result i64)))
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "output_set" (func $answer (param i64 i64)))
  (func (export "echo") (result i32) (call $answer (call $offset) (call $length)) (i32.const 0)))"""
_CALLS: Final = """(module (import "extism:host/user" "tick" (func $tick (param i64) (result i64)))
  (func (export "call") (result i32) (local $i i32)
    (loop $l (drop (call $tick (i64.const 1)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {calls}))))
    (i32.const 0)))"""


def echo_call(document: bytes) -> Callable[[], object] | None:
    """Return a call that makes a plugin of a module compiled once and echoes `document`; None without Extism.

    The module hands its input back where it lies: not a byte is copied by it, in Extism's favour.
    """
    if (extism := _extism()) is None:
        return None
    compiled = extism.CompiledPlugin(_manifest(_ECHO))

    def call() -> object:
        return extism.Plugin(compiled).call("echo", document)

    assert call() == document
    return call


def host_calls(calls: int) -> Callable[[], object] | None:
    """Return a call in which a fresh plugin calls a Python function so many times; None without Extism.

    The function takes a number and returns one, which Extism hands over as they are: the least that it can do.
    """
    if (extism := _extism()) is None:
        return None
    number = ([extism.ValType.I64], [extism.ValType.I64])

    def tick(_plugin: object, params: Any, results: Any) -> None:
        results[0].value = params[0].value

    function = extism.host_fn(name="tick", namespace="extism:host/user", signature=number)(tick)
    compiled = extism.CompiledPlugin(_manifest(_CALLS.format(calls=calls)), functions=[function])
    return lambda: extism.Plugin(compiled).call("call", b"")


def _extism() -> Any:
    try:
        return importlib.import_module("extism.extism")
    except ImportError:
        return None


def _manifest(text: str) -> dict[str, object]:
    return {"wasm": [{"data": base64.b64encode(wat2wasm(text)).decode()}]}
