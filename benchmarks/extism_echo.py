"""Extism echoing a document in a fresh plugin: the peer of a run in a fresh store, where Extism is installed."""

import base64
import importlib
from collections.abc import Callable
from typing import Final

from wasmtime import wat2wasm

MISSING: Final = "Extism: pip install extism"
_ECHO: Final = """(module
  (import "extism:host/env" "input_offset" (func $offset (result i64)))
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "output_set" (func $answer (param i64 i64)))
  (func (export "echo") (result i32) (call $answer (call $offset) (call $length)) (i32.const 0)))"""


def echo_call(document: bytes) -> Callable[[], object] | None:
    """Return a call that makes a plugin of a module compiled once and echoes `document`; None without Extism.

    The module hands its input back where it lies: not a byte is copied by it, in Extism's favour.
    """
    try:
        extism = importlib.import_module("extism.extism")
    except ImportError:
        return None
    module = base64.b64encode(wat2wasm(_ECHO)).decode()
    compiled = extism.CompiledPlugin({"wasm": [{"data": module}]})

    def call() -> object:
        return extism.Plugin(compiled).call("echo", document)

    assert call() == document
    return call
