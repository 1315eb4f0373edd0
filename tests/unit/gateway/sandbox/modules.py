"""Modules for the tests, in the text format."""

from wasmtime import wat2wasm

PAGE = 65_536


def module(run: str, *, memory: str = "2", extra: str = "", alloc: str = "(i32.const 1024)", start: str = "") -> bytes:
    """Return a module of the ABI whose `mission_run` has the body `run`; its parameters are $p and $n."""
    text = f"""(module
      (memory (export "memory") {memory})
      (func (export "mission_abi_v1"))
      (func (export "mission_alloc") (param $n i32) (result i32) {alloc})
      (func $run (export "mission_run") (param $p i32) (param $n i32) (result i64) (local $i i32) {run})
      {extra} {start})"""
    return bytes(wat2wasm(text))


def packed(pointer: str, length: str) -> str:
    """Return the expression that packs two i32 expressions into the ABI's i64."""
    return f"(i64.or (i64.shl (i64.extend_i32_u {pointer}) (i64.const 32)) (i64.extend_i32_u {length}))"


ECHO = module(packed("(local.get $p)", "(local.get $n)"))
"""Returns its input."""

LOOP = module("(loop $l (br $l)) (unreachable)")
"""Never returns."""


def answering(document: str, **rest: str) -> bytes:
    """Return a module that answers `document` whatever it is asked."""
    escaped = "".join(f"\\{byte:02x}" for byte in document.encode())
    data = f'(data (i32.const 512) "{escaped}")'
    return module(packed("(i32.const 512)", f"(i32.const {len(document.encode())})"), extra=data, **rest)
