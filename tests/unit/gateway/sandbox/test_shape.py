import pytest
from wasmtime import Module, wat2wasm

from gateway.sandbox.engine import make_engine
from gateway.sandbox.shape import EXPORTS_MAX, read_shape, shape_of
from tests.unit.gateway.sandbox.modules import ECHO, answering, module

SHAPES = {
    "echo": ECHO,
    "answering": answering('{"output":1}', memory="3 7"),
    "more exports": module(
        "(i64.const 0)",
        extra="""(global (export "g") i32 (i32.const 1)) (table (export "t") 1 funcref)
                 (func (export "f") (param f32 f64) (result i32 i64) (unreachable))
                 (func (export "r") (param funcref)) (func (export "_initialize"))
                 (func (export "ünï"))""",
    ),
    "no exports": bytes(wat2wasm("(module)")),
    "custom sections": ECHO + b"\0\x06\4name\0" + b"\0\3\2abc"[:5],
}


@pytest.mark.parametrize("name", SHAPES)
def test_bytes_and_compiler_agree(name: str) -> None:
    """What is read without a compiler is what wasmtime says of the compiled module."""
    wasm = SHAPES[name]
    engine = make_engine()
    Module.validate(engine, wasm)
    assert read_shape(wasm) == shape_of(Module(engine, wasm))


def test_the_first_import_is_named() -> None:
    """One import is enough; its name is in the refusal."""
    wasm = bytes(wat2wasm('(module (import "env" "system" (func)) (import "env" "other" (func)))'))
    violation = read_shape(wasm).violation()
    assert violation is not None
    assert violation.code == "hook.import"
    assert "env.system" in violation.message


def test_a_module_of_the_abi_breaks_no_rule() -> None:
    """The optional `_initialize` may be there or not."""
    assert read_shape(ECHO).violation() is None
    assert read_shape(module("(i64.const 0)", extra='(func (export "_initialize"))')).violation() is None


def test_exports_have_a_maximum() -> None:
    """A list of names is bounded like any other."""
    many = " ".join(f'(export "e{n}" (func 0))' for n in range(EXPORTS_MAX + 1))
    with pytest.raises(ValueError, match="exports"):
        read_shape(bytes(wat2wasm(f"(module (func) {many})")))
